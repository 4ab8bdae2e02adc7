package load_test

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func generate(t *testing.T, count int64, seed uint64) []todo.Todo {
	t.Helper()
	todos, _, _, err := drain(load.NewGenerator(count, seed))
	if err != io.EOF {
		t.Fatal(err)
	}
	return todos
}

// TestGeneratorIsDeterministic: a record depends only on the seed and its ID. Caught: one
// stream of random numbers for all records.
func TestGeneratorIsDeterministic(t *testing.T) {
	long, short := generate(t, 300, 1), generate(t, 100, 1)
	if !reflect.DeepEqual(long[:100], short) {
		t.Error("another count gives other records")
	}
	if other := generate(t, 100, 2); reflect.DeepEqual(other, short) {
		t.Error("another seed gives the same records")
	}
	backwards := load.NewGenerator(300, 1)
	for i := len(long) - 1; i >= 0; i-- {
		if got := backwards.At(int64(i) + 1); !reflect.DeepEqual(got, long[i]) {
			t.Fatalf("record %d alone is %+v, and %+v after the others", i+1, got, long[i])
		}
	}
	for i, td := range long {
		if td.ID != fmt.Sprint(i+1) {
			t.Fatalf("record %d has id %q", i, td.ID)
		}
	}
}

// TestGeneratedGolden fails if a new version of the library generates other names: then older
// data sets cannot be generated again.
func TestGeneratedGolden(t *testing.T) {
	const want = `{"id":"2","name":"Write to Apextech LLC","description":"Not more than 249.00; Madelyn in Chandler may know.","completed":false,"version":1}`
	got, err := json.Marshal(generate(t, 2, 1)[1])
	if err != nil || string(got) != want {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
}

func TestGeneratedRecordsAreOfTheWorkloadsSize(t *testing.T) {
	const n = 5000
	total, names := 0, make(map[string]bool)
	for _, td := range generate(t, n, 7) {
		b, err := json.Marshal(td)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 100 || len(b) > 230 {
			t.Errorf("%d bytes: %s", len(b), b)
		}
		total += len(b)
		names[td.Name] = true
	}
	if mean := total / n; mean < 126 || mean > 170 {
		t.Errorf("%d bytes a record on average, want 126 to 170", mean)
	}
	if len(names) < n/5 {
		t.Errorf("only %d different names in %d records", len(names), n)
	}
}

func BenchmarkGenerator(b *testing.B) {
	g := load.NewGenerator(1<<62, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
