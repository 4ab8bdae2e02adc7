package main

import (
	"fmt"
	"strconv"
)

var schemaVersion = parseSchemaVersion(schemaVersionText)

// parseSchemaVersion panics if text is not a schema version. Then the program was
// built wrongly, and must not start.
func parseSchemaVersion(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		panic(fmt.Sprintf("main.schemaVersionText must be a number from 0 to 4294967295, is %q: correct the -ldflags -X of the build", text))
	}
	return uint32(n)
}
