package redisl2

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/internal/envelope"
)

// fewest is from how many look-ups on GET is tried first: the script that asks
// whether this server is a master is one command more.
const fewest = 4

// lookFirst answers those requests whose keys have a value with a plain GET each,
// which costs the server a fifth of what acquire.lua does, and returns the
// others. It is for callers who expect values: the others take one more round
// trip. The ping before them refuses on a replica, whose values may be old, as
// acquire.lua does. A cluster has it for the script alone: each of its servers
// would have to be asked.
func (s *Store) lookFirst(ctx context.Context, reqs []aside.LeaseRequest, out []aside.Acquired) (left []int) {
	var asked []int
	for i := range reqs {
		if reqs[i].Expected && reqs[i].StaleFor <= 0 { // GET does not tell what is left to live
			asked = append(asked, i)
		} else {
			left = append(left, i)
		}
	}
	c, err := s.get()
	if n := len(asked); n < fewest || n >= maxBatch || err != nil || c.Mode() == rueidis.ClientModeCluster {
		return every(len(reqs))
	}
	cmds := make([]rueidis.Completed, 1, len(asked)+1)
	cmds[0] = c.B().Evalsha().Sha1(ping.sha).Numkeys(0).Build()
	for _, i := range asked {
		cmds = append(cmds, c.B().Get().Key(reqs[i].Key).Build())
	}
	rs := c.DoMulti(ctx, cmds...)
	if rs[0].Error() != nil {
		if noScript(rs[0]) {
			_ = pingOnce(ctx, c) // so that the server knows it the next time
		}
		return every(len(reqs))
	}
	for j, r := range rs[1:] {
		entry, err := r.AsBytes()
		if err == nil && len(entry) > 0 && (entry[0] == envelope.KindValue || entry[0] == envelope.KindNegative) {
			out[asked[j]] = aside.Acquired{State: aside.StateFound, Entry: entry}
		} else {
			left = append(left, asked[j])
		}
	}
	return left
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
