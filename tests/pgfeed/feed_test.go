package pgfeed_test

import (
	"testing"
)

func TestChanges(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1), ('b', 'x', 7)")
	s.want("a=1", "b=7")
	pg.Exec("UPDATE todos SET name = 'y', version = 8 WHERE id = 'b'")
	s.want("b=8")
	// The key changes: nothing under the old key may stay.
	pg.Exec("UPDATE todos SET id = 'c', version = 9 WHERE id = 'b'")
	s.want("b-", "c=9")
	pg.Exec("DELETE FROM todos WHERE id = 'c'")
	s.want("c-")
	// Of a transaction, others see the end only.
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('d', 'x', 1); UPDATE todos SET version = 2 WHERE id = 'd'; DELETE FROM todos WHERE id = 'a'; " +
		"INSERT INTO todos VALUES ('a', 'z', 5); COMMIT")
	s.want("d=2", "a=5")
	s.wantQuiet()
}
