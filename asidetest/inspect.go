package asidetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var (
	_ driver.Inspecting = (*Client)(nil)
	_ driver.Roster     = (*Client)(nil)
)

// Inspect implements driver.Inspecting.
func (c *Client) Inspect(ctx context.Context, key string, most int) (r driver.Raw, err error) {
	err = c.do(ctx, "Inspect", key, func() func() {
		r.Now = time.Now().Truncate(time.Millisecond)
		e, ok := c.s.getLocked(key)
		if !ok {
			return nil
		}
		r.Size, r.Left = len(e.b), -1
		if !e.expires.IsZero() {
			r.Left = e.left()
		}
		r.Entry = append([]byte{}, e.b...)
		if most > 0 && len(r.Entry) > most {
			r.Entry = r.Entry[:most]
		}
		return nil
	})
	if err != nil {
		return driver.Raw{}, err
	}
	return r, nil
}

// Announce implements driver.Roster.
func (c *Client) Announce(ctx context.Context, req driver.AnnounceRequest) (here map[string][]byte, err error) {
	if err := req.Check(); err != nil {
		return nil, fmt.Errorf("asidetest: %w", err)
	}
	var full error
	err = c.do(ctx, "Announce", req.Key, func() (push func()) {
		here, push, full = c.s.announceLocked(req)
		return push
	})
	if err == nil {
		err = full
	}
	if err != nil {
		return nil, err
	}
	return here, nil
}

func (s *Server) announceLocked(req driver.AnnounceRequest) (here map[string][]byte, push func(), err error) {
	e, _ := s.getLocked(req.Key)
	now := time.Now().Truncate(time.Millisecond)
	all, _ := envelope.ParseRoster(e.b)
	all = slices.DeleteFunc(all, func(a envelope.Announced) bool { return !a.Here(now) || a.Node == req.Node })
	all = append(all, envelope.Announced{Since: now, Until: now.Add(max(req.TTL, time.Millisecond)), Node: req.Node, Data: req.Data})
	b := envelope.AppendRoster(nil, all)
	if len(b) > driver.MaxRoster {
		return nil, nil, fmt.Errorf("asidetest: %w: the roster is full", driver.ErrKeyFailed)
	}
	here = make(map[string][]byte, len(all))
	last := now
	for _, a := range all {
		here[a.Node] = bytes.Clone(a.Data)
		if a.Until.After(last) {
			last = a.Until
		}
	}
	return here, s.setLocked(req.Key, b, last.Sub(now)), nil
}
