// Package e2e has end-to-end tests. They run aside serve processes with a real Redis and a
// real database, put them under load, cause a fault, and check the responses. README.md
// explains how to run the tests and how to read their table. The package has only tests.
package e2e
