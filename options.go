package aside

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"time"

	"github.com/asidecache/aside/driver"
)

// Options of a cache. The zero value works: it is an L1-only cache of 10,000
// entries. New reports all faults at once.
//
// Durations: zero means the default, and a negative one switches the feature
// off where that is said, and is a fault elsewhere.
type Options[K comparable, V any] struct {
	// Name is the cache's namespace: two caches with different names never
	// read each other's entries. Letters, digits, '.', '_' and '-'; required
	// with L2.
	Name string

	// SchemaVersion is stored with every value in L2. Raise it when the shape of V
	// changes: to a release with another SchemaVersion a value is a miss, and is
	// replaced. Keys, fences, leases and invalidations are common to all versions,
	// so two releases side by side see each other's writes.
	SchemaVersion uint32

	// L2 is the tier that all nodes share, for example a *redisl2.Store. Without it
	// (nil) there is only L1, which is coherent within this process alone.
	L2 driver.Tier

	// Key makes the part of the L2 key that stands for k; it must be different
	// for different keys. The default works for strings and integers. With a
	// Key of your own, ParseKey must be its inverse, since invalidations name
	// the keys as L2 does; it is not needed without L1 or L2.
	Key      func(k K) string
	ParseKey func(s string) (K, error)

	// Codec encodes values for L2; default JSON, which leaves out unexported fields and
	// those with the tag json:"-": such a V needs a codec of its own, or its answers
	// depend on the tier.
	Codec Codec[V]

	// CompressAbove is the size in bytes from which encoded values are
	// compressed (Snappy) in L2; default 1024, negative: never.
	CompressAbove int

	// Version returns the value's version in the primary, which grows with
	// every change of the record; 0: not known. Optional. With it an entry of L2 that
	// is older than the one in L1 is replaced, as L2 may hold after a failover or a
	// restart; a load that is older than the stale value it is to replace is not
	// stored; and Info tells the version.
	Version func(V) uint64

	// Validate reports why a value that was decoded from L2 cannot be the record that
	// k names; nil if it can. Optional. Whoever can write to L2 decides what Decode is
	// given: check that the value holds its own key, and what else your program relies
	// on. An entry that fails is a miss and is replaced, as one is that Codec cannot
	// decode (Stats.Undecodable). What loaders return, and writes publish, is not
	// validated.
	Validate func(k K, v V) error

	// TTL is how long a value lives in L2, and in L1 if there is no L2;
	// default 5m. It bounds how long a change made behind the cache's back can
	// go unseen. An entry of L2 that says that it is older than that and StaleFor
	// together, by more than an hour that the clocks of nodes may differ, is a miss
	// and is replaced, whatever L2 makes of it; so is one from the future.
	TTL time.Duration

	// NegativeTTL is the same for a confirmed absence; default 30s, negative:
	// absences are not cached.
	NegativeTTL time.Duration

	// Jitter is the fraction (0-1) by which a TTL is shortened at random, so
	// that entries filled together do not expire together; default 0.1,
	// negative: none.
	Jitter float64

	// StaleFor keeps values in L2 for so long after their TTL, to be served,
	// marked Stale, while loads fail; never to Strong reads. Default 0: not.
	StaleFor time.Duration

	// L1Size is the most entries L1 keeps; default 10,000, negative: no L1.
	// Alternatively, L1MaxCost bounds the sum of L1Cost over the entries. For a
	// confirmed absence L1Cost is called with the zero V; if it panics then, the
	// absence costs 1.
	L1Size    int
	L1MaxCost uint64
	L1Cost    func(k K, v V) uint32

	// L1TTL is the longest an entry lives in L1; default TTL, but at most 1m
	// with L2. It is kept to within 10ms.
	L1TTL time.Duration

	// DegradedL1TTL is the longest an entry lives in L1 that was read while L2
	// could not be reached, so that nobody will tell of changes to it; default
	// 1s, negative: such entries are not kept.
	DegradedL1TTL time.Duration

	// LoadTimeout bounds one load, its wait for a free slot included; default
	// 5s. A lease lives a little longer.
	LoadTimeout time.Duration

	// LeaseWait is how long a read waits for a record that another node is loading;
	// default half of LoadTimeout. After it the read loads the record itself and
	// stores it nowhere. So it bounds what a node costs the others that died while it
	// loaded.
	LeaseWait time.Duration

	// MaxLoads is how many calls of loaders run at once; default 64.
	// MaxQueuedLoads is how many more may wait for a slot before reads fail
	// with ErrOverloaded; default 1024, negative: none. Loads whose callers have
	// all left leave the queue. A loader may read through the cache: each level of
	// such nesting has as many slots of its own.
	MaxLoads, MaxQueuedLoads int

	// WriteTimeout is the deadline of a write function; default 5s. FenceTTL is
	// how long a fence stands that nobody lifts: the primary must not apply a
	// write later than this after the write began. Default WriteTimeout + 5s;
	// it must be longer than WriteTimeout.
	WriteTimeout, FenceTTL time.Duration

	// DefiniteError reports whether an error of a write function says for sure that
	// the primary refused the write and will not apply it later, as a violated
	// constraint does, or a connection that was refused. Optional: errors marked with
	// Aborted are definite without it, and all others leave the outcome unknown, which
	// keeps the key out of the cache for FenceTTL. A timeout, or a connection that was
	// lost, is never definite.
	DefiniteError func(err error) bool

	// L2Timeout bounds each operation on L2, on up to 1000 keys and 1 MiB; default
	// 100ms.
	L2Timeout time.Duration

	// MaxEntrySize is the size in bytes, as Codec encodes it, of the largest value
	// that is kept in L2; default 1 MiB, negative: no bound. A larger one is kept in L1
	// alone, where each node loads it for itself. A large value takes time on the
	// connection that small ones use too. It must be below the server's own limit
	// (proto-max-bulk-len in Redis, at least 1 MiB).
	MaxEntrySize int

	// BreakerFailures is how many operations on L2 must fail in a row for it to
	// be left alone; default 5. BreakerDelay is the pause before it is tried
	// again; default 500ms.
	BreakerFailures int
	BreakerDelay    time.Duration

	// OnL2Down says what becomes of writes while L2 cannot be reached.
	OnL2Down Policy

	// MaxPending is how many keys, written while L2 could not be reached, are
	// remembered to be invalidated when it can; default 65,536. With more than
	// that the whole cache is cleared instead.
	MaxPending int

	// Logger; default slog.Default().
	Logger *slog.Logger

	// OnLoad and OnL2, if set, are told of each call of a loader and of each
	// operation on L2 ("acquire", "fill", "fence", ...), which may be for several
	// keys and callers, how long it took and how it ended. They are called on the
	// path of the read or write.
	OnLoad func(d time.Duration, err error)
	OnL2   func(op string, d time.Duration, err error)
}

// Policy says what becomes of writes while L2 cannot be reached.
type Policy uint8

const (
	// FailOpen lets writes through without a fence. This node reads the
	// primary for the keys from then on, and invalidates them when L2 is back;
	// until then other nodes, if they reach L2, may read older values.
	FailOpen Policy = iota
	// FailClosed refuses writes with ErrL2Unavailable.
	FailClosed
)

func (p Policy) String() string {
	if p == FailClosed {
		return "fail closed"
	}
	return "fail open"
}

// What is larger than these is a mistake, and sums of it could overflow.
const (
	maxDuration = 10 * 365 * 24 * time.Hour
	maxCount    = 1 << 30
)

var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// ErrOptions is matched by the error of New.
var ErrOptions = errors.New("aside: invalid options")

// withDefaults returns o with the defaults put in, or every fault.
func (o Options[K, V]) withDefaults() (Options[K, V], error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...))
	}
	duration := func(name string, d *time.Duration, def time.Duration, mayBeOff bool) {
		switch {
		case *d == 0:
			*d = def
		case *d < 0 && !mayBeOff:
			fault("%s is %v, want a positive duration", name, *d)
		case *d > 0 && *d < time.Millisecond:
			fault("%s is %v, want at least 1ms", name, *d)
		case *d > maxDuration:
			fault("%s is %v, want at most %v", name, *d, maxDuration)
		}
	}
	count := func(name string, n *int, def int, mayBeOff bool) {
		switch {
		case *n == 0:
			*n = def
		case *n < 0 && !mayBeOff:
			fault("%s is %d, want a positive number", name, *n)
		case *n > maxCount:
			fault("%s is %d, want at most %d", name, *n, maxCount)
		}
	}

	if o.Name != "" && !validName.MatchString(o.Name) {
		fault("Name %q has other characters than letters, digits, '.', '_' and '-', or is longer than 128", o.Name)
	}
	if o.Name == "" && o.L2 != nil {
		fault("Name is empty, but L2 is shared: give the cache a name of its own")
	}
	if o.Codec == nil {
		o.Codec = JSON[V]{}
	}
	if o.CompressAbove == 0 {
		o.CompressAbove = 1024
	}

	duration("TTL", &o.TTL, 5*time.Minute, false)
	duration("NegativeTTL", &o.NegativeTTL, 30*time.Second, true)
	switch {
	case math.IsNaN(o.Jitter) || o.Jitter > 1:
		fault("Jitter is %v, want a fraction from 0 to 1", o.Jitter)
	case o.Jitter == 0:
		o.Jitter = 0.1
	case o.Jitter < 0:
		o.Jitter = 0
	}
	if o.StaleFor < 0 || o.StaleFor > maxDuration {
		fault("StaleFor is %v, want 0 to %v", o.StaleFor, maxDuration)
	}

	count("L1Size", &o.L1Size, 10_000, true)
	switch {
	case (o.L1MaxCost > 0) != (o.L1Cost != nil):
		fault("L1MaxCost and L1Cost go together")
	case o.L1MaxCost > 0:
		o.L1Size = 0
	}
	def := o.TTL
	if o.L2 != nil {
		def = min(def, time.Minute)
	}
	duration("L1TTL", &o.L1TTL, def, false)
	duration("DegradedL1TTL", &o.DegradedL1TTL, time.Second, true)

	duration("LoadTimeout", &o.LoadTimeout, 5*time.Second, false)
	duration("LeaseWait", &o.LeaseWait, max(o.LoadTimeout/2, time.Millisecond), false)
	count("MaxLoads", &o.MaxLoads, 64, false)
	count("MaxQueuedLoads", &o.MaxQueuedLoads, 1024, true)
	duration("WriteTimeout", &o.WriteTimeout, 5*time.Second, false)
	duration("FenceTTL", &o.FenceTTL, o.WriteTimeout+5*time.Second, false)
	if o.WriteTimeout > 0 && o.FenceTTL > 0 && o.FenceTTL <= o.WriteTimeout {
		fault("FenceTTL is %v, not longer than WriteTimeout, %v: a fence would end before its write", o.FenceTTL, o.WriteTimeout)
	}
	duration("L2Timeout", &o.L2Timeout, 100*time.Millisecond, false)
	count("MaxEntrySize", &o.MaxEntrySize, 1<<20, true)
	count("BreakerFailures", &o.BreakerFailures, 5, false)
	duration("BreakerDelay", &o.BreakerDelay, 500*time.Millisecond, false)
	if o.OnL2Down > FailClosed {
		fault("OnL2Down is %d, want FailOpen or FailClosed", o.OnL2Down)
	}
	count("MaxPending", &o.MaxPending, 65_536, false)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.keys(); err != nil {
		fault("%v", err)
	}
	return o, errors.Join(faults...)
}
