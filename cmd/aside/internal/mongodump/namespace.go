package mongodump

import (
	"errors"
	"fmt"
	"hash/crc64"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Header is the header of the archive. Fields that it lacks are zero.
type Header struct {
	FormatVersion string
	ServerVersion string
	ToolVersion   string
}

// Namespace is one collection of an archive, with what was read of it so far.
type Namespace struct {
	DB         string
	Collection string
	// Type is "collection", "view" or "timeseries"; older tools leave it empty.
	Type string

	Documents int64 // read so far
	Bytes     int64 // of these documents
	// Complete: the end of the collection was read and its CRC matched.
	Complete bool
}

// String returns "db.collection", or the collection alone if it has no database
// (the oplog).
func (n Namespace) String() string { return join(n.DB, n.Collection) }

func join(db, collection string) string {
	if db == "" {
		return collection
	}
	return db + "." + collection
}

var ecma = crc64.MakeTable(crc64.ECMA)

// space is a Namespace being read.
type space struct {
	Namespace
	name   string
	listed bool // in the prelude
	seen   bool // a block of it was met
	ended  bool // its last block was met, whatever its CRC
	crc    uint64
}

// blockHeader is the header of a namespace block.
type blockHeader struct {
	db, collection string
	eof            bool
	crc            uint64
}

func parseBlockHeader(raw bson.Raw) (h blockHeader, err error) {
	elements, err := validElements(raw)
	if err != nil {
		return h, err
	}
	var hasCRC bool
	for _, e := range elements {
		v, ok := e.Value(), true
		switch key := e.Key(); key {
		case "db":
			h.db, ok = v.StringValueOK()
		case "collection":
			h.collection, ok = v.StringValueOK()
		case "EOF":
			h.eof, ok = v.BooleanOK()
		case "CRC":
			var crc int64
			crc, hasCRC = v.Int64OK()
			h.crc, ok = uint64(crc), hasCRC
		default:
			return h, fmt.Errorf("unknown field %q", key)
		}
		if !ok {
			return h, fmt.Errorf("%q has type %s", e.Key(), v.Type)
		}
	}
	switch {
	case h.collection == "":
		return h, errors.New(`no "collection"`)
	case h.eof && !hasCRC:
		return h, errors.New(`no "CRC"`)
	}
	return h, nil
}

func parseMetadata(raw bson.Raw) (n Namespace, err error) {
	elements, err := validElements(raw)
	if err != nil {
		return n, err
	}
	for _, e := range elements {
		var field *string
		switch e.Key() {
		case "db":
			field = &n.DB
		case "collection":
			field = &n.Collection
		case "type":
			field = &n.Type
		default:
			continue
		}
		var ok bool
		if *field, ok = e.Value().StringValueOK(); !ok {
			return n, fmt.Errorf("%q has type %s", e.Key(), e.Value().Type)
		}
	}
	if n.Collection == "" {
		return n, errors.New(`no "collection"`)
	}
	return n, nil
}

func parseHeader(raw bson.Raw) (h Header, err error) {
	elements, err := validElements(raw)
	if err != nil {
		return h, err
	}
	for _, e := range elements {
		// The versions are only information. An archive with other ones is still an
		// archive.
		switch e.Key() {
		case "version":
			h.FormatVersion, _ = e.Value().StringValueOK()
		case "server_version":
			h.ServerVersion, _ = e.Value().StringValueOK()
		case "tool_version":
			h.ToolVersion, _ = e.Value().StringValueOK()
		}
	}
	return h, nil
}

// validElements validates first: RawElement's accessors panic on a broken value.
func validElements(raw bson.Raw) ([]bson.RawElement, error) {
	if err := raw.Validate(); err != nil {
		return nil, err
	}
	return raw.Elements()
}
