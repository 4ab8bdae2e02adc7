package aside_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

func TestOptionsReportEveryFault(t *testing.T) {
	_, err := aside.New(aside.Options[any, int]{
		Name:            "no spaces please",
		L2:              (&asidetest.Server{}).NewClient(),
		TTL:             -time.Second,
		Jitter:          1.5,
		StaleFor:        -1,
		L1MaxCost:       5,
		L1TTL:           time.Microsecond,
		LoadTimeout:     -1,
		MaxLoads:        -1,
		WriteTimeout:    time.Minute,
		FenceTTL:        time.Second,
		L2Timeout:       -1,
		BreakerFailures: -1,
		MaxPending:      -1,
		OnL2Down:        7,
	})
	if !errors.Is(err, aside.ErrOptions) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"Name", "TTL is -1s", "Jitter is 1.5", "StaleFor", "L1Cost", "L1TTL is 1µs", "LoadTimeout", "MaxLoads",
		"FenceTTL is 1s, not longer than WriteTimeout", "L2Timeout", "BreakerFailures", "MaxPending", "OnL2Down", "Key and ParseKey",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in:\n%v", want, err)
		}
	}
}

func TestOptionsFaults(t *testing.T) {
	l2 := (&asidetest.Server{}).NewClient()
	for name, o := range map[string]options{
		"L2 without a name":    {L2: l2},
		"Key without ParseKey": {Name: "x", L2: l2, Key: func(s string) string { return s }},
		"ParseKey without Key": {ParseKey: func(s string) (string, error) { return s, nil }},
		"cost without bound":   {L1Cost: func(string, rec) uint32 { return 1 }},
	} {
		if _, err := aside.New(o); !errors.Is(err, aside.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]options{
		"Key without ParseKey, without L1": {Name: "x", L2: l2, L1Size: -1, Key: func(s string) string { return s }},
		"Key without ParseKey, without L2": {Key: func(s string) string { return s }},
		"off switches":                     {NegativeTTL: -1, Jitter: -1, L1Size: -1, DegradedL1TTL: -1, MaxQueuedLoads: -1, CompressAbove: -1},
	} {
		c, err := aside.New(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

type named string

// The default key functions are each other's inverse for every kind they take.
func TestDefaultKeys(t *testing.T) {
	testKeys(t, "", "a", "a:b", "{x}", "ü\x00\xff", strings.Repeat("k", 300))
	testKeys[named](t, "", "a:b")
	testKeys(t, 0, -1, math.MaxInt)
	testKeys[int8](t, -128, 127)
	testKeys[uint64](t, 0, 1<<63)
	testKeys[time.Duration](t, 5)
	testKeysInACache(t, "", "a", "a:b", "{x}", "ü\x00\xff", strings.Repeat("k", 300))
	testKeysInACache(t, 0, -1, math.MaxInt)
}

func testKeys[K comparable](t *testing.T, keys ...K) {
	t.Helper()
	name, parse, err := aside.DefaultKeys[K]()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]K{}
	for _, k := range keys {
		if back, err := parse(name(k)); err != nil || back != k {
			t.Errorf("%T %v: %q is %v, %v", k, k, name(k), back, err)
		}
		names[name(k)] = k
	}
	if len(names) != len(keys) {
		t.Errorf("names of %d keys: %v", len(keys), names)
	}
}

func testKeysInACache[K comparable](t *testing.T, keys ...K) {
	t.Helper()
	s := &asidetest.Server{}
	mk := func() *aside.Cache[K, string] {
		c, err := aside.New(aside.Options[K, string]{Name: "keys", L2: s.NewClient()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(t.Context()) })
		return c
	}
	a, b := mk(), mk()
	loads := 0
	ld := aside.LoaderFunc[K, string](func(_ context.Context, k K) (string, error) { loads++; return "v", nil })
	for i, k := range keys {
		if _, err := a.Get(t.Context(), k, ld); err != nil {
			t.Fatal(err)
		}
		testsync.Eventually(t, "fill", func() bool { return aside.Flights(a) == 0 })
		if r, err := a.Read(t.Context(), k, ld, aside.Default); err != nil || r.Source != aside.SourceL1 {
			t.Errorf("%T %v: %+v, %v", k, k, r, err)
		}
		if loads != i+1 {
			t.Errorf("%T %v: %d loads: two keys are taken for one, or one for two", k, k, loads)
		}
		if err := b.Invalidate(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if r, _ := a.Read(t.Context(), k, ld, aside.Default); r.Source != aside.SourceLoad {
			t.Errorf("%T %v: an invalidation did not find it: from %v", k, k, r.Source)
		}
		testsync.Eventually(t, "fill", func() bool { return aside.Flights(a) == 0 })
		loads--
	}
}

// Options that are too large are refused: sums of them would overflow.
// Caught: a fence of one millisecond.
func TestBoundsOptions(t *testing.T) {
	ty := reflect.TypeFor[options]()
	checked := 0
	for i := range ty.NumField() {
		f := ty.Field(i)
		var o options
		switch v := reflect.ValueOf(&o).Elem().Field(i); f.Type {
		case reflect.TypeFor[time.Duration](), reflect.TypeFor[int]():
			v.SetInt(math.MaxInt64)
		default:
			continue
		}
		if f.Name == "CompressAbove" { // a threshold: never
			continue
		}
		checked++
		c, err := aside.New(o)
		if !errors.Is(err, aside.ErrOptions) || !strings.Contains(err.Error(), f.Name) {
			t.Errorf("%s: %v", f.Name, err)
		}
		if c != nil {
			_ = c.Close(t.Context())
		}
	}
	if checked < 15 {
		t.Errorf("%d options checked", checked)
	}
	ten := 10 * 365 * 24 * time.Hour
	n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) {
		o.TTL, o.StaleFor, o.LoadTimeout, o.WriteTimeout, o.L1TTL = ten, ten, ten, ten, ten
	})
	n.read("k", aside.Default)
	n.settled("k")
	n.want("k", 1, aside.SourceL1)
	n.update("k")
	n.wantStrong("k", 2)
}
