//go:build !failpoints

package main

import (
	"net/http"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// withFailpoints changes nothing. Only a test binary, built with the tag
// "failpoints", has failpoints.
func withFailpoints(store todo.Store) (todo.Store, func(admin http.Handler) http.Handler) {
	return store, func(admin http.Handler) http.Handler { return admin }
}
