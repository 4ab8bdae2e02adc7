//go:build !failpoints

package main

import (
	"net/http"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// withFailpoints has a meaning only in a binary for tests, built with the tag
// "failpoints".
func withFailpoints(store todo.Store) (todo.Store, func(admin http.Handler) http.Handler) {
	return store, func(admin http.Handler) http.Handler { return admin }
}
