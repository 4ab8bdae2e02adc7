package listing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pages serves these ids, so many in a page. before is called before each page is sent.
func pages(t *testing.T, all []string, size int, before func(place int, r *http.Request)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/todos" || r.URL.Query().Get("limit") != "200" {
			http.NotFound(w, r)
			return
		}
		place, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		if before != nil {
			before(place, r)
		}
		end := min(place+size, len(all))
		var todos []string
		for _, id := range all[place:end] {
			todos = append(todos, fmt.Sprintf(`{"id":%q,"name":"n"}`, id))
		}
		next := ""
		if end < len(all) {
			next = fmt.Sprintf(`,"next_cursor":"%d"`, end)
		}
		fmt.Fprintf(w, `{"todos":[%s]%s}`, strings.Join(todos, ","), next)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/todos"
}

func numbers(first, last int) (ids []string) {
	for n := first; n <= last; n++ {
		ids = append(ids, strconv.Itoa(n))
	}
	slices.Sort(ids) // as the service lists them
	return ids
}

// All pages are read, and the name says what was found. Consecutive numbers are the same set
// as --ids. Caught: only the first page was read; an id was not percent-encoded.
func TestFind(t *testing.T) {
	odd := []string{"a b", "b/c", strings.Repeat("x", 100)}
	for _, tt := range []struct {
		ids  []string
		name string
		len  uint64
	}{
		{numbers(1, 45), "1-45 (all that the server lists)", 45},
		{[]string{"7"}, "7-7 (all that the server lists)", 1},
		{append(numbers(1, 5), "7"), "all 6 ids that the server lists (1 to 7)", 6},
		{[]string{"01", "2"}, "all 2 ids that the server lists (01 to 2)", 2},
		{odd, "all 3 ids that the server lists (a b to " + strings.Repeat("x", 32) + "...)", 3},
	} {
		var seen []int
		l, err := Find(t.Context(), pages(t, tt.ids, 10, nil), Options{Progress: func(n int) { seen = append(seen, n) }})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if s := l.Set(); s.String() != tt.name || s.Len() != tt.len || !slices.Equal(l.IDs, tt.ids) || seen[len(seen)-1] != len(tt.ids) {
			t.Errorf("%v with %d ids, want %s: %v; progress %v", s, s.Len(), tt.name, l.IDs, seen)
		}
	}
}

// Of too many ids a sample is kept, from all pages, and the same seed keeps the same ones.
// Caught: the first ids were kept.
func TestFindKeepsASample(t *testing.T) {
	url := pages(t, numbers(1, 2000), 100, nil)
	find := func(seed uint64) *Listing {
		l, err := Find(t.Context(), url, Options{Most: 200, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := find(1)
	perTenth := make([]int, 10)
	all := numbers(1, 2000)
	for _, id := range l.IDs {
		place, ok := slices.BinarySearch(all, id)
		if !ok {
			t.Fatalf("the server never listed %q", id)
		}
		perTenth[place/200]++
	}
	if slices.Min(perTenth) < 6 || len(slices.Compact(slices.Clone(l.IDs))) != 200 || !slices.IsSorted(l.IDs) {
		t.Errorf("ids from each tenth of the pages: %v", perTenth)
	}
	if !slices.Equal(l.IDs, find(1).IDs) || slices.Equal(l.IDs, find(2).IDs) {
		t.Error("the sample does not depend on the seed alone")
	}
	if want := "200 ids of the 2000 that the server lists ("; !strings.HasPrefix(l.Set().String(), want) {
		t.Errorf("%v, want %s", l.Set(), want)
	}
}

// A store that cannot be listed in time is used as far as it was seen. Caught: an error
// instead.
func TestFindEndsInTime(t *testing.T) {
	hold := func(after int) func(int, *http.Request) {
		return func(place int, r *http.Request) {
			if place >= after {
				<-r.Context().Done()
			}
		}
	}
	l, err := Find(t.Context(), pages(t, numbers(1, 50), 10, hold(20)), Options{Time: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	want := "20 ids of the first 20 that the server lists (it has more than could be listed in 300ms; "
	if s := l.Set(); s.Len() != 20 || !strings.HasPrefix(s.String(), want) {
		t.Errorf("%v, want %s", s, want)
	}
	_, err = Find(t.Context(), pages(t, numbers(1, 50), 10, hold(0)), Options{Time: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "did not answer within 50ms") {
		t.Errorf("a server that does not answer: %v", err)
	}
}

// Of several servers the common ids are used.
func TestFindAmong(t *testing.T) {
	first, err := Find(t.Context(), pages(t, numbers(1, 50), 10, nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	both, err := Find(t.Context(), pages(t, numbers(31, 90), 10, nil), Options{Among: first})
	if err != nil {
		t.Fatal(err)
	}
	if s := both.Set(); s.String() != "20 ids that all 2 servers list (31-50)" || s.Len() != 20 {
		t.Errorf("%v with %d", s, s.Len())
	}
	none, err := Find(t.Context(), pages(t, numbers(91, 95), 10, nil), Options{Among: both})
	if err != nil || len(none.IDs) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func TestFindFails(t *testing.T) {
	for body, want := range map[string]string{
		`{"todos":[]}`:                                ErrEmpty.Error(),
		`{"todos":[{"name":"n"}]}`:                    "without an id",
		`{"todos":[{"id":"1"}],"next_cursor":"same"}`: "the same next_cursor again",
		`{"todos":null}`:                              "did not answer with a list of todos",
		`{"error":"no"}`:                              "did not answer with a list of todos",
		`<html>`:                                      "did not answer with a list of todos",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
		if _, err := Find(t.Context(), s.URL, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
		s.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, pages(t, numbers(1, 5), 10, nil), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}
