package check

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// For each promise, a fleet that breaks it is detected, with the part of the history that
// shows it. Caught: each checker left out; default reads recorded as strong ones; absences
// not recorded; the id of a response not checked; version 0 read as absent; no reads after
// the deletion.
func TestLiars(t *testing.T) {
	// seldom changes a few of the reads on one node.
	seldom := func(node int, strong bool, saw func(q query) int) func(q query) int {
		return func(q query) int {
			now := len(q.life.states) - 1
			if q.node == node && q.strong == strong && saw(q) != now && q.f.nth("lie", 20) {
				return saw(q)
			}
			return now
		}
	}
	before := func(q query) int { return max(len(q.life.states)-2, 0) }
	puts := func(q query) bool { return q.method == "PUT" && q.life.now() != nil && q.f.nth("put", 20) }

	for name, tt := range map[string]struct {
		see    func(q query) int
		answer func(w http.ResponseWriter, q query) bool
		want   []history.Promise
		not    []history.Promise // promises that it does not break
	}{
		"old answers to strong reads": {
			see:  seldom(1, true, before),
			want: []history.Promise{history.StrongReads, history.Linearizable}, not: []history.Promise{history.Intact, history.Bounded},
		},
		"absent, said to strong reads of what is there": {
			see:  seldom(2, true, func(query) int { return 0 }),
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact, history.Bounded},
		},
		"there, said to strong reads of what was deleted": {
			see: func(q query) int {
				now := len(q.life.states) - 1
				if q.strong && now > 0 && q.life.now() == nil {
					return now - 1
				}
				return now
			},
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact, history.Bounded},
		},
		"own writes forgotten": {
			see: seldom(0, false, func(q query) int {
				if now := len(q.life.states) - 1; q.life.by[now] == 0 {
					return now - 1
				}
				return len(q.life.states) - 1
			}),
			want: []history.Promise{history.OwnWrites}, not: []history.Promise{history.StrongReads, history.Linearizable, history.Intact},
		},
		"back to older versions": {
			see:  seldom(2, false, before),
			want: []history.Promise{history.Monotonic}, not: []history.Promise{history.StrongReads, history.Linearizable, history.Intact},
		},
		"default reads that stay old": {
			see: func(q query) int {
				if q.node == 1 && !q.strong {
					return min(1, len(q.life.states)-1)
				}
				return len(q.life.states) - 1
			},
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.StrongReads, history.Linearizable, history.Intact},
		},
		"absences that stay": {
			see: func(q query) int {
				if q.node == 1 && !q.strong {
					return 0
				}
				return len(q.life.states) - 1
			},
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.StrongReads, history.Linearizable, history.Intact},
		},
		"another record": {
			answer: func(w http.ResponseWriter, q query) bool {
				if q.method != "GET" || q.life.now() == nil || !q.f.nth("lie", 50) {
					return false
				}
				for id, other := range q.f.records {
					if s := other.now(); id != q.life.id && s != nil && strings.HasPrefix(s.Name, namePrefix) {
						reply(w, 200, s)
						return true
					}
				}
				return false
			},
			want: []history.Promise{history.Intact},
		},
		"another run's record": {
			answer: func(w http.ResponseWriter, q query) bool {
				if q.method != "GET" || q.life.now() == nil || !q.f.nth("lie", 50) {
					return false
				}
				other := *q.life.now()
				other.ID = "check-other-1"
				reply(w, 200, &other)
				return true
			},
			want: []history.Promise{history.Intact}, not: []history.Promise{history.StrongReads, history.OwnWrites, history.Bounded},
		},
		"another record's content": {
			answer: func(w http.ResponseWriter, q query) bool {
				if q.method != "GET" || q.life.now() == nil || !q.f.nth("lie", 50) {
					return false
				}
				mixed := *q.life.now()
				mixed.Name = nameOf(1 << 40)
				reply(w, 200, &mixed)
				return true
			},
			want: []history.Promise{history.Intact}, not: []history.Promise{history.StrongReads, history.OwnWrites, history.Bounded},
		},
		"content of nobody": {
			answer: func(w http.ResponseWriter, q query) bool {
				if q.method != "GET" || q.life.now() == nil || !q.f.nth("lie", 50) {
					return false
				}
				mixed := *q.life.now()
				mixed.Name = "water the plants"
				reply(w, 200, &mixed)
				return true
			},
			want: []history.Promise{history.Intact},
		},
		"version 0": {
			answer: func(w http.ResponseWriter, q query) bool {
				if q.method != "GET" || q.life.now() == nil || !q.f.nth("lie", 50) {
					return false
				}
				s := *q.life.now()
				s.Version = 0
				reply(w, 200, &s)
				return true
			},
			want: []history.Promise{history.Intact},
		},
		"writes that are acknowledged and not done": {
			answer: func(w http.ResponseWriter, q query) bool {
				if !puts(q) {
					return false
				}
				s := q.body
				s.Version = q.life.now().Version + 1
				reply(w, 200, &s)
				return true
			},
			want: []history.Promise{history.StrongReads, history.Linearizable, history.Intact},
		},
		"writes that are done twice": {
			answer: func(w http.ResponseWriter, q query) bool {
				if !puts(q) {
					return false
				}
				q.write()
				reply(w, q.write(), q.life.now())
				return true
			},
			want: []history.Promise{history.Intact}, not: []history.Promise{history.StrongReads, history.OwnWrites, history.Monotonic, history.Bounded},
		},
		"writes that are refused and done": {
			answer: func(w http.ResponseWriter, q query) bool {
				if !puts(q) {
					return false
				}
				q.write()
				problem(w, 503, "cache_unavailable")
				return true
			},
			want: []history.Promise{history.Intact},
		},
		"writes that are seen and taken back": {
			answer: func(w http.ResponseWriter, q query) bool {
				switch {
				case puts(q):
					q.write()
					problem(w, 504, "unknown_outcome")
					q.f.n[q.life.id] = len(q.life.states)
					return true
				case q.method == "GET" && q.strong && q.f.n[q.life.id] == len(q.life.states) && q.life.now() != nil:
					reply(w, 200, q.life.now())
					q.life.states = q.life.states[:len(q.life.states)-1]
					q.life.by = q.life.by[:len(q.life.states)]
					return true
				}
				return false
			},
			want: []history.Promise{history.Linearizable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3)
			f.see, f.answer = tt.see, tt.answer
			c := Config{Targets: f.urls, Operations: 4_000, Keys: 4, Life: 600, Clients: 8, Writes: 0.2, MaxStale: 20 * time.Minute, Pictures: t.TempDir()}
			if slices.Contains(tt.want, history.Bounded) {
				c.MaxStale = 10 * time.Millisecond
			}
			r := mustRun(t, c)
			err := r.Broken()
			for _, p := range tt.want {
				if err == nil || !strings.Contains(err.Error(), string(p)) {
					t.Errorf("%v; want %q to be broken", err, p)
				}
				shown := slices.IndexFunc(r.History.Violations, func(v history.Violation) bool { return v.Promise == p })
				if shown < 0 {
					t.Errorf("no violation of %q is shown", p)
					continue
				}
				v := r.History.Violations[shown]
				if v.Text == "" || len(v.Ops) == 0 || v.PictureErr != nil || !strings.HasPrefix(v.Key, r.Prefix) {
					t.Errorf("%v", v)
				}
				if _, err := os.Stat(v.Picture); err != nil {
					t.Error(err)
				}
			}
			for _, p := range tt.not {
				if n := r.History.Broken[p]; n > 0 {
					t.Errorf("%d violations of %q, which holds", n, p)
				}
			}
			sum := r.Timeline.Between(0, r.Elapsed+bucket)
			if sum.Violations != r.History.Violated() || sum.StaleStrong != r.History.Strong.Stale || sum.StaleDefault != r.History.Default.Stale ||
				sum.WorstStrong != r.History.Strong.Worst || sum.WorstDefault != r.History.Default.Worst {
				t.Errorf("the timeline has %+v, the history %+v", sum, r.History)
			}
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// A node gets no invalidations, and only its own strong reads update its memory. The check
// detects it, although there is a strong read every few milliseconds. Caught: strong reads of
// all records.
func TestNodeWithoutInvalidations(t *testing.T) {
	f := newFleet(t, 3)
	f.see = func(q query) int {
		now := len(q.life.states) - 1
		if q.node != 1 {
			return now
		}
		if seen, ok := f.n[q.life.id]; ok && !q.strong {
			return seen
		}
		f.n[q.life.id] = now
		return now
	}
	const bound = 100 * time.Millisecond
	r := mustRun(t, Config{Targets: f.urls, Duration: 10 * bound, Keys: 4, Life: maxLife, Clients: 8, MaxStale: bound})
	if r.History.Broken[history.Bounded] == 0 {
		t.Errorf("no read was too stale: %+v", r.History.Default)
	}
}
