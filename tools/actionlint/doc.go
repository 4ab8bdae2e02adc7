// Package actionlint holds nothing: its go.mod pins the linter of .github/workflows. It is
// a module of its own since it needs another version of yaml/v4 than composecheck does.
package actionlint
