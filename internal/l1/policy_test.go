package l1

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
	"pgregory.net/rapid"
)

// put inserts without a reader's care.
func put[K comparable, V any](t *Tier[K, V], k K, v V) bool {
	return t.Insert(k, t.Generation(k), v, false, Life{TTL: time.Hour})
}

// A tier is what a map is, but for what it evicts, whatever the order of calls. Its
// tables, queues and sums agree after each.
func TestTierIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weighted := rapid.Bool().Draw(t, "weighted")
		config := Config[int, int]{MaxEntries: 40}
		cost := func(v int) uint64 { return 1 }
		if weighted {
			cost = func(v int) uint64 { return uint64(max(1, v%8)) }
			config = Config[int, int]{MaxCost: 100, Cost: func(_ int, v int, _ bool) uint32 { return uint32(v % 8) }}
		}
		gone := 0
		model := map[int]int{}
		config.Evicted = func(k int) { delete(model, k); gone++ }
		tier, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer tier.Close()
		key := rapid.IntRange(0, 99)
		set := func(t *rapid.T, insert func(int, uint64, int, bool, Life) bool, replaces bool) {
			k, v := key.Draw(t, "key"), rapid.Int().Filter(func(v int) bool { return v >= 0 }).Draw(t, "value")
			_, there := model[k]
			stored := insert(k, tier.Generation(k), v, false, Life{TTL: time.Hour})
			if stored != (replaces || !there) {
				t.Fatalf("stored: %v", stored)
			}
			if _, ok := tier.Peek(k); stored && ok { // or it was evicted
				model[k] = v
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"insert":     func(t *rapid.T) { set(t, tier.Insert, true) },
			"absent":     func(t *rapid.T) { set(t, tier.InsertAbsent, false) },
			"invalidate": func(t *rapid.T) { k := key.Draw(t, "key"); tier.Invalidate(k); delete(model, k) },
			"flush": func(t *rapid.T) {
				if key.Draw(t, "seldom") == 0 {
					tier.Flush()
					clear(model)
				}
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				e, ok := tier.Get(k)
				if want, there := model[k]; ok != there || e.Value != want {
					t.Fatalf("%d: %d, %v; want %d, %v", k, e.Value, ok, want, there)
				}
			},
			"": func(t *rapid.T) {
				sum := uint64(0)
				for _, v := range model {
					sum += cost(v)
				}
				st := tier.Stats()
				if st.Entries != len(model) || st.Cost != sum || st.Cost > tier.most || st.Evictions != uint64(gone) {
					t.Fatalf("%+v; want %d entries of cost %d, at most %d, %d evictions", st, len(model), sum, tier.most, gone)
				}
				for k, e := range tier.All() {
					if want, there := model[k]; !there || want != e.Value {
						t.Fatalf("%d is %d; want %d, %v", k, e.Value, want, there)
					}
				}
				tier.check(t)
			},
		})
	})
}

// check looks at what holds whenever no lock is held.
func (t *Tier[K, V]) check(r rapid.TB) {
	for i := range t.shards {
		s, tab := &t.shards[i], t.tables[i].Load()
		n := 0
		for range tab.all {
			n++
		}
		if n != tab.live || n != s.live() {
			r.Fatalf("shard %d: %d in the table, which says %d; %d in queues", i, n, tab.live, s.live())
		}
		for _, q := range []*queue[K, V]{&s.small, &s.main} {
			n, cost := 0, uint64(0)
			for at, node := range q.ring {
				if node == nil {
					continue
				}
				if n++; node.at != uint32(at)<<1|q.id || tab.find(node.key, t.hash(node.key)) != node {
					r.Fatalf("%v in a queue is not the one in the table, or does not know its place", node.key)
				}
				cost += uint64(node.cost)
			}
			if n != q.live || cost != q.cost || q.span > len(q.ring) {
				r.Fatalf("a queue of %d entries of cost %d, of which it says %d, %d", n, cost, q.live, q.cost)
			}
		}
	}
}

// Searches stay short however long entries come and go: a search for what is absent ends
// at a bucket that was never full, or is not any more.
// Caught: counts of those that passed a bucket that a removal does not take back; a search
// that goes on to the neighbour, since then one full bucket makes others full.
func TestSearchesStayShort(t *testing.T) {
	tab := newTable[string, int](1000)
	nodes := make([]*node[string, int], 49*1000/10)
	seed := maphash.MakeSeed()
	hash := func(n *node[string, int]) uint64 { return maphash.Comparable(seed, n.value) }
	for round := range 20 {
		for i := range nodes {
			if nodes[i] != nil {
				tab.remove(nodes[i], hash(nodes[i]))
			}
			nodes[i] = &node[string, int]{value: round*10_000 + i}
			tab.add(nodes[i], hash(nodes[i]))
		}
	}
	passes := 0
	for i := range tab.buckets {
		passes += int(tab.buckets[i].meta.Load() >> passedAt)
	}
	if passes > 29*len(nodes)/100 {
		t.Errorf("%d nodes are in %d buckets further on", len(nodes), passes)
	}
	for _, n := range nodes {
		tab.remove(n, hash(n))
	}
	for i := range tab.buckets {
		if m := tab.buckets[i].meta.Load(); m != 0 {
			t.Fatalf("bucket %d of an empty table: %x", i, m)
		}
	}
}

// Of keys with the same hash each is found; also when so many passed a bucket that it
// stopped counting, and a search for an absent one ends. Caught: a count that goes round;
// a search that only ends where the count is 0.
func TestSameHash(t *testing.T) {
	tab := newTable[int, int](100)
	for _, hash := range []uint64{12345, 1 << 31, 1 << 30, 3 << 30} { // ways through the table: then no count is 0
		var nodes []*node[int, int]
		for k := range 100 * perBucket {
			nodes = append(nodes, &node[int, int]{key: k})
			tab.add(nodes[k], hash)
		}
		if n := tab.find(-1, hash); n != nil {
			t.Errorf("%d is found in place of -1", n.key)
		}
		for k, n := range nodes {
			if tab.find(k, hash) != n {
				t.Fatalf("%d is not found", k)
			}
			tab.remove(n, hash)
			if last := len(nodes) - 1; k < last && tab.find(last, hash) != nodes[last] {
				t.Fatalf("after %d was removed, the last is not found", k)
			}
		}
	}
	if n := tab.find(-1, 1<<31); n != nil {
		t.Errorf("%d is found in an empty table", n.key)
	}
}

// Who reads a key that stays there finds it, while others come and go and the table grows.
func TestReadersMissNothing(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 100_000})
	put(tier, "stays", 0)
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		missed := 0
		for !stop.Load() {
			if _, ok := tier.Get("stays"); !ok {
				missed++
			}
		}
		done <- missed
	}()
	hash := tier.hash("stays")
	for i := range 20_000 { // in its shard, so that its table grows
		k := string(rune('a'+i%26)) + time.Duration(i).String()
		if tier.hash(k)>>tier.shift == hash>>tier.shift {
			put(tier, k, i)
			if i%3 == 0 {
				tier.Invalidate(k)
			}
			put(tier, "stays", i)
		}
	}
	stop.Store(true)
	if missed := <-done; missed > 0 {
		t.Errorf("missed %d times", missed)
	}
}

// The bound is exact, and an entry that is alone in its shard is not what goes for itself.
// Caught: a bound for each shard; a new entry as the victim.
func TestBoundIsOfTheWhole(t *testing.T) {
	var evicted []int
	tier, err := New(Config[int, int]{
		MaxCost: 1_000_000, Cost: func(int, int, bool) uint32 { return 100_000 },
		Evicted: func(k int) { evicted = append(evicted, k) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tier.Close()
	for k := range 100 {
		put(tier, k, k)
		if _, ok := tier.Peek(k); !ok {
			t.Errorf("%d went for itself", k)
		}
		if n := tier.Len(); n != min(k+1, 10) {
			t.Errorf("%d entries after %d", n, k+1)
		}
	}
	if len(evicted) != 90 {
		t.Errorf("%d evicted", len(evicted))
	}
}

// One that costs more than there is room does not push out the others, and takes what it
// would have replaced with it.
func TestTooBig(t *testing.T) {
	told := ""
	tier := newTier(t, Config[string, int]{
		MaxCost: 10, Cost: func(_ string, v int, _ bool) uint32 { return uint32(v) }, Evicted: func(k string) { told += k },
	})
	put(tier, "a", 4)
	put(tier, "b", 4)
	put(tier, "a", 11)
	if _, ok := tier.Get("a"); ok {
		t.Error("the big one is there, or the old one")
	}
	if st := tier.Stats(); st.Entries != 1 || st.Cost != 4 || st.Evictions != 1 || told != "a" {
		t.Errorf("%+v, told of %q", st, told)
	}
}

// What was dropped or evicted is free for the collector. Caught: a queue that keeps it.
func TestNothingIsRetained(t *testing.T) {
	tier, err := New(Config[int, *[64]byte]{MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer tier.Close()
	var freed atomic.Int64
	for k := range 300 {
		v := new([64]byte)
		runtime.AddCleanup(v, func(int) { freed.Add(1) }, 0)
		put(tier, k, v)
		if k >= 250 {
			tier.Invalidate(k)
		}
	}
	want := int64(300 - tier.Len())
	for start := time.Now(); freed.Load() < want; runtime.Gosched() {
		if runtime.GC(); time.Since(start) > 20*time.Second {
			t.Fatalf("%d of %d values are freed", freed.Load(), want)
		}
	}
	runtime.KeepAlive(tier)
}

// Who wants to drop what it has seen does not drop what was inserted since.
// Caught: a removal by key.
func TestRemoveOfWhatWasReplaced(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 10})
	put(tier, "k", 1)
	old := tier.find("k")
	put(tier, "k", 2)
	tier.remove(old)
	if e, ok := tier.Peek("k"); !ok || e.Value != 2 {
		t.Errorf("%+v, %v", e, ok)
	}
}

// One of those who saw an entry claims it. Caught: a claim that does not compare.
func TestClaimOnce(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 10})
	put(tier, "k", 1)
	n := tier.find("k")
	e := n.entry()
	if !n.claim(e, 0, 1_000_000) || n.claim(e, 0, 1_000_000) {
		t.Error("not the first, or also the second")
	}
}

// Overtake gives the reader a generation to insert with, unless there was an invalidation
// since its own, and refuses what others were about to insert.
// Caught: a generation for all.
func TestOvertake(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 10})
	other, gen := tier.Generation("k"), tier.Generation("k")
	gen = tier.Overtake("k", gen)
	if put := tier.Insert("k", other, 1, false, Life{TTL: time.Hour}); put {
		t.Error("another's insert was accepted")
	}
	if !tier.Insert("k", gen, 2, false, Life{TTL: time.Hour}) {
		t.Error("its own was refused")
	}
	gen = tier.Generation("k")
	tier.Invalidate("k")
	if tier.Insert("k", tier.Overtake("k", gen), 3, false, Life{TTL: time.Hour}) {
		t.Error("accepted, and an invalidation came between")
	}
}

// An entry that has ended goes when it comes to the head of a queue, however often it was
// hit. Caught: a victim that looks at hits alone, in either queue.
func TestEndedEntriesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, promoted := range []int{0, 200} { // entries go to main while these come
			tier, err := New(Config[int, int]{MaxEntries: 100})
			if err != nil {
				t.Fatal(err)
			}
			for k := range 100 {
				tier.Insert(k, tier.Generation(k), k, false, Life{TTL: time.Hour + time.Duration(k%2)*time.Hour})
			}
			hit := func() {
				for k := range 100 {
					for range 3 {
						tier.Get(k)
					}
				}
			}
			living := func() (n int) {
				for k := 1; k < 100; k += 2 {
					if _, ok := tier.Peek(k); ok {
						n++
					}
				}
				return n
			}
			for k := range promoted {
				hit()
				put(tier, 1000+k, k)
			}
			hit()
			before := living()
			time.Sleep(90 * time.Minute)
			for k := range 40 {
				put(tier, 2000+k, k)
				tier.Get(2000 + k) // so it goes to main, and one of main has to go
			}
			if n := living(); before < 40 || n != before {
				t.Errorf("%d are left of %d, and half of the entries had ended", n, before)
			}
			tier.Close()
		}
	})
}

// The policy keeps what is worth it about as well as otter's W-TinyLFU does, and better
// where what is wanted changes. A loop over more than there is room for is what FIFO
// queues are bad at: they keep nothing of it, and W-TinyLFU almost half.
// Caught: a FIFO queue alone; hits that do not count; no memory of what was evicted.
func TestHitRatio(t *testing.T) {
	most, reads := 10_000, 1_000_000
	if raced || testing.Short() { // with the race detector it takes thirty times as long
		most, reads = most/10, reads/10
	}
	share := func(n int) float64 { return float64(n) / float64(reads) }
	spread := 0.0 // of fewer reads, which differ more from run to run
	if reads < 1_000_000 {
		spread = 0.01
	}
	for name, load := range map[string]struct {
		next func(r *rand.Rand) func(i int) int
		less float64 // than otter, at most
	}{
		"zipf": {func(r *rand.Rand) func(int) int {
			z := rand.NewZipf(r, 1.1, 1, uint64(20*most))
			return func(int) int { return int(z.Uint64()) }
		}, 0.01},
		"flat zipf": {func(r *rand.Rand) func(int) int {
			z := rand.NewZipf(r, 1.01, 100, uint64(10*most))
			return func(int) int { return int(z.Uint64()) }
		}, 0.015},
		"zipf and scans": {func(r *rand.Rand) func(int) int {
			z := rand.NewZipf(r, 1.1, 1, uint64(20*most))
			return func(i int) int {
				if i/(2*most)%2 == 1 {
					return 1_000_000 + i
				}
				return int(z.Uint64())
			}
		}, 0.01},
		"moving": {func(r *rand.Rand) func(int) int {
			z := rand.NewZipf(r, 1.1, 1, uint64(20*most))
			return func(i int) int { return int(z.Uint64()) + i/10 }
		}, -0.03},
		"loop": {func(r *rand.Rand) func(int) int {
			return func(i int) int { return i % (2 * most) }
		}, 1},
		"recent": {func(r *rand.Rand) func(int) int {
			return func(i int) int { return max(0, i/2-int(r.ExpFloat64()*float64(most)/3)) }
		}, -0.08},
	} {
		t.Run(name, func(t *testing.T) {
			tier, err := New(Config[int, int]{MaxEntries: most})
			if err != nil {
				t.Fatal(err)
			}
			defer tier.Close()
			// The same room, of unknown entries: there are fewer of them than cost units.
			costly, err := New(Config[int, int]{MaxCost: uint64(most) << 15, Cost: func(int, int, bool) uint32 { return 1 << 15 }})
			if err != nil {
				t.Fatal(err)
			}
			defer costly.Close()
			costs := 0
			other := otter.Must(&otter.Options[int, int]{MaximumSize: most, Executor: func(f func()) { f() }})
			ours, others := 0, 0
			next := load.next(rand.New(rand.NewPCG(1, 2)))
			for i := range reads {
				k := next(i)
				if _, ok := tier.Get(k); ok {
					ours++
				} else {
					put(tier, k, k)
				}
				if _, ok := costly.Get(k); ok {
					costs++
				} else {
					put(costly, k, k)
				}
				if _, ok := other.GetIfPresent(k); ok {
					others++
				} else {
					other.Set(k, k)
				}
			}
			a, b := share(ours), share(others)
			t.Logf("hit ratio %.4f, otter's %.4f", a, b)
			if a < b-load.less-spread {
				t.Errorf("hit ratio %.4f, otter's %.4f", a, b)
			}
			if c := share(costs); c < a-0.02 {
				t.Errorf("hit ratio %.4f with costs, %.4f with a number of entries", c, a)
			}
		})
	}
}

// What is read again at once is there, however little room there is. Caught: a shard of
// few entries that evicts the newest.
func TestLittleRoom(t *testing.T) {
	for _, most := range []int{1, 2, 5, 9, 10, 100} {
		tier := newTier(t, Config[int, int]{MaxEntries: most})
		hits := 0
		for i := range 10_000 {
			if _, ok := tier.Get(i / 5); ok {
				hits++
			} else {
				put(tier, i/5, i)
			}
		}
		if hits < 7990 { // of a key that seems to come back, the entry before may stay
			t.Errorf("room for %d: %d of 10,000 hits", most, hits)
		}
	}
}

// Entries that are used stay, also if they take much of the room, in whatever shards they
// are. Caught: shards of one or no entry each, from which the next insert evicts whatever
// is there; used entries that meet in one shard and push each other out.
func TestUsedStay(t *testing.T) {
	for _, used := range []int{8, 32} {
		for range 50 {
			tier := newTier(t, Config[int, int]{MaxCost: 64 << 20, Cost: func(int, int, bool) uint32 { return 1 << 20 }})
			lost := -used
			for i := range 200 {
				for k := range used {
					for range 3 {
						if _, ok := tier.Get(k); !ok {
							lost++
							put(tier, k, k)
						}
					}
				}
				put(tier, 1000+i, i)
			}
			if lost > 0 {
				t.Errorf("%d used: lost %d times", used, lost)
			}
		}
	}
}

// Room is made whatever is in which queue, also for an entry that needs nearly all of it.
// Caught: a tier of few that looks for ever for what to evict in main, where the new entry is
// alone, while all others are in small.
func TestRoomForLargeOnes(t *testing.T) {
	const most = 3000
	tier := newTier(t, Config[int, int]{MaxCost: most, Cost: func(_, v int, _ bool) uint32 { return uint32(v) }})
	for i, v := range []int{2950, 100, 2950, 100, 2950} {
		within(t, tier, func() { put(tier, v, v) })
		if tier.find(v) == nil {
			t.Errorf("insert %d, of cost %d: it is not there", i, v)
		}
	}
	within(t, tier, func() {
		r := rand.New(rand.NewPCG(1, 2))
		for range 100_000 {
			k := r.IntN(100)
			switch r.IntN(8) {
			case 0:
				tier.Invalidate(k)
			case 1, 2, 3:
				put(tier, k, 1+r.IntN(most)>>r.IntN(12))
			default:
				tier.Get(k)
			}
			if cost := tier.Stats().Cost; cost > most {
				t.Fatalf("cost %d of %d", cost, most)
			}
		}
	})
}

// within fails the test if f takes too long, and has it end then.
func within[K comparable, V any](t *testing.T, tier *Tier[K, V], f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	for {
		select {
		case <-done:
			return
		case <-time.After(20 * time.Second):
			t.Error("it does not end")
			tier.Flush()
		}
	}
}

// A caller that changes the bytes of its keys loses them, and nothing else gets slow.
// Caught: counts that fall below 0.
func TestKeysThatChange(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 400})
	for i := range 20_000 {
		put(tier, fmt.Sprint("good ", i), i)
		if i%20 == 0 {
			b := []byte(fmt.Sprint("bad ", i))
			put(tier, unsafe.String(&b[0], len(b)), i)
			b[0] = byte(i / 20)
		}
	}
	tab := tier.tables[0].Load()
	for i := range tab.buckets {
		if n := tab.buckets[i].meta.Load() >> passedAt; n > 100 {
			t.Errorf("bucket %d counts %d", i, n)
		}
	}
}

func TestEntriesWithoutCost(t *testing.T) {
	tier := newTier(t, Config[int, int]{MaxCost: 10, Cost: func(int, int, bool) uint32 { return 0 }})
	for k := range 100 {
		put(tier, k, k)
	}
	if n := tier.Len(); n != 10 {
		t.Errorf("%d entries", n)
	}
}

func TestCloseTogether(t *testing.T) {
	tier, err := New(Config[int, int]{MaxEntries: 500})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(tier.Close)
	}
	wg.Wait()
}
