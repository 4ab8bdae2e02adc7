package pgfeed

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
)

// slot is one of pg_replication_slots.
type slot struct {
	name      string
	wal       string // status
	active    bool
	confirmed pglogrepl.LSN // what was committed before is not sent
	kept      int64         // bytes of the log
	safe      int64         // bytes until the slot is lost; -1: no bound
}

const (
	walLost    = "lost"
	walMissing = "missing"
)

func (s slot) exists() bool { return s.wal != walMissing }

// holds reports whether the slot has what was committed after at.
func (s slot) holds(at pglogrepl.LSN) bool { return s.usable() && s.confirmed <= at }

func (s slot) usable() bool { return s.exists() && s.wal != walLost && s.confirmed != 0 }

// slot looks a slot up. One that is not of this feed is an error.
func (o *opening) slot(ctx context.Context, name string) (s slot, err error) {
	s = slot{name: name, wal: walMissing, safe: -1}
	rows, err := o.query(ctx, `SELECT coalesce(plugin, ''), coalesce(database, ''), current_database(), temporary, active,
		coalesce(wal_status, 'lost'), coalesce(confirmed_flush_lsn::text, '0/0'),
		coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8, coalesce(safe_wal_size, -1)
		FROM pg_replication_slots WHERE slot_name = %s`, quote(name))
	if err != nil || len(rows) == 0 {
		return s, err
	}
	r := rows[0]
	plugin, database, own, temporary := string(r[0]), string(r[1]), string(r[2]), string(r[3]) == "t"
	if plugin != "pgoutput" || database != own || temporary {
		return s, fmt.Errorf("%w: the replication slot %s is there already, of plugin %q and database %q (temporary: %v): set Options.Slot to another name",
			ErrSettings, name, plugin, database, temporary)
	}
	s.active = string(r[4]) == "t"
	s.wal = string(r[5])
	if s.confirmed, err = pglogrepl.ParseLSN(string(r[6])); err != nil {
		return s, err
	}
	if s.kept, err = strconv.ParseInt(string(r[7]), 10, 64); err != nil {
		return s, err
	}
	s.safe, err = strconv.ParseInt(string(r[8]), 10, 64)
	return s, err
}

// free ends the process of the server that has a slot, if there is one: the leader that it
// works for may be stopped for ever.
func (o *opening) free(ctx context.Context, name string) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		rows, err := o.query(ctx, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
			WHERE slot_name = %s AND active`, quote(name))
		if code(err) == insufficientPrivilege {
			return fmt.Errorf("%w: the slot %s is in use by another role: GRANT pg_signal_backend TO %s, or end its process: %w",
				ErrRights, name, ident(o.config.User), err)
		}
		if err != nil || len(rows) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pgfeed: the slot %s stays in use: %w", name, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

func (o *opening) dropSlot(ctx context.Context, name string) error {
	for range 5 {
		s, err := o.slot(ctx, name)
		if err != nil || !s.exists() {
			return err
		}
		if err := o.free(ctx, name); err != nil {
			return err
		}
		err = o.exec(ctx, "SELECT pg_drop_replication_slot(%s)", quote(name))
		if code(err) != objectInUse && code(err) != undefinedObject {
			return slotRights(err)
		}
	}
	return fmt.Errorf("pgfeed: the slot %s is taken again and again", name)
}

func (o *opening) copySlot(ctx context.Context, from, to string) error {
	return slotRights(o.exec(ctx, "SELECT pg_copy_logical_replication_slot(%s, %s)", quote(from), quote(to)))
}

// createSlot makes a slot at "now". It waits for the write transactions that are open, of
// all databases of the server.
func (o *opening) createSlot(ctx context.Context, c *conn, name string, temporary bool) error {
	_, err := c.query(ctx, fmt.Sprintf("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', %v)", quote(name), temporary))
	err = o.clean(err)
	if code(err) == queryCanceled {
		return fmt.Errorf("pgfeed: the slot %s could not be made within %v: that waits for the write transactions that are open, of all databases "+
			"(SELECT pid, datname, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start): %w",
			name, o.opt.CreateTimeout, err)
	}
	return slotRights(err)
}

func slotRights(err error) error {
	if code(err) == insufficientPrivilege {
		return fmt.Errorf("%w: as a superuser, ALTER ROLE ... REPLICATION: %w", ErrRights, err)
	}
	return err
}

// reuseWithin is up to which size of the log a slot is used again for a stream that begins
// "now": the server must read all of it.
const reuseWithin = 64 << 20

// begin gets the slots to where the stream begins, and starts it.
func (o *opening) begin(ctx context.Context, s *stream, resume bool, at position) error {
	name := o.opt.Slot
	switch {
	case o.opt.Temporary:
		name += "_" + strings.ToLower(rand.Text()[:8])
		if err := o.createSlot(ctx, o.repl, name, true); err != nil {
			return err
		}
		if err := o.settled(ctx); err != nil {
			return err
		}
	case resume:
		if err := o.goBack(ctx, at.lsn); err != nil {
			return err
		}
		s.pos.last = at.last
	default:
		if err := o.beginNow(ctx); err != nil {
			return err
		}
	}
	rows, err := o.query(ctx, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", quote(name))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return gap("the slot %s is gone", name)
	}
	begins, err := pglogrepl.ParseLSN(string(rows[0][0]))
	if err != nil {
		return err
	}
	if resume {
		if begins > at.lsn {
			return gap("the slot %s does not go back to %v, only to %v", name, at.lsn, begins)
		}
		s.resume(at, begins)
	} else {
		s.beginAt(begins, o.seen, o.seenTo)
	}
	ctx, cancel := context.WithTimeout(ctx, o.opt.Silence)
	defer cancel()
	return o.lost(o.clean(o.repl.startReplication(ctx, name, o.opt.Publication)))
}

// goBack gets the slot to a position, or to an earlier one.
func (o *opening) goBack(ctx context.Context, at pglogrepl.LSN) error {
	name, back := o.opt.Slot, o.back()
	// First: its stream may confirm more until it has ended.
	if err := o.free(ctx, name); err != nil {
		return err
	}
	main, err := o.slot(ctx, name)
	if err != nil {
		return err
	}
	second, err := o.slot(ctx, back)
	if err != nil {
		return err
	}
	if !main.holds(at) {
		if !second.holds(at) {
			return gap("the server has no log since %v: slot %s is %s at %v, slot %s is %s at %v",
				at, name, main.wal, main.confirmed, back, second.wal, second.confirmed)
		}
		if err := o.dropSlot(ctx, name); err != nil {
			return err
		}
		return o.copySlot(ctx, back, name)
	}
	return o.second(ctx, second)
}

// second makes the second slot of the first if it is not there, or lost.
func (o *opening) second(ctx context.Context, second slot) error {
	if second.usable() {
		return nil
	}
	if err := o.dropSlot(ctx, second.name); err != nil {
		return err
	}
	return o.copySlot(ctx, o.opt.Slot, second.name)
}

// beginNow gets the slots ready for a stream that begins now, or earlier.
func (o *opening) beginNow(ctx context.Context) error {
	name, back := o.opt.Slot, o.back()
	main, err := o.slot(ctx, name)
	if err != nil {
		return err
	}
	// A slot that is used again waits for nobody. One that is older than the publication
	// cannot be used.
	if main.usable() && main.wal != "unreserved" && main.kept < reuseWithin && !o.pubMade && !o.remake.Load() {
		if err := o.free(ctx, name); err != nil {
			return err
		}
		second, err := o.slot(ctx, back)
		if err != nil {
			return err
		}
		return o.second(ctx, second)
	}
	for _, name := range []string{name, back} {
		if err := o.dropSlot(ctx, name); err != nil {
			return err
		}
	}
	if err := o.createSlot(ctx, o.sql, name, false); err != nil {
		return err
	}
	o.remake.Store(false)
	if err := o.copySlot(ctx, name, back); err != nil {
		return err
	}
	return o.settled(ctx)
}

// settled waits for transactions that are not visible yet, but whose commit may be in the
// log before the new slot: they will never be told, so a reader must see them when Open
// returns. They become visible within milliseconds, except where their commit waits for a
// synchronous standby. Others that still run do not matter, and may run for long.
func (o *opening) settled(ctx context.Context) error {
	limit, standby := time.Second, o.facts.synchronous != ""
	if standby {
		limit = o.opt.Silence
	}
	end := time.Now().Add(limit)
	var first snapshot
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		rows, err := o.query(ctx, "SELECT pg_current_snapshot()")
		if err != nil {
			return err
		}
		now, err := parseSnapshot(string(rows[0][0]))
		if err != nil {
			return err
		}
		if first.xmax == 0 {
			first = now
		}
		open := 0
		for _, xid := range first.running {
			if !now.sees(uint32(xid)) {
				open++
			}
		}
		if open == 0 {
			return nil
		}
		if time.Now().After(end) {
			if standby {
				return fmt.Errorf("pgfeed: %d transactions were still open %v after the slot was made, and may wait for a synchronous standby", open, limit)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
