package pgfeed

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/asidecache/aside/driver"
)

// queueLimit is how many changes may wait for Next before nothing more is read.
const queueLimit = 4 * joined

// queueTxns is how many transactions may.
const queueTxns = 4 * joined

// reader collects what the server sends into transactions.
type reader struct {
	*stream
	relations map[uint32]relation

	tx      *txn // under way
	begun   pglogrepl.BeginMessage
	index   map[string]int // of a key in tx.changes
	writer  driver.Token
	marked  bool
	writers bool // two of them
	skip    bool // the transaction need not be told

	skipTo mark // up to it all has been told
	proven bool // the log has skipTo; guarded by mu

	seen   *snapshot // what it sees need not be told, before seenTo
	seenTo pglogrepl.LSN

	partitioned bool // the table is
}

// relation is what the server says of a table.
type relation struct {
	ours         bool
	key, version int // columns; version is -1 if there is none
}

func (r *reader) run() {
	r.relations = map[uint32]relation{}
	for {
		msg, err := r.repl.front.Receive()
		if err == nil {
			err = r.message(msg)
		} else {
			err = r.clean(err)
		}
		if err != nil {
			_ = r.fail(err)
			return
		}
	}
}

func (r *reader) message(msg pgproto3.BackendMessage) error {
	switch msg := msg.(type) {
	case *pgproto3.CopyData:
		return r.data(msg.Data)
	case *pgproto3.ErrorResponse:
		return r.lost(r.clean(pgconn.ErrorResponseToPgError(msg)))
	case *pgproto3.CopyDone, *pgproto3.CommandComplete:
		return r.clean(errors.New("the server ended the stream"))
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		return nil
	default:
		return r.clean(fmt.Errorf("unexpected message %T", msg))
	}
}

func (r *reader) data(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	switch b[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		m, err := pglogrepl.ParsePrimaryKeepaliveMessage(b[1:])
		if err != nil {
			return r.clean(err)
		}
		if err := r.reached(m.ServerWALEnd); err != nil {
			return err
		}
		if m.ReplyRequested {
			return r.tell(false)
		}
		return nil
	case pglogrepl.XLogDataByteID:
		m, err := pglogrepl.ParseXLogData(b[1:])
		if err != nil {
			return r.clean(err)
		}
		return r.change(m.WALData)
	}
	return nil
}

// reached: the server has sent all that it had to up to end.
func (r *reader) reached(end pglogrepl.LSN) error {
	if r.tx != nil {
		return nil
	}
	if err := r.prove(mark{end: end}); err != nil {
		return err
	}
	if end >= r.seenTo {
		r.seen = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.walEnd = max(r.walEnd, end)
	r.restLocked()
	return nil
}

// prove checks that the transaction that was told last is in the log at its place. In the
// log of a server that was restored from a backup there is another one, or none.
func (r *reader) prove(at mark) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proven || at.end < r.skipTo.end {
		return nil
	}
	if at != r.skipTo {
		return gap("the transaction %d, which was told last, is not in the log at %v: the server was restored", r.skipTo.xid, r.skipTo.end)
	}
	r.proven = true
	return nil
}

func (r *reader) change(b []byte) error {
	if len(b) == 0 {
		return r.clean(errors.New("empty message"))
	}
	if r.tx != nil && r.tx.all {
		switch pglogrepl.MessageType(b[0]) {
		case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete:
			return nil // a million of them, perhaps
		}
	}
	m, err := pglogrepl.Parse(b)
	if err != nil {
		return r.clean(err)
	}
	switch m := m.(type) {
	case *pglogrepl.BeginMessage:
		r.begun = *m
		r.tx = &txn{}
		r.index = map[string]int{}
		r.marked, r.writers = false, false
		r.skip = m.FinalLSN < r.skipTo.end
		if r.seen != nil && m.FinalLSN >= r.seenTo {
			r.seen = nil
		}
		r.skip = r.skip || r.seen != nil && r.seen.sees(m.Xid)
		if r.skip {
			r.tx.all = true // its rows are not looked at
		}
		r.mu.Lock()
		r.inTx = true
		r.mu.Unlock()
	case *pglogrepl.CommitMessage:
		return r.commit(m)
	case *pglogrepl.RelationMessage:
		return r.relation(m)
	case *pglogrepl.LogicalDecodingMessage:
		if m.Transactional && m.Prefix == markPrefix && len(m.Content) == driver.TokenLen {
			writer := driver.Token(m.Content)
			r.writers = r.writers || r.marked && writer != r.writer
			r.writer, r.marked = writer, true
		}
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if r.relations[id].ours {
				r.everything()
			}
		}
	case *pglogrepl.InsertMessage:
		return r.row(m.RelationID, nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		return r.row(m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return r.row(m.RelationID, m.OldTuple, nil)
	}
	return nil
}

func (r *reader) relation(m *pglogrepl.RelationMessage) error {
	rel := relation{key: -1, version: -1}
	rel.ours = m.Namespace == r.table.schema && m.RelationName == r.table.name
	for i, c := range m.Columns {
		switch c.Name {
		case r.opt.Key:
			rel.key = i
			// Of a partitioned table, the partitions' replica identity matters.
			if !r.partitioned && m.ReplicaIdentity != 'f' && c.Flags&1 == 0 {
				rel.key = -1
			}
		case r.opt.Version:
			rel.version = i
		}
	}
	r.relations[m.RelationID] = rel
	if rel.ours && rel.key < 0 {
		return gap("the table %s has no key column %q any more, or it is no part of the replica identity", r.table, r.opt.Key)
	}
	return nil
}

// row notes the change of a row: old is nil if it is new, or its identity is as before, and
// new is nil if it was deleted.
func (r *reader) row(id uint32, old, new *pglogrepl.TupleData) error {
	rel, ok := r.relations[id]
	if !ok || r.tx == nil {
		return r.clean(fmt.Errorf("a change of table %d, which was not described", id))
	}
	if !rel.ours || r.tx.all {
		return nil
	}
	before, hasBefore, err := text(old, rel.key)
	if err != nil {
		return r.clean(err)
	}
	after, hasAfter, err := text(new, rel.key)
	if err != nil {
		return r.clean(err)
	}
	if new != nil && !hasAfter && new.Columns[rel.key].DataType == pglogrepl.TupleDataTypeToast {
		if !hasBefore { // a long key that stayed, and is not told
			r.everything()
			return nil
		}
		after, hasAfter = before, true
	}
	if hasBefore && (new == nil || !hasAfter || before != after) {
		r.add(before, 0, true)
	}
	if hasAfter {
		r.add(after, versionOf(new, rel.version), false)
	}
	return nil
}

// text is a column of a row.
func text(t *pglogrepl.TupleData, column int) (s string, ok bool, err error) {
	if t == nil {
		return "", false, nil
	}
	if column >= len(t.Columns) {
		return "", false, errors.New("a row with too few columns")
	}
	c := t.Columns[column]
	return string(c.Data), c.DataType == pglogrepl.TupleDataTypeText, nil
}

// versionOf is 0 if the version is not known.
func versionOf(t *pglogrepl.TupleData, column int) uint64 {
	if column < 0 {
		return 0
	}
	s, ok, err := text(t, column)
	if !ok || err != nil {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return 0
	}
	return uint64(v)
}

// add notes what a record has become. Of several changes in a transaction, others see the
// last one only.
func (r *reader) add(key string, version uint64, deleted bool) {
	if r.tx.all {
		return
	}
	if r.opt.KeyOf != nil {
		var ok bool
		if key, ok = r.keyOf(key); !ok {
			r.everything()
			return
		}
	}
	c := driver.Change{Key: key, Version: version, Deleted: deleted}
	if i, ok := r.index[key]; ok {
		r.tx.changes[i] = r.tx.changes[i].Then(c)
		return
	}
	if len(r.tx.changes) >= r.opt.MaxChanges {
		r.everything()
		return
	}
	r.index[key] = len(r.tx.changes)
	r.tx.changes = append(r.tx.changes, c)
}

// keyOf calls Options.KeyOf. ok is false if it panics: which record has changed is not known then.
func (f *Feed) keyOf(text string) (key string, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			f.panicked(p)
		}
	}()
	return f.opt.KeyOf(text), true
}

const panicLogEvery = 10 * time.Second

func (f *Feed) panicked(p any) {
	now := time.Now().UnixNano()
	if last := f.panicLogged.Load(); now-last < int64(panicLogEvery) || !f.panicLogged.CompareAndSwap(last, now) {
		return
	}
	f.opt.Logger.Error("pgfeed: Options.KeyOf panicked, so all records are told to have changed",
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// everything: the transaction may have changed every record. That is told at once, since
// it was committed before its first row came, and its last one may come much later.
func (r *reader) everything() {
	r.tx.all, r.tx.changes, r.index = true, nil, nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proven {
		r.huge = &huge{xid: r.begun.Xid}
		r.wakeUp()
	}
}

func (r *reader) commit(m *pglogrepl.CommitMessage) error {
	tx := r.tx
	if tx == nil {
		return r.clean(errors.New("a commit without a begin"))
	}
	tx.mark = markOf(m.TransactionEndLSN, r.begun.Xid, m.CommitTime)
	r.tx, r.index = nil, nil
	if r.marked && !r.writers {
		for i := range tx.changes {
			tx.changes[i].Writer = r.writer
		}
	}
	if err := r.prove(tx.mark); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inTx = false
	tx.huge, r.huge = r.huge, nil
	if !r.skip {
		for len(r.queue) > 0 && (r.queued+len(tx.changes) > queueLimit || len(r.queue) >= queueTxns) && r.err == nil {
			r.waiting = true
			r.room.Wait()
			r.waiting = false
		}
		r.queue = append(r.queue, tx)
		r.queued += len(tx.changes)
	}
	r.walEnd = max(r.walEnd, tx.end) // with the transaction in the queue, not while that has no room
	r.restLocked()
	return nil
}
