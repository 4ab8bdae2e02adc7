// Package docs holds the tests of README.md and of the pages in docs: their code
// compiles, their links lead somewhere, and what they name exists.
package docs
