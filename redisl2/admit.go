package redisl2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// A server that starts again from its own snapshot brings back entries that are
// older than writes acknowledged since, and fences and leases that have ended. What
// a server process has that no snapshot keeps are its scripts. So the scripts are
// what says that a server can be trusted: they carry the prefix in their text, so
// that they are this cache's own, and they are sent to a server only after what it
// had under the prefix is gone. Whoever runs them gets NOSCRIPT from a server that
// nobody has cleared since it started, as part of the operation itself. So no
// node, whenever it comes, can take an old entry for a good one.
//
// docs/decisions/0012-a-server-is-cleared-before-its-first-script.md has the reasons.

// own is the scripts of one prefix.
type own struct {
	prefix string
	mark   script            // what a server knows that was cleared, whatever scripts it lacks
	by     map[string]script // by the SHA of the script that is every prefix's
	apart  atomic.Bool       // it is no cache's: see Lead and Announce
	// verified is the generation of connections in which one of these has run: see
	// Store.verify.
	verified atomic.Uint64

	nobodys string // a key that nobody has

	mu    sync.Mutex
	ahead []string // see admitAhead
}

// owns hands out what own is for a key.
type owns struct {
	mu sync.RWMutex
	by map[string]*own
}

// of returns the scripts for a key's prefix. A key without one belongs to no cache.
func (os *owns) of(key string, db int, scratch string) *own {
	prefix, _, _ := split(key)
	os.mu.RLock()
	o := os.by[prefix]
	os.mu.RUnlock()
	if o != nil {
		return o
	}
	os.mu.Lock()
	defer os.mu.Unlock()
	if o := os.by[prefix]; o != nil {
		return o
	}
	if os.by == nil {
		os.by = map[string]*own{}
	}
	// A prefix may have any bytes in it. A database has its own data, and the
	// scripts are common to all.
	salt := sha(fmt.Sprintf("%d %s", db, prefix))
	o = &own{prefix: strings.Clone(prefix), by: map[string]script{}}
	o.nobodys = o.prefix + scratch
	o.mark = salted("return 'cleared'", salt)
	for _, sc := range []script{acquire, fill, abandon, evict, fence, release, invalidate, drop, lead, announce, tags, peek, ping} {
		o.by[sc.sha] = salted(sc.src, salt)
	}
	os.by[o.prefix] = o
	return o
}

// apart returns those of the prefixes that are no cache's.
func (os *owns) apart() (all []*own) {
	os.mu.RLock()
	defer os.mu.RUnlock()
	for _, o := range os.by {
		if o.apart.Load() {
			all = append(all, o)
		}
	}
	return all
}

func salted(src, salt string) script {
	src += "\n-- " + salt + "\n"
	return script{src, sha(src)}
}

// script returns the prefix's own form of a script.
func (o *own) script(sc script) script { return o.by[sc.sha] }

// admissions are under way, by address and prefix.
type admissions struct {
	mu     sync.Mutex
	by     map[string]*admission
	runs   map[string]bool // run_id and prefix of servers that were admitted
	closed bool
}

type admission struct {
	done chan struct{}
	err  error
}

// admitTries is how often an operation is tried again: in a cluster the second
// time every server is looked at, since the slot may have gone to one that is not
// known yet.
const admitTries = 2

// admit has the servers of some keys take the scripts of their prefix, and returns
// when they have, or ctx ends: it goes on then.
func (s *Store) admit(ctx context.Context, c rueidis.Client, o *own, try int, keys ...string) error {
	addrs := slices.Collect(maps.Keys(c.Nodes()))
	cluster := c.Mode() == rueidis.ClientModeCluster
	if cluster && try == 0 {
		addrs = s.topology.of(keys, addrs)
	}
	var under []*admission
	for _, addr := range addrs {
		a, err := s.beginAdmission(addr, o)
		if err != nil {
			return err
		}
		under = append(under, a)
	}
	var failed []error
	for _, a := range under {
		if err := a.wait(ctx); err != nil && (!cluster || ctx.Err() != nil) {
			failed = append(failed, err) // a cluster's command tells of its own server
		}
	}
	return errors.Join(failed...)
}

// admitOne is admit of one server.
func (s *Store) admitOne(ctx context.Context, addr string, o *own) error {
	a, err := s.beginAdmission(addr, o)
	if err != nil {
		return err
	}
	return a.wait(ctx)
}

func (a *admission) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return fmt.Errorf("redisl2: the server is new to this cache, or was started again, and is not used until what it had is removed: %w", ctx.Err())
	}
}

func (s *Store) beginAdmission(addr string, o *own) (*admission, error) {
	as := &s.admissions
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.closed {
		return nil, errClosed
	}
	key := addr + " " + o.prefix
	if a := as.by[key]; a != nil {
		return a, nil
	}
	if as.by == nil {
		as.by, as.runs = map[string]*admission{}, map[string]bool{}
	}
	a := &admission{done: make(chan struct{})}
	as.by[key] = a
	s.done.Go(func() {
		a.err = s.admitNow(addr, o)
		as.mu.Lock()
		delete(as.by, key)
		as.mu.Unlock()
		close(a.done)
	})
	return a, nil
}

// admitAhead has the servers that have been found since take the scripts, before an
// operation has to wait for that, and before slots and what is in them come to a
// new master of a cluster.
func (s *Store) admitAhead() {
	c := s.client.Load()
	if c == nil {
		return
	}
	addrs := slices.Collect(maps.Keys((*c).Nodes()))
	if (*c).Mode() == rueidis.ClientModeCluster {
		s.topology.mu.Lock()
		addrs = slices.Clone(s.topology.masters)
		s.topology.mu.Unlock()
	}
	for _, o := range append(s.watched(), s.owns.apart()...) {
		o.mu.Lock()
		fresh := slices.DeleteFunc(slices.Clone(addrs), func(addr string) bool { return slices.Contains(o.ahead, addr) })
		o.ahead = addrs
		o.mu.Unlock()
		for _, addr := range fresh {
			_, _ = s.beginAdmission(addr, o)
		}
	}
}

// begin runs f in a goroutine that Close waits for, unless Close was called.
func (s *Store) begin(f func()) bool {
	s.admissions.mu.Lock()
	defer s.admissions.mu.Unlock()
	if s.admissions.closed {
		return false
	}
	s.done.Go(f)
	return true
}

func (as *admissions) close() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.closed = true
}

// admitNow does it over one connection, which cannot become another server's.
// The order is what counts: the scripts come after all is gone.
func (s *Store) admitNow(addr string, o *own) error {
	d, err := s.once(addr)
	if err != nil {
		return fmt.Errorf("redisl2: %s: %w", addr, err)
	}
	defer d.Close()
	fail := func(what string, err error) error {
		return wrap(fmt.Errorf("redisl2: %s: %s before it is used: %w", addr, what, err))
	}
	// A replica is nobody's to clear. One that is full or cannot save is.
	if err := wrap(d.Do(s.ctx, d.B().Eval().Script(ping.src).Numkeys(0).Build()).Error()); err != nil && !errors.Is(err, driver.ErrRefused) {
		s.demoted(addr, err)
		return fail("ping", err)
	}
	r := d.Do(s.ctx, d.B().Evalsha().Sha1(o.mark.sha).Numkeys(0).Build())
	if err := r.Error(); err != nil && !noScript(r) {
		return fail("EVALSHA", err)
	}
	if o.prefix != "" {
		run := s.runOf(d)
		if noScript(r) && !run.trusted(s, o) {
			n, err := removeAll(s.ctx, d, o, s.width())
			if err != nil {
				return fail("removing what it had under "+o.prefix, err)
			}
			if n > 0 {
				s.log.Info("redis was started again, or is new to this cache: what it had is removed", "addr", addr, "prefix", o.prefix, "entries", n)
			}
		}
		run.admitted(s, o)
	}
	load := append(slices.Collect(maps.Values(o.by)), o.mark)
	cmds := make([]rueidis.Completed, len(load))
	for i, sc := range load {
		cmds[i] = d.B().ScriptLoad().Script(sc.src).Build()
	}
	var refused []script
	for i, r := range d.DoMulti(s.ctx, cmds...) {
		if err := r.Error(); isRedisErr(err) {
			refused = append(refused, load[i])
		} else if err != nil {
			return fail("SCRIPT LOAD", err)
		}
	}
	// EVAL is the only right that is needed: no keys, nothing done. But what came by
	// EVAL Redis 7.4 forgets when 500 others have come.
	for _, sc := range refused {
		if err := d.Do(s.ctx, d.B().Eval().Script(sc.src).Numkeys(0).Build()).Error(); err != nil && !errors.Is(wrap(err), driver.ErrRefused) {
			return fail("EVAL", err)
		}
	}
	return nil
}

// serverRun is what a server says of itself. Without the right to INFO, nothing.
type serverRun struct {
	id       string
	fromPeer bool // it has been another's replica since it started
}

func (s *Store) runOf(d rueidis.Client) (run serverRun) {
	server, err := infoOf(s.ctx, d, "server")
	if err != nil {
		return run
	}
	stats, err := infoOf(s.ctx, d, "stats")
	if err != nil {
		return run
	}
	return serverRun{id: server["run_id"], fromPeer: number(stats, "total_net_repl_input_bytes") > 0}
}

// trusted reports that the server did not begin with a snapshot of its own: it is
// the process that this node knows (somebody called SCRIPT FLUSH); or it had its
// data from a master, as one that a failover made the new master.
func (r serverRun) trusted(s *Store, o *own) bool {
	s.admissions.mu.Lock()
	defer s.admissions.mu.Unlock()
	return r.fromPeer || r.id != "" && s.admissions.runs[r.id+o.prefix]
}

func (r serverRun) admitted(s *Store, o *own) {
	if r.id == "" {
		return
	}
	s.admissions.mu.Lock()
	defer s.admissions.mu.Unlock()
	if len(s.admissions.runs) >= 1024 {
		clear(s.admissions.runs)
	}
	s.admissions.runs[r.id+o.prefix] = true
}

// removeAll invalidates all keys of a prefix on one server, over its own connection,
// with a script that no operation trusts. It stops when another node has done it:
// what is there then is new.
func removeAll(ctx context.Context, d rueidis.Client, o *own, width int) (removed int, err error) {
	if err := d.Do(ctx, d.B().Eval().Script(invalidate.src).Numkeys(0).Build()).Error(); err != nil {
		return 0, err
	}
	for cursor := uint64(0); ; {
		rs := d.DoMulti(ctx,
			d.B().Scan().Cursor(cursor).Match(globEscaper.Replace(o.prefix)+"*").Count(1000).Build(),
			d.B().Evalsha().Sha1(o.mark.sha).Numkeys(0).Build())
		page, err := rs[0].AsScanEntry()
		if err != nil || rs[1].Error() == nil {
			return removed, err
		}
		for keys := page.Elements; len(keys) > 0; {
			var cmds []rueidis.Completed
			for len(keys) > 0 && len(cmds) < maxBatch {
				n := min(width, len(keys))
				cmds = append(cmds, d.B().Evalsha().Sha1(invalidate.sha).Numkeys(int64(n)).Key(keys[:n]...).Build())
				keys = keys[n:]
			}
			for _, r := range d.DoMulti(ctx, cmds...) {
				if err := elsewhere(r.Error()); err != nil {
					return removed, err
				}
				answers, _ := r.ToArray()
				for i := range answers {
					if err := answers[i].Error(); err != nil && !rueidis.IsRedisNil(err) {
						return removed, err
					}
					removed++
				}
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return removed, nil
		}
	}
}

// elsewhere takes away errors of a server that has a key in a slot that is
// another's: nobody reads it there.
func elsewhere(err error) error {
	if re, ok := rueidis.IsRedisErr(err); ok {
		if _, moved := re.IsMoved(); moved {
			return nil
		}
		if _, ask := re.IsAsk(); ask {
			return nil
		}
	}
	return err
}

// once connects to one server, for as long as that connection lasts.
func (s *Store) once(addr string) (rueidis.Client, error) {
	opt := s.opt
	opt.InitAddress = []string{addr}
	opt.Sentinel = rueidis.SentinelOption{}
	opt.ForceSingleClient = true
	opt.DisableCache = true
	opt.OnInvalidations = nil
	opt.ClientName += "-admits"
	opt.DialCtxFn = onlyOnce(s.conns.dialer(func(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		return s.dial(ctx, addr, d, t)
	}, forOnce))
	c, err := rueidis.NewClient(opt)
	if err != nil && c != nil {
		c.Close()
		c = nil
	}
	return c, err
}

// width is how many keys a script is run for at once.
func (s *Store) width() int {
	if c := s.client.Load(); c != nil && (*c).Mode() == rueidis.ClientModeCluster {
		return 1 // a script's keys are of one slot there
	}
	return perScript
}
