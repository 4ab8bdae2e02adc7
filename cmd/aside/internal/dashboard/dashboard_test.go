package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/flate"
	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A quantile differs from the true value by 3 % at most, whatever the durations are.
func TestHistogramIsExactEnough(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(rnd.Int64N(1 << (4 + rnd.IntN(39))))
		m := middle(bucketOf(d))
		if diff := (m - d).Abs(); float64(diff) > .032*float64(d)+1 {
			t.Fatalf("%d ns is counted as %d ns", d, m)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 15, 16, 17, 31, 32, 1 << 43, 1 << 62} {
		if b := bucketOf(d); b < 0 || b >= buckets {
			t.Errorf("%d ns: bucket %d of %d", d, b, buckets)
		}
	}
	var h histogram
	var before, c counted
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	h.since(&before, &c)
	for q, want := range map[float64]float64{.5: 500, .95: 950, .99: 990, 1: 1000} {
		if got := c.quantile(q); got < want*.968 || got > want*1.032 {
			t.Errorf("quantile %v is %v ms, want %v", q, got, want)
		}
	}
	h.since(&before, &c)
	if c.total != 0 || c.quantile(.5) != 0 {
		t.Errorf("nothing came since: %d, %v", c.total, c.quantile(.5))
	}
}

// A sample has what happened since the one before, and the state of now.
func TestSampleIsOfOneSecond(t *testing.T) {
	m := &Meters{}
	stats := aside.Stats{HitsL1: 100, Loads: 7}
	s := sampler{meters: m, stats: func() aside.Stats { return stats }}
	s.take(time.Now())
	stats = aside.Stats{
		HitsL1: 103, HitsL2: 2, Misses: 1, Loads: 8, LoadsRunning: 3, LoadsQueued: 4, Pending: 5, L1Entries: 6, Invalidations: 9,
		Degraded: true, DegradedReason: "why", Breaker: aside.BreakerOpen, Feed: aside.FeedStats{Attached: true, Reason: "lost", Changes: 2, Lag: 1500 * time.Microsecond},
	}
	m.Request(200, 2*time.Millisecond)
	m.Request(503, 2*time.Millisecond)
	m.Load(time.Millisecond)
	m.L2("acquire", time.Millisecond, nil)
	m.L2("release", time.Millisecond, nil)
	m.L2("release", time.Millisecond, errors.New("down"))
	m.Store("get", time.Millisecond, nil)
	m.Store("get", time.Millisecond, todo.ErrUnavailable)
	got := s.take(time.UnixMilli(42))
	want := Sample{
		T: 42, Requests: 2, Errors: 1, P50: got.P50, P95: got.P50, P99: got.P50, L1: 3, L2: 2, Misses: 1, Loads: 1,
		Running: 3, Queued: 4, LoadP50: got.LoadP50, LoadP99: got.LoadP50, InvIn: 9, InvOut: 1, Pending: 5, L1Entries: 6,
		L2Ops: 3, L2Errors: 1, L2P50: got.L2P50, L2P99: got.L2P50, DBOps: 2, DBErrors: 1, DBP50: got.DBP50, DBP99: got.DBP50,
		FeedChanges: 2, FeedLag: 1.5, Degraded: "why", Feed: "not fed", FeedReason: "lost", Breaker: "open",
	}
	if got != want || got.P50 < 1.9 || got.P50 > 2.1 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := s.take(time.Now()); again.L1 != 0 || again.Requests != 0 || again.InvIn != 0 || again.Pending != 5 {
		t.Errorf("nothing happened: %+v", again)
	}
}

// roster is what the nodes of a cache share, with an expiry.
type roster struct {
	mu   sync.Mutex
	data map[string][]byte
	ends map[string]time.Time
	down bool
}

func newRoster() *roster { return &roster{data: map[string][]byte{}, ends: map[string]time.Time{}} }

func (r *roster) as(name string) func(context.Context, []byte) (map[string][]byte, error) {
	return func(ctx context.Context, data []byte) (map[string][]byte, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.down {
			return nil, errors.New("down")
		}
		r.data[name], r.ends[name] = data, time.Now().Add(TTL)
		found := map[string][]byte{}
		for name, data := range r.data {
			if time.Now().Before(r.ends[name]) {
				found[name] = data
			}
		}
		return found, nil
	}
}

func (r *roster) set(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func node(t *testing.T, r *roster, name string, hit *aside.Stats) (d *Dashboard, stop func()) {
	t.Helper()
	o := Options{Meters: &Meters{}, Config: Config{Node: name, NodeID: "id-" + name}, URL: "http://" + name, Done: make(chan struct{})}
	if hit != nil {
		var mu sync.Mutex
		o.Stats = func() aside.Stats { mu.Lock(); defer mu.Unlock(); hit.HitsL1++; return *hit }
	}
	if r != nil {
		o.Announce = r.as(name)
	}
	d = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	return d, func() { cancel(); <-ended }
}

func names(d *Dashboard) string { return strings.Join(slices.Sorted(maps.Keys(d.Nodes())), " ") }

func histories(t *testing.T, d *Dashboard) map[string]past {
	t.Helper()
	h, _, leave, err := d.follow()
	defer leave()
	var v struct{ Nodes map[string]past }
	if err == nil {
		err = json.Unmarshal(h.data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.Nodes
}

// Nodes of a cache see each other, with all samples. One that ends is gone when its
// announcement is, and its history a minute later. Without the roster each sees itself, and
// afterwards the others again, with the samples of before. Caught: a node that came back
// under its name after a restart, whose samples were taken for old ones.
func TestNodesSeeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		a, stopA := node(t, r, "a", &aside.Stats{})
		defer stopA()
		time.Sleep(300 * time.Millisecond)
		b, stopB := node(t, r, "b", &aside.Stats{})
		time.Sleep(20*time.Second + 100*time.Millisecond)
		if names(a) != "a b" || names(b) != "a b" {
			t.Fatalf("a sees %s, b sees %s", names(a), names(b))
		}
		past := histories(t, a)
		if n := len(past["a"].Samples); n != 20 {
			t.Errorf("a has %d samples of itself", n)
		}
		if n := len(past["b"].Samples); n < 19 || n > 20 {
			t.Errorf("a has %d samples of b", n)
		}
		for i, s := range past["b"].Samples {
			if s.L1 != 1 || i > 0 && s.T-past["b"].Samples[i-1].T != 1000 {
				t.Errorf("sample %d of b is %d ms behind the one before and has %d hits", i, s.T-past["b"].Samples[max(i-1, 0)].T, s.L1)
			}
		}
		if got := a.NameOf("id-b"); got != "b" || a.NameOf("id-a") != "a" || a.NameOf("id-c") != "" {
			t.Errorf("the name of b's id is %q", got)
		}

		r.set(true)
		time.Sleep(10 * time.Second)
		if names(a) != "a" {
			t.Errorf("without the roster a sees %s", names(a))
		}
		r.set(false)
		time.Sleep(2 * time.Second)
		if n := len(histories(t, a)["b"].Samples); names(a) != "a b" || n < 22 {
			t.Errorf("afterwards a sees %s, %d samples of b", names(a), n)
		}

		stopB()
		time.Sleep(TTL + 1100*time.Millisecond)
		if names(a) != "a" || len(histories(t, a)) != 2 || a.NameOf("id-b") != "b" {
			t.Errorf("b is gone; a sees %s, with the history of %d nodes", names(a), len(histories(t, a)))
		}
		time.Sleep(shownFor)
		if len(histories(t, a)) != 1 {
			t.Error("the history of a node that is gone for a minute is shown")
		}
		_, stopB = node(t, r, "b", &aside.Stats{})
		time.Sleep(4 * time.Second)
		if got := histories(t, a)["b"].Samples; names(a) != "a b" || time.Since(time.UnixMilli(got[len(got)-1].T)) > 2*time.Second {
			t.Errorf("b is back, and its latest sample is of %v ago", time.Since(time.UnixMilli(got[len(got)-1].T)))
		}
		stopB()

		time.Sleep((kept + 60) * time.Second)
		if got := histories(t, a)["a"].Samples; len(got) != kept || got[kept-1].T-got[0].T != (kept-1)*1000 {
			t.Errorf("%d samples are kept", len(got))
		}
		if a.NameOf("id-b") != "" {
			t.Error("b is remembered for ever")
		}
	})
}

// An announcement of a busy node is small: every node reads those of all each second.
func TestAnnouncementIsSmall(t *testing.T) {
	s := Sample{T: time.Now().UnixMilli(), Requests: 123456, Errors: 3, P50: 0.041, P95: 0.122, P99: 1.234, L1: 98765, L2: 4321, Misses: 432, Loads: 400,
		LoadP50: 1.234, LoadP99: 5.678, L1Entries: 98765, L1Cost: 123456789, L2Ops: 4567, L2P50: .234, L2P99: .789, DBOps: 432, DBP50: 1.21, DBP99: 5.43, Breaker: "closed", Feed: "fed"}
	a := announcement{Info{ID: "0123456789ab", Version: "v1.2.3", URL: "http://node-1:8000", Store: "mongodb://db1,db2,db3", Cache: "memory and redis://cache1"}, 9, []Sample{s, s, s}}
	packed := a.pack()
	if len(packed) > 800 {
		t.Errorf("%d bytes", len(packed))
	}
	if back, err := unpack(packed); err != nil || back.Samples[2] != s || back.Info != a.Info {
		t.Errorf("%v %+v", err, back)
	}
}

// What others wrote under the roster's key is not trusted.
func TestForgedAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		d, stop := node(t, r, "a", nil)
		defer stop()
		forged := map[string]string{
			"garbage": "{", "bomb": strings.Repeat(" ", 1<<24), "a": `{"info":{"version":"forged"},"count":9,"samples":[{"t":1}]}`,
			"script":                 `{"info":{"url":"javascript:alert(1)"},"count":1,"samples":[{"t":1,"degraded":"` + strings.Repeat("ä", 1000) + `"}]}`,
			strings.Repeat("n", 300): `{"count":1,"samples":[{"t":1}]}`,
			"none":                   `{"count":1,"samples":[]}`,
			"many":                   `{"count":1000000,"samples":[` + strings.Repeat(`{"t":1},`, 50) + `{"t":2}]}`,
			"back":                   `{"count":0,"samples":[{"t":1},{"t":2}]}`,
		}
		for i := range 2 * maxNodes {
			forged[fmt.Sprint("x", i)] = `{"count":1,"samples":[{"t":1}]}`
		}
		for name, data := range forged {
			var packed bytes.Buffer
			if err := flate.StatelessDeflate(&packed, []byte(data), true, nil); err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			r.data[name], r.ends[name] = packed.Bytes(), time.Now().Add(time.Hour)
			r.mu.Unlock()
		}
		time.Sleep(5 * time.Second)
		nodes := d.Nodes()
		if len(nodes) > maxNodes+1 || nodes["a"].Info.Version != "" {
			t.Errorf("%d nodes; this one's version is %q", len(nodes), nodes["a"].Info.Version)
		}
		r.mu.Lock()
		maps.DeleteFunc(r.data, func(name string, _ []byte) bool { return strings.HasPrefix(name, "x") })
		r.mu.Unlock()
		time.Sleep((kept + 10) * time.Second)
		nodes = d.Nodes()
		if got := slices.Sorted(maps.Keys(nodes)); !slices.Equal(got, []string{"a", "many", "script"}) {
			t.Fatalf("nodes: %.100v", got)
		}
		if s := nodes["script"]; s.Info.URL != "" || len(s.Sample.Degraded) > maxTextSize {
			t.Errorf("%+v", s)
		}
		for name, p := range histories(t, d) {
			if name != "a" && len(p.Samples) > kept {
				t.Errorf("%s: %d samples", name, len(p.Samples))
			}
		}
	})
}

// A stream that is not read is ended, and the others get every event.
func TestSlowStreamHoldsNobodyUp(t *testing.T) {
	d := New(Options{Meters: &Meters{}, Config: Config{Node: "a"}, Done: make(chan struct{})})
	_, slow, leaveSlow, _ := d.follow()
	_, quick, leave, _ := d.follow()
	defer leave()
	const n = 3 * queued
	for i := range n {
		if err := d.step(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if e := <-quick; e.count != uint64(i+1) {
			t.Fatalf("event %d has count %d", i, e.count)
		}
	}
	got := 0
	for range slow {
		got++
	}
	if got != queued {
		t.Errorf("the slow one got %d events", got)
	}
	leaveSlow()
}

// The page gets the history first, then each later sample once.
func TestEvents(t *testing.T) {
	done := make(chan struct{})
	d := New(Options{Meters: &Meters{}, Config: Config{Node: "a", Ops: "none", Docs: true}, Done: done})
	for range 3 {
		_ = d.step(t.Context(), time.Now())
	}
	srv := httptest.NewServer(d.Handler())
	defer srv.Close()
	r, err := http.Get(srv.URL + "/page/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	event := func() (name string, v struct {
		Nodes map[string]struct {
			Info    Info
			Samples []Sample
			Sample  *Sample
		}
	}) {
		t.Helper()
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = text
			}
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &v); err != nil {
					t.Fatal(err)
				}
				return name, v
			}
		}
		t.Fatal("the stream has ended")
		return
	}
	name, v := event()
	if a := v.Nodes["a"]; name != "history" || len(a.Samples) != 3 || a.Sample != nil {
		t.Errorf("%s %+v", name, v)
	}
	at := time.UnixMilli(99)
	_ = d.step(t.Context(), at)
	name, v = event()
	if a := v.Nodes["a"]; name != "sample" || a.Samples != nil || a.Sample == nil || a.Sample.T != 99 {
		t.Errorf("%s %+v", name, v)
	}
	close(done)
	for lines.Scan() {
	}
	http.DefaultClient.CloseIdleConnections()

	c, err := http.Get(srv.URL + "/page/config")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Body.Close()
	var config map[string]any
	if err := json.NewDecoder(c.Body).Decode(&config); err != nil || config["node"] != "a" || config["docs"] != true || config["ops"] != "none" || len(config) != 10 {
		t.Errorf("%v %v", err, config)
	}
	http.DefaultClient.CloseIdleConnections()
}

// The request path pays for the meters with an addition or two.
func BenchmarkRequest(b *testing.B) {
	m := &Meters{}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(200, 30*time.Microsecond)
		}
	})
}

// What a second of samples costs.
func BenchmarkStep(b *testing.B) {
	d := New(Options{Meters: &Meters{}, Stats: func() aside.Stats { return aside.Stats{} }, Config: Config{Node: "a"}, Done: make(chan struct{})})
	for b.Loop() {
		_ = d.step(b.Context(), time.Now())
	}
}
