// Package dumptest writes mongodump archives for tests.
package dumptest

import (
	"bytes"
	"encoding/binary"
	"hash/crc64"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

var table = crc64.MakeTable(crc64.ECMA)

// Terminator ends the prelude and each block.
var Terminator = []byte{0xff, 0xff, 0xff, 0xff}

// Writer builds an archive in memory. Namespaces are "db.collection". It writes the parts
// in the order of the calls and checks nothing, so it can build damaged archives too.
type Writer struct {
	buf  bytes.Buffer
	crcs map[string]uint64
	open string
}

// New begins an archive whose prelude lists namespaces, in this order. A namespace that
// ends with "(view)" is a view, one with "(timeseries)" a time series.
func New(namespaces ...string) *Writer {
	w := &Writer{crcs: make(map[string]uint64)}
	w.buf.Write([]byte{0x6d, 0xe2, 0x99, 0x81})
	w.buf.Write(Doc("concurrent_collections", int32(4), "version", "0.1", "server_version", "7.0.0", "tool_version", "100.9.0"))
	for _, ns := range namespaces {
		kind := "collection"
		if name, ok := strings.CutSuffix(ns, "(view)"); ok {
			ns, kind = name, "view"
		}
		if name, ok := strings.CutSuffix(ns, "(timeseries)"); ok {
			ns, kind = name, "timeseries"
		}
		db, collection, _ := strings.Cut(ns, ".")
		w.buf.Write(Doc("db", db, "collection", collection, "metadata", `{"indexes":[]}`, "size", int32(0), "type", kind))
	}
	w.buf.Write(Terminator)
	return w
}

// Add appends documents of a namespace, in a new block if another one is open.
func (w *Writer) Add(namespace string, docs ...[]byte) *Writer {
	if w.open != namespace {
		w.closeBlock()
		w.header(namespace, false, 0)
		w.open = namespace
	}
	for _, d := range docs {
		w.crcs[namespace] = crc64.Update(w.crcs[namespace], table, d)
		w.buf.Write(d)
	}
	return w
}

// End ends namespaces, each with the CRC of the documents added.
func (w *Writer) End(namespaces ...string) *Writer {
	for _, ns := range namespaces {
		w.EndWith(ns, w.crcs[ns])
	}
	return w
}

// EndWith ends a namespace with a CRC of the caller's.
func (w *Writer) EndWith(namespace string, crc uint64) *Writer {
	w.closeBlock()
	w.header(namespace, true, crc)
	w.buf.Write(Terminator)
	return w
}

// Raw appends bytes as they are.
func (w *Writer) Raw(b []byte) *Writer {
	w.buf.Write(b)
	return w
}

// Len returns the length of the archive so far. It is the offset of the next part, unless
// that part opens or ends a block.
func (w *Writer) Len() int64 { return int64(w.buf.Len()) }

// Bytes returns the archive.
func (w *Writer) Bytes() []byte {
	w.closeBlock()
	return bytes.Clone(w.buf.Bytes())
}

func (w *Writer) closeBlock() {
	if w.open != "" {
		w.buf.Write(Terminator)
		w.open = ""
	}
}

func (w *Writer) header(namespace string, eof bool, crc uint64) {
	db, collection, _ := strings.Cut(namespace, ".")
	w.buf.Write(bsoncore.NewDocumentBuilder().
		AppendString("db", db).
		AppendString("collection", collection).
		AppendBoolean("EOF", eof).
		AppendValue("CRC", bsoncore.Value{Type: bsoncore.TypeInt64, Data: binary.LittleEndian.AppendUint64(nil, crc)}).
		Build())
}

// Doc encodes a document from keys and values in turn.
func Doc(keysAndValues ...any) []byte {
	d := make(bson.D, 0, len(keysAndValues)/2)
	for i := 0; i < len(keysAndValues); i += 2 {
		d = append(d, bson.E{Key: keysAndValues[i].(string), Value: keysAndValues[i+1]})
	}
	b, err := bson.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}
