package redisl2

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// pulse asks each server for a sign of life, behind all that it has to say before
// that on the same connection, news of changes too. So what was known when the
// last ping that is answered was sent has arrived: L1 is as fresh as that. A
// connection on which answers come, but come late, is silence to L1.
type pulse struct {
	mu      sync.Mutex
	acked   time.Time     // when the last ping that was answered was sent
	took    time.Duration // by its answer
	waiting int
}

var errTooLate = errors.New("answers come too late")

// pulsePart is how many pings are sent in SilenceTimeout.
const pulsePart = 8

// watchPulse leaves connections that are too late, and finds out within
// SilenceTimeout that a server is not the master any more, whether or not it is
// used. Connections are made for it: a server that comes back is noticed.
func (s *Store) watchPulse(c rueidis.Client) {
	every := s.silence / pulsePart
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	pulses := map[string]*pulse{}
	var again tries
	for last := time.Now(); ; {
		delay := time.Duration(0)
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		servers := s.servers(c)
		for addr := range pulses {
			if _, ok := servers[addr]; !ok {
				delete(pulses, addr)
			}
		}
		now := time.Now()
		heldUp := now.Sub(last) > s.silence/2 // this process was: answers may wait to be read
		last = now
		for addr, n := range servers {
			p := pulses[addr]
			if p == nil {
				p = &pulse{}
				pulses[addr] = p
			}
			late := p.late(s.conns.since(addr))
			delay = max(delay, p.delay(late, every))
			if late > s.silence-every && !heldUp {
				if left, _ := s.conns.leave(addr, errTooLate); left {
					s.log.Warn("redis answers too late for L1 to be trusted: it is emptied, and the connection left", "addr", addr, "late", late.Round(time.Millisecond))
				}
				continue
			}
			s.beat(addr, n, p)
		}
		s.delay.Store(int64(delay))
		again = s.tryPlainAgain(c, again)
	}
}

// delay is how long a notice takes at most: as long as the last ping, or as the one
// that is not answered yet.
func (p *pulse) delay(late, every time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked.IsZero() {
		return 0
	}
	return max(p.took, late-every)
}

// NoticeDelay implements driver.Noticing: how long the last pings took on the
// connections on which notices come, of several servers the longest.
func (s *Store) NoticeDelay() time.Duration { return time.Duration(s.delay.Load()) }

// late is for how long nothing that was sent has been answered.
func (p *pulse) late(since time.Time, connected bool) time.Duration {
	if !connected {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked.After(since) {
		since = p.acked
	}
	return time.Since(since)
}

func (s *Store) beat(addr string, n rueidis.Client, p *pulse) {
	sent := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= 2*pulsePart {
		return
	}
	p.waiting++
	s.done.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.silence)
		defer cancel()
		r := s.sayPing(ctx, n)
		err := r.Error()
		p.mu.Lock()
		p.waiting--
		if (err == nil || isRedisErr(err)) && sent.After(p.acked) {
			p.acked, p.took = sent, time.Since(sent)
		}
		p.mu.Unlock()
		s.demoted(addr, err)
		if noScript(r) {
			for _, o := range s.watched() {
				_, _ = s.beginAdmission(addr, o) // before somebody has to wait for it
			}
		}
	})
}

// sayPing sends the ping of one of the prefixes, if there is one, with a name that
// MONITOR shows.
func (s *Store) sayPing(ctx context.Context, n rueidis.Client) rueidis.RedisResult {
	if all := s.watched(); len(all) > 0 {
		return n.Do(ctx, n.B().Evalsha().Sha1(all[0].script(ping).sha).Numkeys(0).Arg("pulse").Build())
	}
	return n.Do(ctx, n.B().Eval().Script(ping.src).Numkeys(0).Arg("pulse").Build())
}

// watched returns the scripts of all prefixes that are watched.
func (s *Store) watched() []*own {
	s.watch.mu.RLock()
	defer s.watch.mu.RUnlock()
	all := make([]*own, 0, len(s.watch.by))
	for prefix := range s.watch.by {
		all = append(all, s.own(prefix))
	}
	return all
}

// demoted leaves a server that answered that it is not the master, or not yet. The
// address may have another by now; a new connection finds out. In a cluster it is
// the servers that say where to go.
func (s *Store) demoted(addr string, err error) {
	if err == nil || !notMaster(err) {
		return
	}
	if c := s.client.Load(); c == nil || (*c).Mode() == rueidis.ClientModeCluster {
		return
	}
	if _, log := s.conns.leave(addr, err); log {
		s.log.Warn("redis is not the master, or not yet: connecting again until one is", "error", err)
	}
}

// notMaster reports whether a server refused since it is a replica, or is still
// reading its data.
func notMaster(err error) bool {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return false
	}
	code, _, _ := strings.Cut(re.Error(), " ")
	return code == "READONLY" || code == "MASTERDOWN" || code == "LOADING"
}
