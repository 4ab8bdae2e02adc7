package load

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/loose"
)

// decodeBSON reads a document in the same way as the MongoDB store.
func decodeBSON(raw bson.Raw, r *reading, unknown extra, odd *odds) (todo.Todo, error) {
	// Validate first: the driver's accessors panic on an invalid element.
	if err := raw.Validate(); err != nil {
		r.add("", "is not valid BSON: %v", err)
		return todo.Todo{}, &r.Fault
	}
	t, err := loose.Decode(raw, r.oddity, func(field string) {
		if field != "_id" {
			unknown.add(field)
		}
	})
	return t, r.end(t, err, odd)
}
