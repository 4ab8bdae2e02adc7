package redisl2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

var _ driver.Fed = (*Store)(nil)

// DropOlder implements driver.Fed.
func (s *Store) DropOlder(ctx context.Context, reqs []driver.ChangeRequest) []driver.ChangeResult {
	out := make([]driver.ChangeResult, len(reqs))
	drop.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			a := args{n: 3}
			if r.Deleted {
				a.of[1] = "1"
			} else if r.Version != 0 {
				a.of[0] = string(binary.BigEndian.AppendUint64(nil, r.Version))
			}
			if r.Writer != (driver.Token{}) {
				a.of[2] = rueidis.BinaryString(r.Writer[:])
			}
			return a
		},
		func(i int, a answer, err error) { out[i] = driver.ChangeResult{Left: a.n == 2, Err: err} })
	return out
}

// Lead implements driver.Fed.
func (s *Store) Lead(ctx context.Context, req driver.LeadRequest) (driver.Leadership, error) {
	a := args{[3]string{rueidis.BinaryString(req.Leader[:]), "0", ""}, 3}
	if req.TTL > 0 {
		a.of[1] = ms(req.TTL)
	}
	if req.State != nil {
		a.of[2] = "=" + string(req.State)
	}
	return runApart(ctx, s, lead, req.Key, a, leadership)
}

// leadership reads the answer of lead.lua.
func leadership(m rueidis.RedisMessage) (l driver.Leadership, err error) {
	a, err := m.ToArray()
	if err != nil || len(a) != 3 {
		return l, fmt.Errorf("redisl2: unexpected answer of lead: %d fields, %v", len(a), err)
	}
	leads, err1 := a[0].AsInt64()
	led, err2 := a[1].AsInt64()
	state, err3 := a[2].AsBytes()
	if err := errors.Join(err1, err2, err3); err != nil {
		return l, fmt.Errorf("redisl2: unexpected answer of lead: %w", err)
	}
	l.Leads, l.Led = leads == 1, led == 1
	if len(state) > 0 {
		l.State = state[1:] // behind the '='
	}
	return l, nil
}
