package pgfeed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// conn is a connection that pgconn has made, without its state and goroutines: a stream
// is read and written at the same time, and ends at once when it is closed.
type conn struct {
	net   net.Conn
	front *pgproto3.Frontend
	heard *atomic.Int64 // when something was received last, in nanoseconds since 1970
	write sync.Mutex    // held while a message is written

	mu     sync.Mutex // held during a query
	broken error      // why no further query is possible
}

// connect opens a connection, for replication too.
func (f *Feed) connect(ctx context.Context, replication bool) (*conn, error) {
	cfg := f.config.Copy()
	for name, value := range map[string]string{
		"client_encoding":             "UTF8",
		"standard_conforming_strings": "on",
		"idle_session_timeout":        "0",
		"statement_timeout":           fmt.Sprint(f.opt.CreateTimeout.Milliseconds()),
	} {
		cfg.RuntimeParams[name] = value
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = f.opt.Slot
	}
	if replication {
		cfg.RuntimeParams["replication"] = "database"
		// A server that reads a large transaction of other tables says nothing but for
		// this: after half of it. Whoever has set it knows better.
		if cfg.RuntimeParams["wal_sender_timeout"] == "" {
			cfg.RuntimeParams["wal_sender_timeout"] = fmt.Sprint((f.opt.Silence / 2).Milliseconds())
		}
	}
	if len(cfg.Fallbacks) > 0 && cfg.ValidateConnect == nil {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // of several hosts, the primary
	}
	heard := new(atomic.Int64)
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return heardConn{c, heard}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.opt.Silence)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err == nil {
		err = pg.SyncConn(ctx)
	}
	if err != nil {
		return nil, f.clean(err)
	}
	hijacked, err := pg.Hijack()
	if err != nil {
		return nil, f.clean(err)
	}
	return &conn{net: hijacked.Conn, front: hijacked.Frontend, heard: heard}, nil
}

// heardConn notes when bytes come.
type heardConn struct {
	net.Conn
	heard *atomic.Int64
}

func (c heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *conn) close() { _ = c.net.Close() }

// row is one of a result; nil is NULL.
type row [][]byte

// query runs a statement and returns its rows. The text has no parameters: the replication
// protocol knows only this way. An error of the network, or the end of ctx, ends the
// connection.
func (c *conn) query(ctx context.Context, sql string) ([]row, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Not the deadline of ctx itself: the network could notice it before ctx does.
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	rows, err := c.exchange(sql, func(any) bool { return false })
	if !stop() && c.broken == nil {
		c.broken = context.Cause(ctx)
	}
	_ = c.net.SetDeadline(time.Time{})
	if c.broken != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return rows, err
}

// exchange sends a statement and reads until the server is ready for the next, or until
// ends returns true for a message.
func (c *conn) exchange(sql string, ends func(any) bool) (rows []row, err error) {
	broken := func(cause error) ([]row, error) {
		if err == nil { // what the server said before is better
			err = cause
		}
		c.broken = err
		return nil, err
	}
	c.front.Send(&pgproto3.Query{String: sql})
	if err := c.front.Flush(); err != nil {
		return broken(err)
	}
	for {
		msg, failed := c.front.Receive()
		if failed != nil {
			return broken(failed)
		}
		if ends(msg) {
			return rows, nil
		}
		switch msg := msg.(type) {
		case *pgproto3.RowDescription:
			rows = nil
		case *pgproto3.DataRow:
			r := make(row, len(msg.Values))
			for i, v := range msg.Values {
				if v != nil {
					r[i] = append([]byte{}, v...)
				}
			}
			rows = append(rows, r)
		case *pgproto3.ErrorResponse:
			err = pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.ReadyForQuery:
			return rows, err
		}
	}
}

// startReplication begins the stream. From then on there are no queries.
func (c *conn) startReplication(ctx context.Context, slot, publication string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	started := false
	_, err := c.exchange(fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names %s, messages 'true')",
		ident(slot), quote(ident(publication))), func(msg any) bool {
		_, started = msg.(*pgproto3.CopyBothResponse)
		return started
	})
	if !stop() {
		return context.Cause(ctx)
	}
	_ = c.net.SetDeadline(time.Time{})
	if err == nil && !started {
		err = errors.New("pgfeed: START_REPLICATION started nothing")
	}
	return err
}

// status tells the server what has been handled.
func (c *conn) status(confirmed pglogrepl.LSN, reply bool, limit time.Duration) error {
	b := make([]byte, 0, 5+34)
	b = append(b, 'd')
	b = binary.BigEndian.AppendUint32(b, 4+34)
	b = append(b, pglogrepl.StandbyStatusUpdateByteID)
	for range 3 { // written, flushed, applied
		b = binary.BigEndian.AppendUint64(b, uint64(confirmed))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(time.Since(epoch).Microseconds()))
	if reply {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.net.SetWriteDeadline(time.Now().Add(limit))
	_, err := c.net.Write(b)
	return err
}

// epoch is where PostgreSQL's clock begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// cleaned is an error without the password in its text.
type cleaned struct {
	text string
	err  error
}

func (e cleaned) Error() string { return e.text }
func (e cleaned) Unwrap() error { return e.err }

// clean takes the password out of an error's text.
func (f *Feed) clean(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if p := f.config.Password; p != "" {
		text = strings.ReplaceAll(text, p, "xxxxx")
	}
	return cleaned{"pgfeed: PostgreSQL at " + f.where() + ": " + text, err}
}

// where is the server's address.
func (f *Feed) where() string {
	if strings.HasPrefix(f.config.Host, "/") {
		return f.config.Host
	}
	return net.JoinHostPort(f.config.Host, fmt.Sprint(f.config.Port))
}

// code is the SQLSTATE of an error, "" if there is none.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
