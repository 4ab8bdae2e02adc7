// Package s2 holds the test of what internal/envelope compresses against another
// implementation, which is too large to be a requirement of the library.
package s2
