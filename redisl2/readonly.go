package redisl2

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// lookReadOnly answers those requests that a master out of memory, or not
// allowed to write for another reason, refused to lease: what it has can be
// read all the same. The others keep their error.
func (s *Store) lookReadOnly(ctx context.Context, reqs []driver.LeaseRequest, out []driver.Grant) {
	var refused []int
	for i := range out {
		if errors.Is(out[i].Err, driver.ErrRefused) {
			refused = append(refused, i)
		}
	}
	if len(refused) == 0 {
		return
	}
	c, err := s.get()
	if err != nil {
		return
	}
	for len(refused) > 0 {
		n := min(len(refused), maxBatch/2)
		cmds := make([]rueidis.Completed, 0, 2*n+1)
		// The server must be the one that refused: see fastGet. It refuses this too.
		if c.Mode() != rueidis.ClientModeCluster {
			cmds = append(cmds, c.B().Evalsha().Sha1(s.own(reqs[refused[0]].Key).script(ping).sha).Numkeys(0).Build())
		}
		for _, i := range refused[:n] {
			cmds = append(cmds, c.B().Get().Key(reqs[i].Key).Build(), c.B().Pttl().Key(reqs[i].Key).Build())
		}
		rs := c.DoMulti(ctx, cmds...)
		if len(rs) > 2*n {
			if err := wrap(rs[0].Error()); err != nil && !errors.Is(err, driver.ErrRefused) {
				return
			}
			rs = rs[1:]
		}
		for j, i := range refused[:n] {
			entry, err := rs[2*j].AsBytes()
			left, err2 := rs[2*j+1].AsInt64()
			if err != nil || err2 != nil || len(entry) == 0 {
				continue
			}
			switch entry[0] {
			case envelope.KindValue:
				if left < 0 || time.Duration(left)*time.Millisecond > envelope.StaleFor(entry) {
					out[i] = driver.Grant{State: driver.StateFound, Entry: entry}
				}
			case envelope.KindNegative:
				out[i] = driver.Grant{State: driver.StateFound, Entry: entry}
			case envelope.KindLease:
				out[i] = driver.Grant{State: driver.StateLeased}
			case envelope.KindFence:
				out[i] = driver.Grant{State: driver.StateFenced}
			}
		}
		refused = refused[n:]
	}
}
