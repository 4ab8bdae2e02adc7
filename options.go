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

// Options configures a cache. The zero value works: it makes a cache of 10,000
// entries in L1, without L2. New reports all faults at once.
//
// A duration of zero means the default. A negative duration switches a feature off
// where its comment says so, and is a fault elsewhere.
type Options[K comparable, V any] struct {
	// Name is the namespace of the cache. Caches with different names never read
	// each other's entries. It may contain letters, digits, '.', '_' and '-'. It is
	// required with L2.
	Name string

	// Node is the name of this node, for the people who operate it: 1 to 128 bytes
	// without control characters. What the cache stores in L2 begins with a NodeID made of
	// it, so that Inspect can tell which node that was. Give each process another one.
	// Default: the host's name and the process' id, such as "web-1:4711".
	Node string

	// SchemaVersion is stored with every value in L2. Raise it when the shape of V
	// changes. A value with another SchemaVersion is a miss and is replaced. Keys,
	// fences, leases and invalidations are the same for all versions, so two versions
	// of a program that run side by side see each other's writes.
	SchemaVersion uint32

	// L2 is the tier that all nodes share, for example a *redisl2.Store. If it is
	// nil, there is only L1, which is coherent within this process alone.
	L2 driver.Tier

	// Key returns the part of the L2 key that stands for k. It must return different
	// strings for different keys. The default works for strings and integers.
	// ParseKey is the inverse of Key. It is required with a Key of your own, because
	// invalidations contain the L2 key. It is not needed without L1 or without L2.
	Key      func(k K) string
	ParseKey func(s string) (K, error)

	// Codec encodes values for L2. The default is JSON, which leaves out unexported
	// fields and fields with the tag json:"-". If V has such fields, use another codec:
	// otherwise a value from L2 differs from a value that was just loaded.
	Codec Codec[V]

	// Loader reads a record from the primary, for reads that are given no loader of their
	// own. BulkLoader reads several. Both are optional.
	//
	// With a BulkLoader, single reads without a loader of their own that miss at the same
	// moment are loaded together, by one call of BulkLoader. Its ctx has the values of
	// the read whose miss came first. Each read has its own answer and its own error, but
	// they wait for the same call, and share its panic and any error that is not a KeyErrors.
	// A key that is alone is loaded with Loader, or with BulkLoader if there is no Loader.
	// Both must answer alike. Bulk limits such calls and can switch this off.
	//
	// Without a BulkLoader, reads of several keys call Loader for each missing key,
	// for up to half of MaxLoads keys at once.
	Loader     Loader[K, V]
	BulkLoader BulkLoader[K, V]
	Bulk       BulkLimits

	// CompressAbove is the size in bytes from which encoded values are compressed
	// (Snappy) in L2. Default 1024. Negative: never.
	CompressAbove int

	// Version returns the version of the value in the primary. The version must grow
	// with every change of the record; 0 means not known. All versions of a record must be
	// of one scale: those of its values, those that loaders and writes give
	// (Loaded.Version), and those of Feed. A new release of a program may use larger
	// versions, such as times in place of numbers. If its versions are smaller, cached
	// entries look newer until they expire, and the feed does not remove them: such a
	// release needs another SchemaVersion.
	//
	// Version is optional. If it is set, or loaders give versions, the cache replaces an
	// L2 entry that is older than the one in L1, such as after a failover of Redis. A load
	// that is older than the stale value is not stored in its place. Info contains the
	// version.
	Version func(V) uint64

	// Tags returns the tags of a record, for InvalidateTag. It is optional. With it a record
	// has its tags however it comes into the cache: by any loader, Update, Create, Publish
	// or Set. Without it only a Loaded gives tags, and InvalidateTag does not reach what the
	// others store. If a Loaded has tags, these count. An absence has only those. The limits
	// are those of Loaded.Tags.
	Tags func(V) []string

	// Validate checks a value that was decoded from L2. It returns why the value
	// cannot be the record of k, or nil. It is optional. Everybody who can write to L2
	// can choose what Decode gets. So check that the value contains its own key, and
	// check all that your program relies on. An entry that fails is a miss and is
	// replaced (Stats.Undecodable). Values that loaders return, and values that writes
	// publish, are not validated.
	Validate func(k K, v V) error

	// TTL is how long a value lives in L2, and in L1 if there is no L2. Default 5m. A
	// change that was made past the cache is seen after TTL at the latest; with a Feed,
	// after the feed's delay. Each L2 entry has a time stamp. If it is older than TTL plus
	// StaleFor plus an hour, or more than an hour in the future, the entry is a miss and is
	// replaced, even if L2 did not expire it.
	TTL time.Duration

	// NegativeTTL is how long the cache remembers that a record does not exist.
	// Default 30s. Negative: such answers are not cached.
	NegativeTTL time.Duration

	// Jitter is the fraction (0 to 1) by which a TTL is shortened at random, so that
	// entries that were filled together do not expire together. Default 0.1.
	// Negative: none.
	Jitter float64

	// StaleFor is how long past its TTL a value may still be served while loads fail
	// (stale-if-error). Such a result has Stale set. Strong reads never get one. If a load
	// hangs, the read gets the stale value after LoadTimeout, or after SoftTimeout. Default
	// 0: off.
	StaleFor time.Duration

	// StaleWhileRevalidate is how long past its TTL a value still answers reads at once,
	// while one load in the background brings the new one (RFC 5861). Such a result has
	// Stale set. Strong reads never get one. Default 0: off.
	StaleWhileRevalidate time.Duration

	// RefreshAhead is the last share of an entry's life, 0 to 1, in which a read that finds
	// the entry begins a refresh. The read is answered at once, and nobody waits for the
	// refresh: L1 takes the entry from L2 again, and one node loads the record for all, with
	// the loader of that read or Options.Loader. Each node begins its refresh at a random
	// time in the first quarter of that share. Records that nobody reads are not refreshed,
	// and absences are not either. If a refresh fails, the next one begins a second later,
	// or FailedFor later if that is longer. Default 0: off.
	RefreshAhead float64

	// SoftTimeout is how long a read waits for a load if there is a stale value that
	// StaleFor allows. After it, the read gets the stale value, with Stale set, and the load
	// goes on in the background. So a primary that hangs delays reads by SoftTimeout, not by
	// LoadTimeout. It needs StaleFor and must be shorter than LoadTimeout. Strong reads wait
	// for the load. Default 0: off.
	SoftTimeout time.Duration

	// FailedFor is how long this node does not load a record again after a load of it has
	// failed, if there is a stale value: reads get that at once. Strong reads load.
	// Default 0: each read loads.
	FailedFor time.Duration

	// L1Size is the maximum number of entries in L1. Default 10,000. Negative: no L1.
	// Alternatively, L1MaxCost limits the sum of L1Cost over all entries. For a record
	// that does not exist, L1Cost gets the zero V; if it panics then, the cost is 1. A cost
	// of 0 counts as 1.
	L1Size    int
	L1MaxCost uint64
	L1Cost    func(k K, v V) uint32

	// L1TTL is the longest time that an entry lives in L1. Expiry is accurate to 10 ms.
	// Default: TTL or 1m, whichever is less. Without L2 there is no default limit: an
	// entry has the TTL of its record.
	L1TTL time.Duration

	// DegradedL1TTL is how long L1 keeps an entry that was read while L2 was
	// unavailable: nobody will report changes of it. Default 1s. Negative: such entries
	// are not kept.
	DegradedL1TTL time.Duration

	// LoadTimeout limits one load, including its wait for a slot. Default 5s. A lease
	// lives a little longer.
	LoadTimeout time.Duration

	// LeaseWait is how long a read waits for a record that another node is loading.
	// After it, the read loads the record itself and does not store it. So it also
	// limits how long other nodes wait if a node dies during its load. Default: half of
	// LoadTimeout.
	LeaseWait time.Duration

	// MaxLoads is how many loaders run at once. Default 64. MaxQueuedLoads is how many
	// more loads may wait for a slot; above that, reads fail with ErrOverloaded.
	// Default 1024. Negative: none. A load leaves the queue when all its callers have
	// left. A loader may read through the cache: each level of nesting has its own
	// MaxLoads slots.
	MaxLoads, MaxQueuedLoads int

	// WriteTimeout is the deadline of a write function. Default 5s. FenceTTL is how
	// long a fence stands if nobody lifts it. The primary must not apply a write later
	// than FenceTTL after the write began. Default WriteTimeout + 5s. It must be longer
	// than WriteTimeout.
	WriteTimeout, FenceTTL time.Duration

	// DefiniteError reports whether an error of a write function means that the
	// primary has refused the write and will not apply it later. Examples are a
	// violated constraint and a refused connection. It is optional. Without it only
	// errors marked with Aborted are definite. After all others the outcome is
	// unknown, and the key stays out of the cache for FenceTTL. A timeout or a lost
	// connection is never definite.
	DefiniteError func(err error) bool

	// L2Timeout limits each operation on L2, for up to 1000 keys and 1 MiB. Default
	// 100ms.
	L2Timeout time.Duration

	// L2SoftTimeout is how long a lookup in L2 may take before the cache also loads the
	// record. The read uses the first answer. A value loaded this way stays in L1 only, for
	// DegradedL1TTL. So a slow lookup does not delay the read. If all lookups are slow, a
	// limit protects the primary: such loads begin for at most 5 % of recent lookups, and
	// only while there are free slots for loads (MaxLoads). Choose a time that few lookups
	// take, such as the 99th percentile. Default 0: off. It must be shorter than L2Timeout.
	L2SoftTimeout time.Duration

	// MaxEntrySize is the size in bytes, as encoded by Codec, of the largest value in
	// L2. Default 1 MiB. Negative: no limit. A larger value is kept in L1 only, and
	// each node loads it for itself. Large values delay small ones on the same
	// connection. The limit must be 64 KiB below that of the server, since an entry has a
	// header, tags and an ETag beside (proto-max-bulk-len in Redis, 512 MB by default and at
	// least 1 MiB).
	MaxEntrySize int

	// BreakerFailures is how many operations on L2 must fail in a row before the
	// circuit breaker opens and L2 is skipped. Default 5. BreakerDelay is the pause
	// before L2 is tried again. Default 500ms.
	BreakerFailures int
	BreakerDelay    time.Duration

	// OnL2Down says what happens to writes while L2 is unavailable.
	OnL2Down Policy

	// MaxPending is how many keys the cache remembers that were written, or read with
	// Refresh, while L2 was unavailable and must be invalidated later. Default 65,536. If
	// there are more,
	// the whole cache is cleared instead.
	MaxPending int

	// MaxTags is how many invalidated tags L2 remembers: the latest ones. When it forgets
	// a tag, all entries with tags that were loaded before that tag was invalidated are
	// misses. Set the same number on all nodes. Default 10,000.
	MaxTags int

	// Feed tells the cache of changes that were made without it, such as by another
	// program or by hand. All nodes of a cache set it; one of them follows it. It is
	// optional. With L2, that must be a driver.Fed, as *redisl2.Store is. Without a
	// Version, each change drops the entry, also the one that a write through the cache
	// has just published, unless the write marked its change (WriteTx.Token).
	Feed Feed

	// FeedGoBack is how far the cache goes back in the feed when L2 may have lost
	// its latest commands, such as in a failover. It must be longer than a failover: from
	// the first lost command until this node notices. Default 45s. At most 50s: feeds keep
	// two minutes.
	FeedGoBack time.Duration

	// FeedSilence is how long the feed may be silent. After it, the feed is opened again.
	// Default 10s. During a large transaction pgfeed gives a sign of life every 5s.
	FeedSilence time.Duration

	// Logger is where the cache logs to. Default slog.Default().
	Logger *slog.Logger

	// OnLoad is called after each call of a loader, and OnL2 after each operation on L2
	// ("acquire", "fill", "fence", ...), with its duration and its error. One call may
	// be for several keys and callers. Both delay the read or write that they belong to.
	// They are optional.
	OnLoad func(d time.Duration, err error)
	OnL2   func(op string, d time.Duration, err error)

	// Observer is told of operations, with their contexts, and of events. It is optional.
	Observer Observer
}

// Policy says what happens to writes while L2 is unavailable.
type Policy uint8

const (
	// FailOpen lets writes through without a fence. From then on this node reads the
	// keys from the primary. It invalidates them when L2 is back. Until then, other
	// nodes that reach L2 may read older values.
	FailOpen Policy = iota
	// FailClosed refuses writes with ErrL2Unavailable.
	FailClosed
)

// String returns "fail open" or "fail closed".
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
	// A position of the feed is kept until the next one is this old. So a feed must keep
	// a little more than twice this.
	maxGoBack = 50 * time.Second
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
	if o.Node == "" {
		o.Node = defaultNode()
	}
	if !validNode(o.Node) {
		fault("Node is %q, want 1 to %d bytes of UTF-8 without control characters", o.Node, maxNode)
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

	for name, d := range map[string]time.Duration{"StaleWhileRevalidate": o.StaleWhileRevalidate, "FailedFor": o.FailedFor, "SoftTimeout": o.SoftTimeout} {
		if d < 0 || d > maxDuration {
			fault("%s is %v, want 0 to %v", name, d, maxDuration)
		}
	}
	if math.IsNaN(o.RefreshAhead) || o.RefreshAhead < 0 || o.RefreshAhead > 1 {
		fault("RefreshAhead is %v, want a fraction from 0 to 1", o.RefreshAhead)
	}
	if o.SoftTimeout > 0 && o.StaleFor == 0 {
		fault("SoftTimeout is set, but StaleFor is not: there would be no stale value to answer with")
	}

	count("L1Size", &o.L1Size, 10_000, true)
	switch {
	case (o.L1MaxCost > 0) != (o.L1Cost != nil):
		fault("L1MaxCost and L1Cost go together")
	case o.L1MaxCost > 0:
		o.L1Size = 0
	}
	def := min(o.TTL, time.Minute)
	if o.L2 == nil {
		def = maxDuration
	}
	duration("L1TTL", &o.L1TTL, def, false)
	duration("DegradedL1TTL", &o.DegradedL1TTL, time.Second, true)

	duration("LoadTimeout", &o.LoadTimeout, 5*time.Second, false)
	if o.SoftTimeout > 0 && o.SoftTimeout >= o.LoadTimeout {
		fault("SoftTimeout is %v, not shorter than LoadTimeout, %v", o.SoftTimeout, o.LoadTimeout)
	}
	duration("LeaseWait", &o.LeaseWait, max(o.LoadTimeout/2, time.Millisecond), false)
	count("MaxLoads", &o.MaxLoads, 64, false)
	o.Bulk.withDefaults(o.LoadTimeout, count, fault)
	count("MaxQueuedLoads", &o.MaxQueuedLoads, 1024, true)
	duration("WriteTimeout", &o.WriteTimeout, 5*time.Second, false)
	duration("FenceTTL", &o.FenceTTL, o.WriteTimeout+5*time.Second, false)
	if o.WriteTimeout > 0 && o.FenceTTL > 0 && o.FenceTTL <= o.WriteTimeout {
		fault("FenceTTL is %v, not longer than WriteTimeout, %v: a fence would end before its write", o.FenceTTL, o.WriteTimeout)
	}
	duration("L2Timeout", &o.L2Timeout, 100*time.Millisecond, false)
	if duration("L2SoftTimeout", &o.L2SoftTimeout, 0, false); o.L2SoftTimeout >= o.L2Timeout && o.L2Timeout > 0 {
		fault("L2SoftTimeout is %v, not shorter than L2Timeout, %v", o.L2SoftTimeout, o.L2Timeout)
	}
	count("MaxEntrySize", &o.MaxEntrySize, 1<<20, true)
	count("BreakerFailures", &o.BreakerFailures, 5, false)
	duration("BreakerDelay", &o.BreakerDelay, 500*time.Millisecond, false)
	if o.OnL2Down > FailClosed {
		fault("OnL2Down is %d, want FailOpen or FailClosed", o.OnL2Down)
	}
	count("MaxPending", &o.MaxPending, 65_536, false)
	count("MaxTags", &o.MaxTags, 10_000, false)
	duration("FeedGoBack", &o.FeedGoBack, 45*time.Second, false)
	duration("FeedSilence", &o.FeedSilence, 10*time.Second, false)
	if o.FeedGoBack > maxGoBack {
		fault("FeedGoBack is %v, want at most %v: feeds keep positions of two minutes", o.FeedGoBack, maxGoBack)
	}
	if o.Feed != nil {
		if _, ok := o.L2.(driver.Fed); o.L2 != nil && !ok {
			fault("Feed is set, but L2 (%T) is not a driver.Fed", o.L2)
		}
		if o.Key != nil && o.ParseKey == nil {
			fault("Feed is set, and Key without its inverse, ParseKey")
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.keys(); err != nil {
		fault("%v", err)
	}
	return o, errors.Join(faults...)
}
