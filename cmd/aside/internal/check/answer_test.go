package check

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/boltstore"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func TestTags(t *testing.T) {
	for _, tag := range []uint64{1, 42, 1<<64 - 1} {
		if got := tagOf(nameOf(tag)); got != tag {
			t.Errorf("%d became %d", tag, got)
		}
	}
	for _, name := range []string{"", "water the plants", namePrefix, namePrefix + "x", namePrefix + "-1", namePrefix + "01", namePrefix + "1 ", namePrefix + "99999999999999999999"} {
		if got := tagOf(name); got != 0 {
			t.Errorf("%q became %d", name, got)
		}
	}
}

// failing is a store whose reads and writes fail.
type failing struct {
	todo.Store
	err error
}

func (f failing) Get(context.Context, string) (todo.Todo, error) { return todo.Todo{}, f.err }
func (f failing) Insert(context.Context, todo.Todo) error        { return f.err }
func (f failing) Update(context.Context, string, func(todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	return todo.Todo{}, f.err
}
func (f failing) Delete(context.Context, string, func(todo.Todo) error) error { return f.err }

// The check interprets the service's responses correctly: a write counts as refused only if
// the service knows that, and a read as absent only if the record is absent. Caught:
// unacknowledged counted as refused.
func TestJudgeTheService(t *testing.T) {
	for _, tt := range []struct {
		err  error
		done bool // may be
	}{
		{todo.ErrNotFound, false},
		{todo.ErrExists, false},
		{todo.ErrPrecondition, false},
		{todo.ErrInvalid, false},
		{todo.ErrUnavailable, false},
		{fmt.Errorf("%w: %w", todo.ErrUnavailable, context.DeadlineExceeded), false},
		{aside.ErrOverloaded, false},
		{aside.ErrL2Unavailable, false},
		{aside.ErrClosed, false},
		{todo.ErrUnknownOutcome, true},
		{fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, todo.ErrUnavailable), true},
		{aside.ErrUnacknowledged, true},
		{context.DeadlineExceeded, true},
		{context.Canceled, true},
		{errors.New("something else"), true},
	} {
		c := callService(t, failing{err: tt.err})
		for a := range dropKey {
			x := c.do(t.Context(), 0, a, "1", 7)
			want := nothing
			switch {
			case a.write() && tt.done:
				want = unknown
			case !a.write() && tt.err == todo.ErrNotFound:
				want = told // absent
			}
			if x.sure != want || x.version != 0 || (x.problem == "") != (want == told) {
				t.Errorf("%v of a store that says %q: %+v, want %v", a, tt.err, x.outcome, want)
			}
		}
	}
}

// callService returns a caller of a service with that store.
func callService(t *testing.T, store todo.Store) *caller {
	t.Helper()
	api, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: store})})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	e, err := httpwire.Parse(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	c := newCaller([]httpwire.Endpoint{e}, 20*time.Second)
	t.Cleanup(c.close)
	return c
}

// The responses to successful requests are interpreted correctly too.
func TestJudgeSuccess(t *testing.T) {
	store, err := boltstore.Open(t.TempDir(), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := callService(t, store)
	for i, tt := range []struct {
		a    act
		want outcome
	}{
		{readDefault, outcome{}},
		{create, outcome{version: 1, tag: 1}},
		{readDefault, outcome{version: 1, tag: 1}},
		{put, outcome{version: 2, tag: 3}},
		{readStrong, outcome{version: 2, tag: 3}},
		{remove, outcome{}},
		{readStrong, outcome{}},
	} {
		x := c.do(t.Context(), 0, tt.a, "1", uint64(i))
		if _, err := time.Parse("created:2006-01-02", x.cached); (err == nil) != (tt.want.version > 0) {
			t.Errorf("%d, %v: its tag is %q", i, tt.a, x.cached)
		}
		x.cached = ""
		if x.outcome != tt.want || x.call.IsZero() || x.end.Before(x.call) {
			t.Errorf("%d, %v: %+v, want %+v", i, tt.a, x, tt.want)
		}
	}
}

func TestCut(t *testing.T) {
	if got := cut(" a\n\tb  c "); got != "a b c" {
		t.Errorf("%q", got)
	}
	if got := cut(strings.Repeat("é", 300)); len(got) > 210 || !strings.HasSuffix(got, "é...") {
		t.Errorf("%q", got)
	}
}
