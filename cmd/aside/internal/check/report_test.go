package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// sample is a report of two targets with a stale strong read, a read of an unknown write, a
// stale default read within the limit, and errors.
func sample() *Report {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	key := history.NewKey("check-abc-1")
	for _, op := range []history.Op{
		{Client: 1, Kind: history.Write, Call: ms(1), Return: ms(3), Version: 1, Tag: 1},
		{Client: 2, Kind: history.Write, Call: ms(4), Return: ms(9), Version: 2, Tag: 2},
		{Client: 1, Node: 1, Kind: history.ReadStrong, Call: ms(11), Return: ms(12), Version: 1, Tag: 1},
		{Client: 1, Node: 1, Kind: history.ReadDefault, Call: ms(14), Return: ms(15), Version: 1, Tag: 1},
		{Client: 2, Kind: history.ReadDefault, Call: ms(20), Return: ms(21), Version: 2, Tag: 99},
		{Client: 3, Kind: history.Write, Call: ms(22), Unknown: true, Tag: 3},
		{Client: 2, Kind: history.ReadStrong, Call: ms(23), Return: ms(24), Version: 2, Tag: 2},
	} {
		key.Record(op)
	}
	c := Config{Targets: []string{"http://a:8001", "http://b:8002"}, Clients: 3, Keys: 1, Seed: 7}.withDefaults()
	rec := newRecorder(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 2)
	for i := range 100 {
		for target := range 2 {
			rec.succeeded(target, readStrong, ms(10*i), ms(1))
			rec.succeeded(target, readDefault, ms(10*i), 500*time.Microsecond)
		}
		rec.succeeded(i%2, put, ms(10*i), ms(i))
	}
	refused := outcome{sure: nothing, problem: "status 503 store_unavailable", detail: "The store cannot be reached now."}
	for range 3 {
		rec.erred(1, put, ms(500), ms(2), refused)
	}
	rec.erred(1, put, ms(501), ms(10_000), outcome{sure: unknown, problem: "timeout", detail: "no complete response within 10s"})
	rec.erred(0, readStrong, ms(502), ms(1), outcome{sure: nothing, problem: "connection refused"})
	rec.cameLate(ms(900), ms(1))
	rec.cutOff()
	rec.checked(history.Check(key, history.Options{Promises: c.Promises, MaxStale: c.MaxStale, OnStale: rec.stale, OnViolation: rec.violated}))
	r := rec.report(&c)
	r.Config, r.Prefix, r.Start, r.Elapsed, r.Interrupted = c, "check-abc-", rec.timeline.Start, 2*time.Second, true
	r.Left = []string{"check-abc-1"}
	// The text of a violation comes from package history and is tested there.
	r.History.Violations = []history.Violation{{
		Promise: history.StrongReads, Key: "check-abc-1", Text: "it was stale", Picture: "pictures/1.html", Ops: []history.Op{
			{Client: 2, Kind: history.Write, Call: ms(4), Unknown: true, Tag: 2},
			{Client: 1, Node: 1, Kind: history.ReadStrong, Call: ms(11), Return: ms(12), Version: 1, Tag: 1},
		},
	}}
	return r
}

func golden(t *testing.T, name string, write func(*bytes.Buffer) error) {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what was written (go test -rewrite makes it so):\n%s", path, &got)
	}
}

func TestReportText(t *testing.T) {
	r := sample()
	v := r.History.Violations[0]
	r.History.Violations = nil
	golden(t, "report.txt", func(b *bytes.Buffer) error { return r.WriteText(b) })

	r.History.Violations = []history.Violation{v}
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "violation 1 of 1 shown: "+v.String()) {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestReportJSON(t *testing.T) {
	golden(t, "report.json", func(b *bytes.Buffer) error { return sample().WriteJSON(b) })
}

// An empty report can be written too, and says that nothing was checked.
func TestEmptyReport(t *testing.T) {
	c := Config{Targets: []string{"http://a"}, MaxStale: -1}.withDefaults()
	r := newRecorder(time.Now(), 1).report(&c)
	r.Config = c
	var text, js bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+js.String(), "NaN") || !strings.Contains(text.String(), "not checked, since --max-staleness is negative") {
		t.Errorf("%s\n%s", &text, &js)
	}
	var j struct {
		Verdict  string
		MaxStale *float64 `json:"max_staleness_ms"`
	}
	if err := json.Unmarshal(js.Bytes(), &j); err != nil || j.Verdict != "unproven" || j.MaxStale != nil {
		t.Errorf("%+v, %v", j, err)
	}
}

// If a check was not decided, the promise is not proven. Caught: porcupine ran out of time,
// and the report said that all promises held.
func TestUndecidedIsUnproven(t *testing.T) {
	r := sample()
	r.History = history.Result{Keys: 3}
	if err := errors.Join(r.Broken(), r.Unproven()); err != nil {
		t.Error(err)
	}
	r.History.Undecided = 1
	if err := r.Unproven(); err == nil || !strings.Contains(err.Error(), "for 1 of 3 records") || r.Broken() != nil {
		t.Errorf("%v", err)
	}
	r.Unshared = errors.New("not known")
	if err := r.Unproven(); !strings.Contains(err.Error(), "not known") || !strings.Contains(err.Error(), "for 1 of 3 records") {
		t.Errorf("%v", err)
	}
}

// What a promise says nothing of is no proof of it: on all targets, or on one. What the flags
// leave out is not missing. Caught: a target that refused all strong reads.
func TestUnseenIsUnproven(t *testing.T) {
	strong := []history.Promise{history.StrongReads, history.Linearizable}
	for name, tt := range map[string]struct {
		config Config
		change func(*Report)
		says   []string // "" if it is proven
		rows   []history.Promise
	}{
		"all": {Config{}, func(*Report) {}, nil, nil},
		"no strong reads": {Config{}, func(r *Report) { r.Targets[0].Strong, r.Targets[1].Strong = 0, 0 },
			[]string{"about P2 strong reads: no strong read succeeded", "about P2 linearizable: no strong read succeeded"}, strong},
		"no strong reads on one": {Config{}, func(r *Report) { r.Targets[1].Strong = 0 },
			[]string{"about P2 strong reads on http://b:8002: no strong read succeeded there", "about P2 linearizable on http://b:8002"}, nil},
		"no default reads": {Config{}, func(r *Report) { r.Targets[0].Default, r.Targets[1].Default = 0, 0 },
			[]string{"about P3 bounded staleness: no default read succeeded"}, []history.Promise{history.Bounded}},
		"no reads on one": {Config{Promises: []history.Promise{history.Intact}}, func(r *Report) { r.Targets[0].Strong, r.Targets[0].Default = 0, 0 },
			[]string{"about intact on http://a:8001: no read succeeded there"}, nil},
		"no writes": {Config{}, func(r *Report) { r.Targets[0].Writes, r.Targets[1].Writes = 0, 0 },
			[]string{"about P2 strong reads: no write was acknowledged", "about P3 monotonic: no write", "about intact: no write"}, history.Promises()},
		"no writes on one": {Config{}, func(r *Report) { r.Targets[1].Writes = 0 }, // it refused some
			[]string{"about P3 own writes on http://b:8002: no write was acknowledged there"}, nil},
		"no writes came to one": {Config{}, func(r *Report) { r.Targets[0].Writes = 0 }, nil, nil},
		"left out":              {Config{Strong: -1, MaxStale: -1}, func(*Report) {}, nil, append(strong, history.Bounded)},
		"only strong reads":     {Config{Strong: 1}, func(*Report) {}, nil, []history.Promise{history.Bounded}},
		"asked and left out": {Config{Strong: -1, MaxStale: -1, Promises: append(strong, history.Bounded)}, func(*Report) {},
			[]string{"about P2 strong reads: --strong is 0%", "about P2 linearizable: --strong is 0%", "about P3 bounded staleness: --max-staleness is negative"},
			append(strong, history.Bounded)},
		"asked, only strong reads": {Config{Strong: 1, Promises: []history.Promise{history.Bounded}}, func(*Report) {},
			[]string{"about P3 bounded staleness: --strong is 100%"}, []history.Promise{history.Bounded}},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			r.Config, r.History = tt.config.withDefaults(), history.Result{}
			tt.change(r)
			err := r.Unproven()
			if (err == nil) != (tt.says == nil) {
				t.Error(err)
			}
			for _, want := range tt.says {
				if err != nil && !strings.Contains(err.Error(), "nothing was checked "+want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			var text, js bytes.Buffer
			if err := errors.Join(r.WriteText(&text), r.WriteJSON(&js)); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(text.String(), " -  not checked, since "); n != len(tt.rows) || strings.Count(js.String(), `"not_checked"`) != len(tt.rows) {
				t.Errorf("%d rows are not checked, want %q:\n%s\n%s", n, tt.rows, &text, &js)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0 %", 1: "100 %", 0.1: "10 %", 0.123456: "12.35 %", 0.00012: "0.0120 %", 1e-9: "<0.0001 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
}
