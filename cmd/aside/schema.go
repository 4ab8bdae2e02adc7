package main

import (
	"fmt"
	"strconv"
)

var schemaVersion = parseSchemaVersion(schemaVersionText)

// parseSchemaVersion panics on what is no schema version: the build is at fault,
// and no server may start with it.
func parseSchemaVersion(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		panic(fmt.Sprintf("main.schemaVersionText is %q, must be a number from 0 to 4294967295: correct it where this program is built (-ldflags -X)", text))
	}
	return uint32(n)
}
