package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store with only InsertMany.
type memory struct {
	todo.Store

	mu      sync.Mutex
	records map[string]todo.Record
	batches []int
	// before, if set, runs before each batch. If it returns an error, the batch fails after
	// failAt records.
	before func(ctx context.Context, n int) error
	failAt int
}

func (m *memory) InsertMany(ctx context.Context, records []todo.Record) (res todo.InsertResult, err error) {
	if m.before != nil {
		err = m.before(ctx, len(m.batches))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[string]todo.Record)
	}
	m.batches = append(m.batches, len(records))
	for i, r := range records {
		if err != nil && i >= m.failAt {
			return res, err
		}
		if _, ok := m.records[r.Todo.ID]; ok {
			res.Existing++
			continue
		}
		m.records[r.Todo.ID] = r
		res.Inserted++
	}
	return res, err
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records)
}

// console records its calls.
type console struct {
	lines    []string
	progress []load.Progress
}

func (c *console) Println(line string)      { c.lines = append(c.lines, line) }
func (c *console) Progress(p load.Progress) { c.progress = append(c.progress, p) }
func (c *console) Close()                   {}

// script is a Source that returns its items in turn: a todo.Record or an error.
type script struct {
	items []any
	next  int
}

func (s *script) Extent() load.Extent {
	return load.Extent{Done: int64(s.next), Total: int64(len(s.items))}
}
func (s *script) Extra() map[string]int64 { return map[string]int64{"tags": 1} }
func (s *script) Odd() []load.Odd         { return nil }
func (s *script) Next() (todo.Record, error) {
	if s.next == len(s.items) {
		return todo.Record{}, io.EOF
	}
	s.next++
	if err, ok := s.items[s.next-1].(error); ok {
		return todo.Record{}, err
	}
	return s.items[s.next-1].(todo.Record), nil
}

func record(id string) todo.Record { return todo.Record{Todo: todo.Todo{ID: id, Name: "n"}} }

func ids(n int) (items []any) {
	for i := range n {
		items = append(items, record(fmt.Sprint(i)))
	}
	return items
}

// drain reads a source to its end.
func drain(src load.Source) (todos []todo.Todo, faults []string, damage []error, err error) {
	for {
		rec, err := src.Next()
		var f *load.Fault
		var d *load.Damage
		switch {
		case err == nil:
			todos = append(todos, rec.Todo)
		case errors.As(err, &f):
			faults = append(faults, f.Error())
		case errors.As(err, &d):
			damage = append(damage, d.Err)
		default:
			return todos, faults, damage, err
		}
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// todoDocs returns n documents as older systems wrote them.
func todoDocs(n int) (docs [][]byte) {
	for i := range n {
		docs = append(docs, dumptest.Doc("id", fmt.Sprint(i), "name", "n", "description", "d"))
	}
	return docs
}

func otherDocs(n int) [][]byte {
	return slices.Repeat([][]byte{dumptest.Doc("title", "t")}, n)
}
