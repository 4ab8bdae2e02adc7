package asidetest

import (
	"bytes"
	"context"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var _ driver.Fed = (*Client)(nil)

// DropOlder implements driver.Fed.
func (c *Client) DropOlder(ctx context.Context, reqs []driver.ChangeRequest) []driver.ChangeResult {
	out := make([]driver.ChangeResult, len(reqs))
	for i, r := range reqs {
		out[i].Err = c.do(ctx, "DropOlder", r.Key, func() (push func()) {
			out[i].Left, push = c.s.dropOlderLocked(r)
			return push
		})
	}
	return out
}

func (s *Server) dropOlderLocked(r driver.ChangeRequest) (left bool, push func()) {
	if r.Deleted {
		r.Version = 0
	}
	e, _ := s.getLocked(r.Key)
	version, token, ok := envelope.Head(e.b)
	own := token == r.Writer && token != driver.Token{}
	switch kind := e.kind(); {
	case kind == envelope.KindFence:
		after, own := fenceAfter(e.b, r)
		if bytes.Equal(after, e.b) {
			return own, nil
		}
		return false, s.setLocked(r.Key, after, e.left())
	case kind == envelope.KindNegative && (own || r.Deleted):
		return true, nil
	case kind == envelope.KindValue && (own || ok && r.Version != 0 && version >= r.Version):
		return true, nil
	}
	return false, s.setLocked(r.Key, nil, 0)
}

// fenceAfter returns what a change makes of a fence. own: it is the change of the
// fence's only writer.
func fenceAfter(b []byte, r driver.ChangeRequest) (after []byte, own bool) {
	f, ok := envelope.ParseFence(b)
	switch {
	case ok && f.Shared: // nobody publishes as it is
		return b, false
	case !ok || len(f.Writers) != 1:
		return envelope.MarkFence(b), false
	case f.Writers[0].Token == r.Writer: // alone: its own change
		return b, true
	case r.Version == 0:
		return envelope.MarkFence(b), false
	}
	f.Since = max(f.Since, r.Version)
	return f.Append(nil), false
}

// since reports whether an entry is a value of a version or a newer one.
func since(entry []byte, version uint64) bool {
	v, _, ok := envelope.Head(entry)
	return ok && entry[0] == envelope.KindValue && v >= version
}

// Lead implements driver.Fed.
func (c *Client) Lead(ctx context.Context, req driver.LeadRequest) (l driver.Leadership, err error) {
	err = c.do(ctx, "Lead", req.Key, func() (push func()) {
		l, push = c.s.leadLocked(req)
		return push
	})
	return l, err
}

func (s *Server) leadLocked(req driver.LeadRequest) (driver.Leadership, func()) {
	e, _ := s.getLocked(req.Key)
	now := time.Now().Truncate(time.Millisecond)
	is, _ := envelope.ParseLeader(e.b)
	led := is.Leads(now)
	answer := driver.Leadership{State: bytes.Clone(is.State)}
	switch {
	case led && is.Token != req.Leader:
		answer.Led = true
		return answer, nil
	case req.TTL <= 0 && !led: // nothing to give up
		return answer, nil
	}
	next := envelope.Leader{State: is.State}
	if req.TTL > 0 {
		next.Since, next.Until, next.Token = now, now.Add(max(req.TTL, time.Millisecond)), req.Leader
		answer.Leads, answer.Led = true, true
	}
	if req.State != nil {
		next.State = req.State
	}
	return answer, s.setLocked(req.Key, next.Append(nil), envelope.LeaderKept)
}
