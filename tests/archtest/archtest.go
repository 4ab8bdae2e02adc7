// Package archtest holds the tests that keep the architecture: which package may
// reach which. It has no code of its own.
package archtest
