//go:build !unix

package files

import "io/fs"

const nonBlocking = 0

func noReader(error) bool { return false }

// This package supports neither owners nor links on these systems.
func foreign(fs.FileInfo) bool { return false }
