package outbox

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
)

var none driver.Token

const limit = 256

// take takes everything that can be told, each debt once, and gives each to did.
func take(t *testing.T, o *Outbox[int], now time.Time, final bool, did func(Batch[int], Debt[int])) (keys []int) {
	t.Helper()
	for {
		b := o.Take(now, limit, final)
		if len(b.Debts) > limit {
			t.Fatalf("%d debts", len(b.Debts))
		}
		for _, d := range b.Debts {
			keys = append(keys, d.Key)
			did(b, d)
		}
		if !b.More {
			return keys
		}
	}
}

// Debts are handed out in the order in which their writes ended, each once a round,
// however many there are, and those whose time has not come are not. Those that L2
// fails for come behind the others. Caught: each call sorted all of them.
func TestTakeInOrder(t *testing.T) {
	o := New[int](100_000, 1, 1)
	now := time.Now()
	const count = 20_000
	for i := range count {
		due := now
		if i%2 == 1 {
			due = now.Add(time.Hour)
		}
		o.AddWrite(i, none, due)
	}
	o.AddWrite(0, none, now) // written again: the last in order
	for round := range 2 {
		got := take(t, o, now.Add(time.Duration(round)*time.Second), false, func(b Batch[int], d Debt[int]) {
			if round == 1 || d.Key%4 == 0 {
				o.Told(d)
			} else {
				o.Failed(b, d)
			}
		})
		want := count / 2
		if round == 1 {
			want = count / 4
		}
		if len(got) != want || round == 0 && got[len(got)-1] != 0 {
			t.Fatalf("round %d: %d keys, want %d, the last is %d", round, len(got), want, got[len(got)-1])
		}
		last := 0
		for _, k := range got {
			if k != 0 && k < last {
				t.Fatalf("round %d: %d after %d", round, k, last)
			}
			last = k
		}
	}
	if n := o.Len(Write); n != count/2 {
		t.Errorf("%d are left, want those whose time has not come", n)
	}
	b := o.Take(now.Add(2*time.Hour), 1, false)
	if len(b.Debts) != 1 || b.Debts[0].Key != 1 || !b.More {
		t.Errorf("later: %+v", b)
	}
}

// A pass that L2 stops in the middle goes on, the next time, with the debts that it
// had not come to. Caught: the failed ones again and again, as when they keep their
// places.
func TestFailedDebtsDoNotHoldUpOthers(t *testing.T) {
	o := New[int](10, 1, 1)
	now := time.Now()
	for i := range 4 {
		o.AddWrite(i, none, now)
	}
	b := o.Take(now, 2, false)
	for _, d := range b.Debts {
		o.Failed(b, d)
	}
	next := take(t, o, now.Add(time.Second), false, func(_ Batch[int], d Debt[int]) { o.Told(d) })
	if len(next) != 4 || next[0] != 2 || next[2] != 0 {
		t.Errorf("then came %v, want 2 3 0 1", next)
	}
	if !o.Empty() {
		t.Error("not empty")
	}
}

// A key that is being written is not told, and one that was written again while L2 was
// told of it stays. Caught: Told by the key alone loses the second write.
func TestWrittenAgain(t *testing.T) {
	o := New[int](10, 1, 1)
	now := time.Now()
	tell := func() []int {
		return take(t, o, now, false, func(_ Batch[int], d Debt[int]) { o.Told(d) })
	}
	o.Begin(1)
	o.Begin(1)
	if !o.Holds(1) || len(tell()) != 0 {
		t.Error("told during the write")
	}
	d := o.End(1, none, now)
	o.Told(d)
	if o.Len(Write) != 1 || len(tell()) != 0 {
		t.Error("told while the second of two writes is under way")
	}
	o.Told(o.End(1, none, now)) // at once, by who wrote
	if !o.Empty() || o.Holds(1) || len(tell()) != 0 {
		t.Error("still there")
	}

	o.AddWrite(2, none, now)
	b := o.Take(now, limit, false)
	o.AddWrite(2, driver.Token{7}, now)
	o.Told(b.Debts[0])
	o.Failed(b, b.Debts[0])
	b = o.Take(now, limit, false)
	if len(b.Debts) != 1 || b.Debts[0].Token != (driver.Token{7}) {
		t.Fatalf("the second write: %+v", b)
	}
	o.Begin(2)
	o.Failed(b, b.Debts[0]) // while it is written once more
	if len(tell()) != 0 {
		t.Error("told during the write")
	}
	o.End(2, none, now)
	if got := tell(); len(got) != 1 || !o.Empty() {
		t.Errorf("at the end: %v", got)
	}
}

// With more Writes than may be, all is one debt, told when the last of them may be,
// and no write is under way. The other debts go on.
func TestOverflow(t *testing.T) {
	o := New[int](2, 10, 10)
	now := time.Now()
	late := now.Add(time.Minute)
	o.AddWrite(1, none, late)
	o.Begin(2)
	o.AddFence(9, none, now)
	old := o.Take(now, limit, false)
	o.Failed(old, old.Debts[0])
	o.Begin(3)
	if !o.Overflowed() || o.Overflows() != 1 || !o.Holds(77) || o.Len(Write) != 1 {
		t.Fatalf("overflowed %v, %d times, %d Writes", o.Overflowed(), o.Overflows(), o.Len(Write))
	}
	o.End(2, none, now)
	if b := o.Take(late, limit, false); b.All || len(b.Debts) != 1 || b.Debts[0].Key != 9 {
		t.Errorf("during a write: %+v", b)
	}
	o.End(3, none, now)
	if b := o.Take(now, limit, false); b.All || !b.Next.Equal(late) {
		t.Errorf("before its time: %+v", b)
	}
	b := o.Take(late, limit, false)
	if !b.All || !b.More {
		t.Fatalf("at its time: %+v", b)
	}
	o.AddWrite(4, none, now)
	o.Cleared(b)
	if !o.Overflowed() {
		t.Error("a key was written since, and is forgotten")
	}
	o.Cleared(o.Take(late, limit, false))
	if o.Overflowed() || o.Holds(1) || o.Len(Write) != 0 {
		t.Error("still there after it was cleared")
	}
	o.AddWrite(5, none, now)
	if got := take(t, o, now, false, func(_ Batch[int], d Debt[int]) { o.Told(d) }); len(got) != 1 {
		t.Errorf("the next one waits for the time of those before: %v", got)
	}
}

// Fences and leases that do not fit are refused.
func TestOthersAreBounded(t *testing.T) {
	o := New[int](1, 3, 3)
	for i := range 5 {
		if fence, lease := o.AddFence(i, none, time.Now()), o.AddLease(driver.AbandonRequest{}); fence != (i < 3) || lease != (i < 3) {
			t.Errorf("%d: fence %v, lease %v", i, fence, lease)
		}
	}
	if o.Overflowed() || o.Holds(1) || o.Len(Fence) != 3 || o.Len(Lease) != 3 {
		t.Error("they count as Writes")
	}
	take(t, o, time.Now(), false, func(_ Batch[int], d Debt[int]) { o.Told(d) })
	if !o.AddFence(9, none, time.Now()) || !o.AddLease(driver.AbandonRequest{}) {
		t.Error("no room after they were told")
	}
}

// The final pass waits for no Write, tells no fence before its end, and takes what
// fails once. No call looks at more than a few thousand debts.
func TestFinal(t *testing.T) {
	const fences = 3 * mostLooked
	o := New[int](10, fences, 10)
	now := time.Now()
	for i := range fences {
		o.AddFence(i, none, now.Add(time.Second))
	}
	o.AddFence(-1, none, now)
	o.AddWrite(-2, none, now.Add(time.Hour))
	if b := o.Take(now, limit, true); !b.More || o.Len(Fence) < fences-mostLooked {
		t.Errorf("one call looked at %d fences", fences-o.Len(Fence))
	}
	got := take(t, o, now, true, func(b Batch[int], d Debt[int]) { o.Failed(b, d) })
	if len(got) != 1 || got[0] != -2 || o.Len(Fence) != 0 || o.Len(Write) != 1 {
		t.Errorf("%d taken, %d fences and %d Writes left", len(got), o.Len(Fence), o.Len(Write))
	}
}

// Whatever is written while debts are told, the last write of each key is told after it
// ended. Caught: Told that compares the key alone, in most runs.
func TestNoWriteIsLost(t *testing.T) {
	const keys, writers, writes = 8, 4, 2000
	o := New[int](keys, 1, 1)
	var mu sync.Mutex // orders End and what is read of it
	var last, told [keys]driver.Token
	tell := func() {
		b := o.Take(time.Now(), 3, false)
		for i, d := range b.Debts {
			if i == 2 {
				o.Failed(b, d)
				continue
			}
			mu.Lock()
			told[d.Key] = d.Token
			mu.Unlock()
			o.Told(d)
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				k := i % keys
				o.Begin(k)
				token := driver.Token{byte(w), byte(i), byte(i >> 8), 1}
				mu.Lock()
				last[k] = token
				o.End(k, token, time.Now())
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for over := false; !over || !o.Empty(); {
		select {
		case <-ended:
			over = true
		default:
		}
		tell()
	}
	if told != last {
		t.Errorf("told last:    %v\nwritten last: %v", told, last)
	}
}

// What recovery costs grows with the debts, and not with their square.
func BenchmarkRecovery(b *testing.B) {
	for _, n := range []int{4_000, 64_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				o := New[int](n, 1, 1)
				now := time.Now()
				for i := range n {
					o.AddWrite(i, none, now)
				}
				for !o.Empty() {
					for _, d := range o.Take(now, limit, false).Debts {
						o.Told(d)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/debt")
		})
	}
}
