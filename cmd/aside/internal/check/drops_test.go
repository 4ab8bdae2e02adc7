package check

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// onlyDropped makes reads show an outside change only after a drop, or a change through a
// node.
func (f *fleet) onlyDropped() {
	f.see = func(q query) int {
		seen := q.life.forgot[q.node]
		for i := len(q.life.states) - 1; i > seen; i-- {
			if q.life.by[i] >= 0 {
				return i
			}
		}
		return seen
	}
}

// forgetOn makes nodes show the present state at least.
func (l *truth) forgetOn(nodes ...int) {
	for _, n := range nodes {
		l.forgot[n] = len(l.states) - 1
	}
}

func dropConfig(f *fleet, p *primary) Config {
	c := outsideConfig(f, p)
	c.Outside.Bound = time.Minute // drops alone show what was changed outside
	c.Drops = &Drops{Keys: 0.03, Tags: 0.03}
	return c
}

// Nodes that show outside changes after a drop alone, and then all of them at once, break no
// promise. The report has both kinds of drops, and the reads that were held to them.
// Caught: drops that were never sent; drops of a tag that counted for one record.
func TestDropsOnHonestFleet(t *testing.T) {
	f := newFleet(t, 3)
	f.onlyDropped()
	f.forget = func(_ int, l *truth, _ bool) { l.forgetOn(0, 1, 2) }
	c := dropConfig(f, &primary{fleet: f})
	c.until(func(p Progress) bool { return p.Elapsed > 3*time.Second && p.Outside > 100 })
	r := mustRun(t, c)
	if err := errors.Join(r.Broken(), r.Unproven()); err != nil {
		t.Error(err, r.History.Violations)
	}
	keys, tags := r.Latency["drop by key"].Count, r.Latency["drop by tag"].Count
	if h := &r.History; keys < 20 || tags < 20 || h.Ops[history.Drop] < keys+2*tags || h.HeldByDrop < 50 || r.Failed != 0 {
		t.Errorf("%d drops by key and %d by tag, %d in histories, %d reads held, %d failed", keys, tags, h.Ops[history.Drop], h.HeldByDrop, r.Failed)
	}
	var text, js bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "drops from the cache: 3 % of the operations by key, 3 % by tag, and after half of the outside writes;\n") || !strings.Contains(text.String(), "strong reads came after a drop") || !strings.Contains(text.String(), "\ndrop by tag") {
		t.Errorf("%s", &text)
	}
	if !strings.Contains(js.String(), `"by_tag": 0.03`) || !strings.Contains(js.String(), `"strong_reads_held": `) || strings.Contains(js.String(), `"strong_reads_held": 0`) {
		t.Errorf("%s", &js)
	}
	for _, id := range f.remaining() {
		t.Errorf("%s was left", id)
	}
}

// Writers past the nodes drop what they have changed, half of the times: that is what strong
// reads are held to most strictly.
func TestOutsideWritersDrop(t *testing.T) {
	f := newFleet(t, 2)
	f.onlyDropped()
	f.forget = func(_ int, l *truth, _ bool) { l.forgetOn(0, 1) }
	c := dropConfig(f, &primary{fleet: f})
	c.Drops = &Drops{Tags: 1e-12} // next to none of the clients
	c.until(func(p Progress) bool { return p.Outside > 100 })
	r := mustRun(t, c)
	if err := errors.Join(r.Broken(), r.Unproven()); err != nil {
		t.Error(err, r.History.Violations)
	}
	if n, writes := r.Latency["drop by tag"].Count, r.Outside.Updates.Count+r.Outside.Deletes.Count; n < writes/4 || n > writes*3/4 || r.Latency["drop by key"].Count != 0 {
		t.Errorf("%d drops after %d writes", n, writes)
	}
}

// Drops that do less than they say are detected.
// Caught: drops that were not in the history; drops recorded for another node.
func TestDropLiars(t *testing.T) {
	all := []int{0, 1, 2}
	others := func(node int) []int {
		return slices.DeleteFunc(slices.Clone(all), func(n int) bool { return n == node })
	}
	for name, tt := range map[string]struct {
		forget func(node int, l *truth, byTag bool)
		see    func(q query, honest int) int
		want   []history.Promise
		not    []history.Promise
	}{
		"nothing is dropped": {
			forget: func(int, *truth, bool) {},
			want:   []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact},
		},
		"dropped on the same node alone": {
			forget: func(node int, l *truth, _ bool) { l.forgetOn(node) },
			want:   []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact, history.OwnWrites},
		},
		"dropped on the other nodes alone": {
			forget: func(node int, l *truth, _ bool) { l.forgetOn(others(node)...) },
			want:   []history.Promise{history.OwnWrites}, not: []history.Promise{history.Intact},
		},
		"a tag drops nothing": {
			forget: func(_ int, l *truth, byTag bool) {
				if !byTag {
					l.forgetOn(all...)
				}
			},
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact},
		},
		"a key drops nothing": {
			forget: func(_ int, l *truth, byTag bool) {
				if byTag {
					l.forgetOn(all...)
				}
			},
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact},
		},
		"the memory of nodes is not dropped": {
			forget: func(_ int, l *truth, _ bool) { l.forgetOn(all...) },
			see: func(q query, honest int) int {
				if q.strong || q.life.by[honest] >= 0 {
					return honest
				}
				for honest > 0 && q.life.by[honest] < 0 {
					honest--
				}
				return honest
			},
			want: []history.Promise{history.OwnWrites}, not: []history.Promise{history.Intact, history.StrongReads, history.Linearizable},
		},
		"what was dropped comes back": {
			forget: func(_ int, l *truth, _ bool) { l.forgetOn(all...) },
			see: func(q query, honest int) int {
				if q.life.forgot[q.node] == honest && honest > 1 && q.life.by[honest] < 0 && q.f.nth("back", 10) {
					return honest - 1
				}
				return honest
			},
			want: []history.Promise{history.StrongReads, history.OwnWrites, history.Monotonic}, not: []history.Promise{history.Intact},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3)
			f.onlyDropped()
			if honest := f.see; tt.see != nil {
				f.see = func(q query) int { return tt.see(q, honest(q)) }
			}
			f.forget = tt.forget
			c := dropConfig(f, &primary{fleet: f})
			c.Promises = append(slices.Clone(tt.want), tt.not...)
			c.until(func(p Progress) bool { return p.Elapsed > 3*time.Second && p.Outside > 100 })
			r := mustRun(t, c)
			expectBroken(t, r, tt.want, tt.not)
		})
	}
}

// Before the load the check finds out that a node cannot drop anything, and says what to do.
// The calls go to the admin URL of the target, with the token.
// Caught: a run against nodes without tags, in which every drop failed; the token not sent.
func TestDropProbe(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		code   string
		says   string
	}{
		"no calls for operators": {404, "no_such_path", "give the URL of its admin listener with --admin"},
		"a token is wanted":      {401, "token_required", "give its file with --token-file"},
		"no tags":                {409, "no_tags", "start it with aside serve --tag-days"},
		"no cache":               {409, "no_cache", "it cannot drop by tag: status 409 no_cache"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2)
			asked := make(chan string, 100)
			admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
				problem(w, tt.status, tt.code)
			}))
			t.Cleanup(admin.Close)
			right := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
			t.Cleanup(right.Close)
			c := Config{Targets: f.urls, Operations: 100, Drops: &Drops{Tags: 0.1, Admin: []string{right.URL, admin.URL}, Token: "secret"}}
			_, err := Run(t.Context(), c)
			var target *TargetError
			if !errors.As(err, &target) || target.URL != admin.URL || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %q", err, tt.says)
			}
			if got := <-asked; got != "POST /ops/drop Bearer secret" {
				t.Errorf("asked with %q", got)
			}
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// A run whose drops prove nothing says so.
func TestDropsUnproven(t *testing.T) {
	f := newFleet(t, 2)
	var refuse atomic.Bool
	f.forget = func(_ int, l *truth, _ bool) { l.forgetOn(0, 1) }
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse.Load() {
			problem(w, 503, "cache_unavailable")
			return
		}
		w.WriteHeader(204)
	}))
	t.Cleanup(admin.Close)
	f.enter = func(q query) {
		if q.method == "GET" {
			refuse.Store(true)
		}
	}
	c := Config{Targets: f.urls[:1], Clients: 1, Operations: 200, Drops: &Drops{Tags: 0.2, Admin: []string{admin.URL}}}
	if err := mustRun(t, c).Unproven(); err == nil || !strings.Contains(err.Error(), "no drop by tag succeeded") || strings.Contains(err.Error(), "by key") {
		t.Errorf("%v", err)
	}
	r := &Report{Config: c, Outside: &OutsideReport{}, Operations: 1}
	if err := r.Unproven(); err == nil || !strings.Contains(err.Error(), "no strong read came between a drop") {
		t.Errorf("%v", err)
	}
}

func TestDropsValidate(t *testing.T) {
	for want, d := range map[string]*Drops{
		"drops by key and by tag must together": {},
		"are 0.6 and 0.5":                       {Keys: 0.6, Tags: 0.5},
		"are -1 and 1":                          {Keys: -1, Tags: 1},
		"one admin URL for each target":         {Keys: 1, Admin: []string{"http://a"}},
		"admin 2: url must be like":             {Keys: 1, Admin: []string{"http://a", "b:1"}},
		"admin 2: http://a is given twice":      {Keys: 1, Admin: []string{"http://a", "http://a"}},
	} {
		c := Config{Targets: []string{"http://h", "http://i"}, Drops: d}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", d, err, want)
		}
	}
	for _, d := range []*Drops{{Keys: 1}, {Tags: 0.5, Keys: 0.5, Admin: []string{"http://a", "http://b/x"}}} {
		c := Config{Targets: []string{"http://h", "http://i"}, Drops: d}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
