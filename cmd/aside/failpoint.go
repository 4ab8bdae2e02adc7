//go:build failpoints

package main

import (
	"net/http"

	"github.com/asidecache/aside/cmd/aside/internal/failpoint"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// withFailpoints adds failpoints to the store, and their HTTP controls to the admin
// handler.
func withFailpoints(store todo.Store) (todo.Store, func(admin http.Handler) http.Handler) {
	points := failpoint.NewSet()
	return failpoint.Store(store, points), points.Handler
}
