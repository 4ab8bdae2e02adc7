// Package load loads todos into a store in bulk: from a mongodump archive, from JSON
// lines, or generated ones. A Source returns records one by one. Run decodes ahead,
// inserts in batches, and reports the result for all records.
package load
