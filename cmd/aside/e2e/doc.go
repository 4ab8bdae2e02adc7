// Package e2e runs nodes of aside serve as processes on a real Redis and a real
// database, puts them under load, breaks something, and checks what clients saw.
// README.md says how to run it and how to read its table. There is nothing in it
// but tests.
package e2e
