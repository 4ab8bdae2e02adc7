package redisl2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var _ driver.Reporting = (*Store)(nil)

// health is what a Store knows of its servers without being used.
type health struct {
	scratch  string                // the last part of the self-test's keys
	down     atomic.Pointer[error] // why the servers are not used: no connection yet, or ErrUnusable
	trouble  atomic.Pointer[error] // what is wrong otherwise; operations are tried all the same
	since    atomic.Int64          // when one of these came, in Unix nanoseconds; 0: there is none
	untested atomic.Bool           // whether the keys can be used, since no cache was known
	wake     chan struct{}         // asks mind to look now
}

func (h *health) init() {
	h.scratch = fmt.Sprintf("selftest-%x", envelope.NewToken())
	h.wake = make(chan struct{}, 1)
}

// look has the servers looked at soon.
func (h *health) look() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// ill notes what is wrong, in down or in trouble.
func (h *health) ill(what *atomic.Pointer[error], err error) (first bool) {
	h.since.CompareAndSwap(0, time.Now().UnixNano()) // before: State has no error without it
	return what.Swap(&err) == nil
}

// well notes that nothing is wrong any more.
func (h *health) well() {
	h.trouble.Store(nil)
	h.down.Store(nil)
	h.since.Store(0)
}

// State implements driver.Reporting.
func (s *Store) State() error {
	if s.ctx.Err() != nil {
		return errClosed
	}
	err := s.state()
	if since := s.health.since.Load(); err != nil && since != 0 {
		return &driver.Outage{Err: err, Since: time.Unix(0, since)}
	}
	return err
}

func (s *Store) state() error {
	if err := s.health.down.Load(); err != nil {
		if errors.Is(*err, ErrUnusable) {
			return *err
		}
		return fmt.Errorf("redisl2: not connected: %w", *err)
	}
	if err := s.health.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Check tries everything that a cache will ask the servers for, on a key of its own
// under the prefix of each cache that uses this Store. It returns nil if all of it
// works, an error that matches ErrUnusable if that cannot come of waiting, and
// another one if the servers cannot be reached, or not be used, at present. Call it
// after the caches were made, to refuse to start with what an operator must repair:
// Open returns without an error then, and goes on trying.
func (s *Store) Check(ctx context.Context) error {
	c := s.client.Load()
	if c == nil {
		return s.State()
	}
	err := s.test(ctx, *c)
	s.health.look() // so that State agrees
	return err
}

const (
	// restLook is how often at most the servers are looked at because a connection
	// was lost, or rights were missing.
	restLook = 100 * time.Millisecond
	// An outage is looked at again after these times, each twice the one before.
	firstLook, lastLook = 50 * time.Millisecond, time.Second
	// The same for what somebody must repair.
	firstUnusable, lastUnusable = time.Second, 5 * time.Second
	// logAgain is how often an outage that lasts is logged.
	logAgain = time.Minute
)

// mind connects, and looks at the servers whenever something hints that they may
// not be what they were: until all is well.
func (s *Store) mind(err error) {
	var (
		wait   time.Duration // 0: all is well
		said   error         // what the log says of this outage
		saidAt time.Time
		looked = time.Now()
		first  = true
	)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		switch {
		case err == nil:
			if said != nil {
				s.log.Info("redis reached", "addr", s.opt.InitAddress)
			}
			wait, said = 0, nil
			timer.Stop()
		default:
			least, most := firstLook, lastLook
			if errors.Is(err, ErrUnusable) {
				least, most = firstUnusable, lastUnusable
			}
			wait = min(max(least, 2*wait), most)
			timer.Reset(wait)
			if first && errors.Is(err, ErrUnusable) {
				break // the program may ask Check, and say it itself
			}
			if said == nil || errors.Is(err, ErrUnusable) && said.Error() != err.Error() || time.Since(saidAt) > logAgain {
				said, saidAt = err, time.Now()
				what := "redis cannot be reached, will keep trying"
				if errors.Is(err, ErrUnusable) {
					what = "redis cannot be used as it is set up, will keep trying"
				}
				s.log.Warn(what, "addr", s.opt.InitAddress, "error", err)
			}
		}
		first = false
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		case <-s.health.wake:
			if !s.sleep(s.ctx, time.Until(looked.Add(restLook))) {
				return
			}
		}
		err = s.lookNow()
		looked = time.Now()
	}
}

// sleep returns false as soon as ctx or the Store has ended.
func (s *Store) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// lookNow connects, or tests the servers that it is connected to.
func (s *Store) lookNow() error {
	c := s.client.Load()
	if c == nil {
		return s.connect()
	}
	ctx, cancel := context.WithTimeout(s.ctx, 2*s.opt.ConnWriteTimeout)
	defer cancel()
	err := s.test(ctx, *c)
	s.judge(err)
	return err
}

// judge keeps what a self-test came to. Servers that cannot be used are not: an
// operation that needs a right seldom would fail when it is needed, and what L1 has
// may not be kept current.
func (s *Store) judge(err error) {
	if s.ctx.Err() != nil {
		return
	}
	switch {
	case err == nil:
		s.health.well()
	case errors.Is(err, ErrUnusable):
		if s.health.ill(&s.health.down, err) {
			s.watch.lost()
		}
	default:
		s.health.ill(&s.health.trouble, err)
	}
}

// refusedOne is told of the answer for a key: a right that is missing now was
// there, or was not known to be needed.
func (s *Store) refusedOne(err error) {
	if lacksRight(err) {
		s.health.look()
	}
}

// whoFailed finds out which sentinel, or which server behind them, refused a
// connection: the client library tells its last error alone.
func (s *Store) whoFailed(err error) error {
	set, who := s.opt.Sentinel.MasterSet, strings.Join(s.opt.InitAddress, ", ")
	_, answer := rueidis.IsRedisErr(err)
	answer = answer || rueidis.IsRedisNil(err) || errors.Is(err, rueidis.ErrNoCache)
	switch explained := explain(err, who, ""); {
	case !answer && !errors.Is(explained, ErrUnusable):
		return s.overhear(err)
	case !answer, set == "":
		return explained
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.Dialer.Timeout)
	defer cancel()
	for _, addr := range s.opt.InitAddress {
		master, found := s.askSentinel(ctx, addr, set)
		if found != nil {
			if errors.Is(found, ErrUnusable) {
				return found
			}
			continue // another may answer
		}
		return explain(err, "the master at "+master, "")
	}
	return err
}

// overhear connects to the first address in the plain and listens to what is said
// there: a server that takes nobody in says why before it closes, which the client
// library does not tell, and one that speaks no TLS says nothing to those who do.
func (s *Store) overhear(err error) error {
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "dial" || strings.HasPrefix(s.opt.InitAddress[0], "/") { // a socket
		return err
	}
	const limit = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	c, dialErr := s.dial(ctx, s.opt.InitAddress[0], &net.Dialer{}, nil)
	if dialErr != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if s.opt.TLSConfig != nil {
		_, _ = c.Write([]byte("PING\r\n"))
	}
	line, _ := bufio.NewReader(io.LimitReader(c, 512)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch said, ok := strings.CutPrefix(line, "-"); {
	case s.opt.TLSConfig != nil && (ok || strings.HasPrefix(line, "+")):
		return cannot(err, "%s: no TLS is spoken there: use redis:// or another port", s.opt.InitAddress[0])
	case s.opt.TLSConfig == nil && ok:
		return explain(fmt.Errorf("%s (%w)", firstLine(errors.New(said)), err), s.opt.InitAddress[0], "")
	}
	return err
}

// askSentinel does what the client library does with a sentinel, step by step.
func (s *Store) askSentinel(ctx context.Context, addr, set string) (master string, err error) {
	who := "the sentinel at " + addr
	opt := s.opt
	opt.InitAddress = []string{addr}
	opt.ForceSingleClient, opt.DisableCache = true, true
	opt.OnInvalidations, opt.ClientName, opt.SelectDB = nil, "", 0
	opt.Username, opt.Password = s.opt.Sentinel.Username, s.opt.Sentinel.Password
	opt.Dialer, opt.TLSConfig = s.opt.Sentinel.Dialer, s.opt.Sentinel.TLSConfig
	opt.Sentinel = rueidis.SentinelOption{}
	c, err := rueidis.NewClient(opt)
	if err != nil {
		if c != nil {
			c.Close()
		}
		return "", explain(err, who, "")
	}
	defer c.Close()
	for _, args := range [][]string{{"CLIENT", "TRACKING", "ON"}, {"SENTINEL", "SENTINELS", set}, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", set}} {
		r := c.Do(ctx, c.B().Arbitrary(args...).Build())
		if err := r.Error(); rueidis.IsRedisNil(err) {
			return "", cannot(err, "%s: the sentinel knows no master of this name: correct master_set", who)
		} else if err != nil {
			return "", explain(err, who, args[0]+" "+args[1])
		}
		if a, err := r.AsStrSlice(); err == nil && len(a) == 2 {
			master = a[0] + ":" + a[1]
		}
	}
	return master, nil
}
