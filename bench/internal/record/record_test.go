package record

import (
	"context"
	"errors"
	"testing"
)

// The results say how large a record is.
func TestRecordIs148BytesOfJSON(t *testing.T) {
	b, err := Encode(New(Key(123456), 1))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 148 {
		t.Errorf("%d bytes: %s", len(b), b)
	}
	back, err := Decode(b)
	if err != nil || *back != *New(Key(123456), 1) {
		t.Errorf("decoded %+v, %v", back, err)
	}
	if _, err := Decode([]byte("{")); err == nil {
		t.Error("half a record was decoded")
	}
}

func TestBinary(t *testing.T) {
	want := New(Key(7), 3)
	want.Completed = true
	b, err := Binary{}.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (Binary{}).Decode(b); err != nil || *got != *want {
		t.Errorf("decoded %+v, %v", got, err)
	}
	for n := range b {
		if got, err := (Binary{}).Decode(b[:n]); err == nil {
			t.Errorf("%d of %d bytes were decoded: %+v", n, len(b), got)
		}
	}
}

func TestPicks(t *testing.T) {
	const n = 10_000
	top := map[Dist]int{}
	for _, d := range []Dist{Uniform, Zipf} {
		p, err := NewPicks(d, n)
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, n)
		for w, i := p.Picker(3), 0; i < tableSize; i++ {
			counts[w.Next()]++
		}
		for _, c := range counts {
			top[d] = max(top[d], c)
		}
		a, b := p.Picker(0), p.Picker(0)
		for range 100 {
			if a.Next() != b.Next() {
				t.Fatal("the same walk is not the same")
			}
		}
	}
	// Of 2^20 picks of 10,000 keys each gets 105 on average; the most popular
	// one gets more than a tenth of all under Zipf 1.1.
	if top[Uniform] > 300 || top[Zipf] < tableSize/10 {
		t.Errorf("the most popular keys were picked %v times", top)
	}
	if _, err := NewPicks("none", n); err == nil {
		t.Error("an unknown distribution was accepted")
	}
	if _, err := NewPicks(Uniform, 0); err == nil {
		t.Error("no keys were accepted")
	}
}

func TestPrimary(t *testing.T) {
	ctx := context.Background()
	p := new(Primary)
	if v := p.Commit("k").Version; v != 2 {
		t.Errorf("the first write made version %d", v)
	}
	p.Before = func(_ context.Context, key string, n int64) error {
		p.Commit(key) // a write before the read is seen
		return nil
	}
	if r, err := p.Load(ctx, "k"); err != nil || r.Version != 3 || r.ID != "k" {
		t.Errorf("read %+v, %v", r, err)
	}
	failure := errors.New("failure")
	p.Before = nil
	p.After = func(_ context.Context, key string, n int64) error {
		p.Commit(key) // one after it is not
		if n == 3 {
			return failure
		}
		return nil
	}
	if r, err := p.Load(ctx, "k"); err != nil || r.Version != 3 {
		t.Errorf("read %+v, %v", r, err)
	}
	if _, err := p.Load(ctx, "k"); !errors.Is(err, failure) {
		t.Errorf("a load that fails returned %v", err)
	}
	if n := p.Loads(); n != 3 {
		t.Errorf("%d loads", n)
	}
}
