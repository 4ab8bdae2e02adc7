package todo

import "fmt"

// Apply returns what change makes of the record with that ID, for Store.Update. A record
// that must not be stored is an error.
func Apply(id string, current Todo, change func(Todo) (Todo, error)) (Todo, error) {
	next, err := change(current)
	if err != nil {
		return Todo{}, err
	}
	if next.ID != id {
		return Todo{}, fmt.Errorf("%w: an update must not change the id (%q to %q)", ErrInvalid, id, next.ID)
	}
	if err := next.Check(); err != nil {
		return Todo{}, err
	}
	return next, nil
}

// CheckRecords returns the fault of the first record that does not pass Todo.Check.
func CheckRecords(records []Record) error {
	for i := range records {
		if err := records[i].Todo.Check(); err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, len(records), err)
		}
	}
	return nil
}

// IsIdentity reports whether a text that a store has kept can be its identity.
func IsIdentity(id string) bool {
	for _, r := range id {
		if !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return false
		}
	}
	return len(id) >= 16 && len(id) <= 64
}
