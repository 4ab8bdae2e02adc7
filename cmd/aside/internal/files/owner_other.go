//go:build !unix

package files

import "io/fs"

const nonBlocking = 0

func noReader(error) bool { return false }

// Such systems have neither owners nor links that this package knows.
func foreign(fs.FileInfo) bool { return false }
