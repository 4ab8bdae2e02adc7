package pgfeed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside/driver"
)

// Kinds of errors of Open. Each text says which statement to run.
var (
	// ErrSettings: the server's settings do not allow a feed, or the slot or the
	// publication is not what the feed needs.
	ErrSettings = errors.New("pgfeed: settings of the server")
	// ErrRights: the role may not do what is needed.
	ErrRights = errors.New("pgfeed: rights of the role")
	// ErrTable: the table, one of its columns or its replica identity does not fit.
	ErrTable = errors.New("pgfeed: table")
)

// Feed is a driver.Feed. It holds no connection; each of its streams has up to three.
type Feed struct {
	opt    Options
	table  table
	config *pgconn.Config

	// remake: the slot cannot go on for good, so the next Open makes another one.
	remake     atomic.Bool
	lastCommit atomic.Int64 // in microseconds since 1970, 0 if there was none

	panicLogged atomic.Int64 // when a panic was logged last, in nanoseconds since 1970
}

var _ driver.Feed = (*Feed)(nil)

// New returns the feed of a table. It does not connect. All faults of opt are in its
// error, which matches ErrOptions.
func New(opt Options) (*Feed, error) {
	cfg, t, err := opt.settle()
	if err != nil {
		return nil, err
	}
	return &Feed{opt: opt, table: t, config: cfg}, nil
}

func (f *Feed) back() string { return f.opt.Slot + backEnd }

// Open opens a stream: see driver.Feed. It checks the server, the role and the table, and
// makes the publication and the slots if they are not there. It ends the stream of another
// process that has the slot.
func (f *Feed) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	s, err := f.open(ctx, from)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (f *Feed) open(ctx context.Context, from driver.Position) (_ *stream, err error) {
	var at position
	if from != nil {
		if at, err = decodePosition(from); err != nil {
			return nil, gap("%v", err)
		}
		if f.opt.Temporary {
			return nil, gap("a temporary slot ends with its connection")
		}
	}
	o := &opening{Feed: f}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.sql, err = f.connect(ctx, false); err != nil {
		return nil, connectError(err)
	}
	// What this snapshot sees was committed before Open returns: it need not be told.
	if err = o.look(ctx); err != nil {
		return nil, err
	}
	if err = o.check(ctx, from != nil); err != nil {
		return nil, err
	}
	if o.repl, err = f.connect(ctx, true); err != nil {
		return nil, connectError(err)
	}
	if err = o.identify(ctx); err != nil {
		return nil, err
	}
	s := newStream(o)
	if err = s.define(ctx); err != nil {
		return nil, err
	}
	if from != nil {
		if err = o.compare(at, s.pos); err != nil {
			return nil, err
		}
	}
	// Another process may take the slot back between our steps, as a leader does that
	// does not know yet that it is none.
	for try := 1; ; try++ {
		err = o.begin(ctx, s, from != nil, at)
		if code(err) != objectInUse || try == 5 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	s.run()
	return s, nil
}

// opening is an Open under way.
type opening struct {
	*Feed
	sql, repl *conn

	seen    snapshot      // taken first
	seenTo  pglogrepl.LSN // what it sees was committed before
	facts   serverFacts
	pubMade bool // the publication is new
}

func (o *opening) close() {
	for _, c := range []*conn{o.sql, o.repl} {
		if c != nil {
			c.close()
		}
	}
}

// query runs a statement on the connection for them.
func (o *opening) query(ctx context.Context, format string, args ...any) ([]row, error) {
	rows, err := o.sql.query(ctx, fmt.Sprintf(format, args...))
	return rows, o.clean(err)
}

// exec runs a statement whose rows do not matter.
func (o *opening) exec(ctx context.Context, format string, args ...any) error {
	_, err := o.query(ctx, format, args...)
	return err
}

func (o *opening) look(ctx context.Context) error {
	rows, err := o.query(ctx, "SELECT pg_is_in_recovery(), pg_current_snapshot()")
	if err != nil {
		return err
	}
	if string(rows[0][0]) == "t" {
		return fmt.Errorf("%w: %s is a standby: give the URL of the primary, or of all servers with target_session_attrs=read-write",
			ErrSettings, o.where())
	}
	if o.seen, err = parseSnapshot(string(rows[0][1])); err != nil {
		return err
	}
	rows, err = o.query(ctx, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	o.seenTo, err = pglogrepl.ParseLSN(string(rows[0][0]))
	return err
}

// identify asks the replication connection which server it has reached.
func (o *opening) identify(ctx context.Context) error {
	rows, err := o.repl.query(ctx, "SELECT pg_postmaster_start_time()")
	if err != nil {
		return o.clean(err)
	}
	if started := string(rows[0][0]); started != o.facts.started {
		return fmt.Errorf("pgfeed: two connections to %s reached two servers, started %s and %s: is it a pooler?",
			o.where(), o.facts.started, started)
	}
	rows, err = o.repl.query(ctx, "IDENTIFY_SYSTEM")
	if err != nil {
		return o.clean(err)
	}
	if len(rows) != 1 || len(rows[0]) < 3 {
		return errors.New("pgfeed: IDENTIFY_SYSTEM returned no row")
	}
	if o.facts.system, err = strconv.ParseUint(string(rows[0][0]), 10, 64); err != nil {
		return fmt.Errorf("pgfeed: IDENTIFY_SYSTEM returned %q", rows[0])
	}
	timeline, err := strconv.ParseUint(string(rows[0][1]), 10, 32)
	if err != nil {
		return fmt.Errorf("pgfeed: IDENTIFY_SYSTEM returned %q", rows[0])
	}
	o.facts.timeline = uint32(timeline)
	return nil
}

// compare reports why the server cannot go on at a position, whatever its slots hold.
func (o *opening) compare(at, now position) error {
	switch {
	case at.system != now.system:
		return gap("the position is of another server (system identifier %d, not %d)", at.system, now.system)
	case at.timeline != now.timeline:
		return gap("the position is of timeline %d, and the server is on timeline %d: it was promoted or restored", at.timeline, now.timeline)
	case at.defined != now.defined:
		return gap("the table, its replica identity or the publication has changed since")
	case at.lsn > now.lsn:
		return gap("the position %v is ahead of the server's log (%v): it was restored", at.lsn, now.lsn)
	}
	return nil
}

// SQLSTATEs.
const (
	uniqueViolation       = "23505"
	insufficientPrivilege = "42501"
	undefinedObject       = "42704"
	duplicateObject       = "42710"
	tooManyConnections    = "53300"
	notInPrerequisite     = "55000"
	objectInUse           = "55006"
	queryCanceled         = "57014"
	undefinedFile         = "58P01"
)

// connectError gives the kind of an error of connecting.
func connectError(err error) error {
	switch code(err) {
	case insufficientPrivilege: // of replication only
		return fmt.Errorf("%w: as a superuser, ALTER ROLE ... REPLICATION: %w", ErrRights, err)
	case tooManyConnections:
		return fmt.Errorf("%w: max_wal_senders or max_connections is used up; raise it and restart the server: %w", ErrSettings, err)
	}
	return err
}

// lost makes an error of the replication match driver.ErrGap if the slot cannot go on.
func (f *Feed) lost(err error) error {
	switch code(err) {
	case undefinedObject, notInPrerequisite, undefinedFile:
		f.remake.Store(true)
		return fmt.Errorf("%w: %w", driver.ErrGap, err)
	}
	return err
}

// Drop removes the slots and the publication for good, and ends who follows them. Call it
// when the cache is not used any more: the server keeps its log for a slot, up to
// max_slot_wal_keep_size. It is no error if they are not there.
func (f *Feed) Drop(ctx context.Context) (err error) {
	o := &opening{Feed: f}
	defer o.close()
	if o.sql, err = f.connect(ctx, false); err != nil {
		return connectError(err)
	}
	for _, slot := range []string{f.opt.Slot, f.back()} {
		if err := o.dropSlot(ctx, slot); err != nil {
			return err
		}
	}
	return o.exec(ctx, "DROP PUBLICATION IF EXISTS %s", ident(f.opt.Publication))
}

// Status is what the server knows of the feed.
type Status struct {
	// Slot and Publication are their names.
	Slot, Publication string
	// Active: a stream is open, in some process.
	Active bool
	// WALStatus is that of the slots in pg_replication_slots, the worse one: "reserved",
	// "extended", "unreserved" (at risk), "lost", or "missing" if a slot is not there.
	WALStatus string
	// WALBytes of the log are kept for the feed.
	WALBytes int64
	// SafeBytes can be written before WAL is removed that the feed needs; -1 if there is no
	// bound.
	SafeBytes int64
	// Confirmed is up to where the slot has been handled, such as "0/16B3748".
	Confirmed string
	// LastCommit is when the last change was committed that a stream of this Feed has
	// returned, by the server's clock; zero if there was none.
	LastCommit time.Time
}

// Status asks the server, over a connection of its own.
func (f *Feed) Status(ctx context.Context) (s Status, err error) {
	s = Status{Slot: f.opt.Slot, Publication: f.opt.Publication, SafeBytes: -1}
	if us := f.lastCommit.Load(); us != 0 {
		s.LastCommit = time.UnixMicro(us)
	}
	o := &opening{Feed: f}
	defer o.close()
	if o.sql, err = f.connect(ctx, false); err != nil {
		return s, connectError(err)
	}
	names := []string{f.opt.Slot, f.back()}
	if f.opt.Temporary {
		return s, nil // each stream has a slot of another name
	}
	worst := 0
	for _, name := range names {
		slot, err := o.slot(ctx, name)
		if err != nil {
			return s, err
		}
		if rank := walRank(slot.wal); rank >= worst {
			worst, s.WALStatus = rank, slot.wal
		}
		s.WALBytes = max(s.WALBytes, slot.kept)
		if slot.safe >= 0 && (s.SafeBytes < 0 || slot.safe < s.SafeBytes) {
			s.SafeBytes = slot.safe
		}
		if name == f.opt.Slot {
			s.Active, s.Confirmed = slot.active, slot.confirmed.String()
		}
	}
	return s, nil
}

func walRank(status string) int {
	for i, s := range []string{"reserved", "extended", "unreserved", walLost, walMissing} {
		if s == status {
			return i
		}
	}
	return 0
}
