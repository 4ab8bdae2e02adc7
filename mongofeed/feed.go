package mongofeed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/driver"
)

var _ driver.Feed = (*Feed)(nil)

// Options are the options of a Feed. The zero value is ready to use.
type Options struct {
	// Key is the field that holds the cache's key, at the top level of the document.
	// Default: _id.
	Key string

	// Version is the field that holds the record's version, at the top level of the
	// document: an integer that every write raises. A write that leaves it out or does
	// not raise it is told without a version, and removes the entry. Default: none, so
	// own writes cost a miss.
	Version string

	// Format returns the value of the field Key as the cache's Options.Key does. ok is
	// false if there is no such key; then all are told to have changed. Default: strings
	// as they are, ObjectIDs in 24 hex digits, integers in decimal, UUIDs in their usual
	// form.
	Format func(value bson.RawValue) (key string, ok bool)

	// KeyOf returns the key of the document with an _id, if it can be told from the _id
	// alone. It saves the read of an update, and the clearing at the deletion of a
	// document that is not remembered. What it returns must be right: entries under
	// another key stay. It is not used if the collection has pre-images, or if Key is
	// _id. Default: none.
	KeyOf func(id bson.RawValue) (key string, ok bool)

	// FixedKey says that no replacement of a document changes its key. Without it, a
	// replacement of a document that is not remembered is told as a change of all. It has
	// no effect on updates: they tell whether the key has changed.
	FixedKey bool

	// Remember is how many keys and versions of documents the feed remembers at least;
	// twice as many at most. It is not used if the collection has pre-images. Default:
	// 100,000. Negative: none.
	Remember int

	// MaxChanges is how many changes one call of Next returns. If more are there, it
	// returns that all have changed. Default: 10,000.
	MaxChanges int

	// Wait is how long the server waits for a change before it says that there is none.
	// Default: 1 s.
	Wait time.Duration

	// Silence is how long the server may fail to answer. Then Next returns an error.
	// Meanwhile the feed opens the stream again, with pauses of 50 ms to 1 s. At least
	// 2 * Wait. Default: 10 s.
	Silence time.Duration

	// Logger is told of panics of Format and KeyOf, which count as ok == false. Default:
	// slog.Default().
	Logger *slog.Logger
}

const (
	idField         = "_id"
	defaultRemember = 100_000
	defaultChanges  = 10_000
	defaultWait     = time.Second
	defaultSilence  = 10 * time.Second

	// openTimeout bounds the opening at a position: the server then reads its oplog from
	// there on.
	openTimeout = time.Minute
)

// Feed is the change stream of a collection.
type Feed struct {
	coll    *mongo.Collection
	opts    Options
	format  func(bson.RawValue) (string, bool)
	keyOfID func(bson.RawValue) (string, bool) // Options.KeyOf; nil if there is none

	panicLogged atomic.Int64 // when a panic was logged last, in nanoseconds since 1970

	mu    sync.Mutex
	spare *known // of the last stream that was closed
}

// byID reports whether the cache's key is the _id.
func (f *Feed) byID() bool { return f.opts.Key == idField }

// known returns what is known at the beginning of a stream.
func (f *Feed) known(resume bool, at bson.Timestamp) *known {
	f.mu.Lock()
	k := f.spare
	f.spare = nil
	f.mu.Unlock()
	if k == nil || !resume || at.After(k.covered) {
		return newKnown(max(f.opts.Remember, 0))
	}
	k.rewind(at)
	return k
}

// New returns the feed of a collection. It does not connect. The collection need not exist
// yet. Its read preference and read concern are not used: change streams need a majority,
// and a loader that reads from the primary needs the primary's stream.
func New(coll *mongo.Collection, opts Options) (*Feed, error) {
	if coll == nil {
		return nil, errors.New("mongofeed: the collection is nil")
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if opts.Key == "" {
		opts.Key = idField
	}
	for name, field := range map[string]string{"Key": opts.Key, "Version": opts.Version} {
		if strings.Contains(field, ".") || strings.HasPrefix(field, "$") {
			fault("mongofeed: Options.%s is %q: it must be a field at the top level, without . and $", name, field)
		}
	}
	defaults := func(d *time.Duration, name string, value time.Duration) {
		if *d == 0 {
			*d = value
		}
		if *d < time.Millisecond {
			fault("mongofeed: Options.%s is %v: it must be at least 1ms", name, *d)
		}
	}
	defaults(&opts.Wait, "Wait", defaultWait)
	defaults(&opts.Silence, "Silence", max(defaultSilence, 2*opts.Wait))
	if opts.Silence < 2*opts.Wait {
		fault("mongofeed: Options.Silence is %v: it must be at least twice Options.Wait, %v", opts.Silence, opts.Wait)
	}
	if opts.MaxChanges == 0 {
		opts.MaxChanges = defaultChanges
	}
	if opts.MaxChanges < 0 {
		fault("mongofeed: Options.MaxChanges is %d: it must be positive", opts.MaxChanges)
	}
	if opts.Remember == 0 {
		opts.Remember = defaultRemember
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	f := &Feed{coll: coll, opts: opts, format: format}
	if opts.Format != nil {
		f.format = f.guard("Format", opts.Format)
	}
	if opts.KeyOf != nil {
		f.keyOfID = f.guard("KeyOf", opts.KeyOf)
	}
	return f, nil
}

func (f *Feed) ns() string { return f.coll.Database().Name() + "." + f.coll.Name() }

// Open implements driver.Feed. A position of another collection, or of one that was
// dropped and created again since, is a gap.
//
// The feed can open a position as long as the oplog of MongoDB reaches back to it.
func (f *Feed) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	var at position
	if from != nil {
		var err error
		if at, err = decodePosition(from); err != nil {
			return nil, gap(err)
		}
		if at.NS != f.ns() {
			return nil, gap(fmt.Errorf("the position is one of the collection %s, not of %s", at.NS, f.ns()))
		}
	}
	s := &stream{f: f}
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("mongofeed: open %s: %w", f.ns(), err)
	}
	if err := s.start(ctx, from != nil, at); err != nil {
		_ = s.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("mongofeed: open %s: %w", f.ns(), context.Cause(ctx))
		}
		return nil, explain(f.ns(), err, from != nil)
	}
	return s, nil
}

// Check reports what keeps the feed from working until somebody changes the server. The error
// matches ErrServer or ErrRights. It is nil if it could not ask: that may pass.
func (f *Feed) Check(ctx context.Context) error {
	s, err := f.Open(ctx, nil)
	if err == nil {
		_ = s.Close()
	}
	if errors.Is(err, ErrServer) || errors.Is(err, ErrRights) {
		return err
	}
	return nil
}

// begin makes the session: all commands of a cursor must be of one.
func (s *stream) begin() error {
	sess, err := s.f.coll.Database().Client().StartSession(options.Session().SetCausalConsistency(false))
	if err != nil {
		return err
	}
	s.sess = sess
	s.closed, s.close = context.WithCancelCause(context.Background())
	return nil
}

// start opens the cursor of a new stream.
func (s *stream) start(ctx context.Context, resume bool, at position) error {
	ctx, release := s.join(ctx)
	defer release()
	s.mongos = s.isMongos(ctx)
	at.NS = s.f.ns()
	s.at = at
	var err error
	if s.first, err = s.open(ctx, openTimeout, resume); err != nil {
		return err
	}
	s.known = s.f.known(resume, s.at.Time)
	s.given = s.at
	return nil
}

const (
	aheadTries = 4
	aheadPause = 250 * time.Millisecond
)

// open opens a cursor at s.at, or at "now" if that has no token. It is strict with the
// position of a caller: the collection must be there if and only if it was there then.
func (s *stream) open(ctx context.Context, limit time.Duration, strict bool) (reply, error) {
	info, err := s.collection(ctx, min(limit, s.f.opts.Silence))
	if err != nil {
		return reply{}, err
	}
	if (strict || s.at.UUID != nil) && !bytes.Equal(s.at.UUID, info.uuid) && s.at.Token != nil {
		return reply{}, gap(errors.New("the collection is not the one that the position is of: it was dropped or created since, or belongs to another cluster"))
	}
	s.images = info.images
	for try := 0; ; try++ {
		r, err := s.aggregate(ctx, limit)
		if err != nil {
			return reply{}, err
		}
		if s.at.Token == nil {
			if r.token == nil {
				return reply{}, errors.New("the server tells no position (postBatchResumeToken)")
			}
			s.at.Token, s.at.Time, s.at.UUID = r.token, r.opTime, info.uuid
		}
		// A position that the server has not reached: it is of another history. A server
		// that has just become the primary may need a moment to know what is committed.
		if r.opTime.IsZero() || !s.at.Time.After(r.opTime) {
			return r, nil
		}
		s.kill(r.id)
		if try == aheadTries {
			return reply{}, gap(fmt.Errorf("the position is of %v, but the server's log ends at %v", s.at.Time, r.opTime))
		}
		if err := sleep(ctx, aheadPause); err != nil {
			return reply{}, err
		}
	}
}
