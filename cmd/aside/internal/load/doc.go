// Package load brings todos into a store in bulk: from a mongodump archive,
// from JSON lines, or made up. A Source yields records one by one; Run decodes
// ahead and inserts in batches, and says what became of every record.
package load
