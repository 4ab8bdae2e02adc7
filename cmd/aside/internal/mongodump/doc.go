// Package mongodump reads archives of mongodump --archive, plain or compressed with
// gzip, as a stream of documents.
//
// An archive is a magic number, a header, one metadata document for each
// collection and a terminator (the prelude), then blocks. A block is a namespace
// header, documents of that namespace, and a terminator. The blocks of different
// collections interleave, and not in the prelude's order. The last block of a
// collection has EOF set in its header, holds no documents, and carries the
// CRC-64 (ECMA) of all document bytes of the collection, over all its blocks.
//
// A Reader needs memory for the largest document so far (at most MaxDocumentSize), and a
// few hundred bytes for each collection (at most MaxNamespaces).
package mongodump
