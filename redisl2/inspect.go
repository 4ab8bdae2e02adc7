package redisl2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

var (
	_ driver.Inspecting = (*Store)(nil)
	_ driver.Roster     = (*Store)(nil)
)

// maxInspections is how many inspections have a connection at one moment.
const maxInspections = 8

// Inspect implements driver.Inspecting. It makes a connection for this purpose alone,
// since on the other one the server would begin to track the key. From Redis 7.2 on the
// entry's age for eviction stays what it is, if the user has the right to
// CLIENT NO-TOUCH.
func (s *Store) Inspect(ctx context.Context, key string, most int) (driver.Raw, error) {
	if err := ctx.Err(); err != nil {
		return driver.Raw{}, err
	}
	c, err := s.get()
	if err != nil {
		return driver.Raw{}, err
	}
	select {
	case s.inspections <- struct{}{}:
	case <-ctx.Done():
		return driver.Raw{}, ctx.Err()
	}
	type answer struct {
		raw driver.Raw
		err error
	}
	done := make(chan answer, 1)
	if !s.begin(func() {
		defer func() { <-s.inspections }()
		raw, err := s.inspect(ctx, c, key, most)
		done <- answer{raw, err}
	}) {
		<-s.inspections
		return driver.Raw{}, errClosed
	}
	select {
	case a := <-done:
		return a.raw, a.err
	case <-ctx.Done(): // rueidis connects without it
		return driver.Raw{}, ctx.Err()
	}
}

func (s *Store) inspect(ctx context.Context, c rueidis.Client, key string, most int) (raw driver.Raw, err error) {
	addrs := slices.Sorted(maps.Keys(c.Nodes()))
	if c.Mode() == rueidis.ClientModeCluster {
		addrs = s.topology.of([]string{key}, addrs)
	}
	err = errors.New("redisl2: no server is known")
	for i := 0; i < len(addrs) && ctx.Err() == nil; i++ {
		raw, err = s.inspectAt(ctx, addrs[i], key, most)
		re, ok := rueidis.IsRedisErr(err)
		if !ok {
			return raw, err
		}
		to, moved := re.IsMoved()
		if !moved {
			return raw, err
		}
		if !slices.Contains(addrs, to) && len(addrs) < maxBatch {
			addrs = slices.Insert(addrs, i+1, to)
		}
	}
	return raw, err
}

// inspectAt asks one server. What it has counts only if it is a master that was
// cleared since it started.
func (s *Store) inspectAt(ctx context.Context, addr, key string, most int) (raw driver.Raw, err error) {
	d, err := s.once(addr)
	if err != nil {
		return raw, fmt.Errorf("redisl2: %s: %w", addr, err)
	}
	defer d.Close()
	rs := d.DoMulti(ctx,
		d.B().Arbitrary("CLIENT", "NO-TOUCH", "ON").Build(), // fails before 7.2
		d.B().Eval().Script(ping.src).Numkeys(0).Build(),
		d.B().Evalsha().Sha1(s.own(key).mark.sha).Numkeys(0).Build(),
		d.B().Eval().Script(inspect.src).Numkeys(1).Key(key).Arg(strconv.Itoa(max(0, most))).Build())
	if err := wrap(rs[1].Error()); err != nil && !errors.Is(err, driver.ErrRefused) {
		return raw, fmt.Errorf("redisl2: %s: ping: %w", addr, err)
	}
	a, err := rs[3].ToArray()
	if err != nil { // MOVED too
		return raw, outcome(err)
	}
	if noScript(rs[2]) {
		return raw, fmt.Errorf("redisl2: %s was started again, or is new to this cache: what it has is not used until it has been cleared", addr)
	}
	if err := rs[2].Error(); err != nil {
		return raw, wrap(err)
	}
	return shown(a)
}

// shown reads the answer of inspect.lua.
func shown(a []rueidis.RedisMessage) (raw driver.Raw, err error) {
	var n [3]int64
	for i := 0; i < len(a) && i < len(n); i++ {
		if n[i], err = a[i].AsInt64(); err != nil {
			return raw, fmt.Errorf("redisl2: unexpected answer of inspect: %w", err)
		}
	}
	if len(a) < 2 || len(a) > 4 {
		return raw, fmt.Errorf("redisl2: unexpected answer of inspect: %d fields", len(a))
	}
	raw.Now = time.UnixMilli(n[0])
	if len(a) == 2 {
		return raw, nil
	}
	raw.Left = time.Duration(n[1]) * time.Millisecond
	if raw.Foreign = n[2] < 0; raw.Foreign {
		return raw, nil
	}
	raw.Size = int(n[2])
	raw.Entry, err = a[3].AsBytes()
	if raw.Entry == nil {
		raw.Entry = []byte{}
	}
	return raw, err
}

// Announce implements driver.Roster.
func (s *Store) Announce(ctx context.Context, req driver.AnnounceRequest) (here map[string][]byte, err error) {
	if err := req.Check(); err != nil {
		return nil, fmt.Errorf("redisl2: %w", err)
	}
	return runApart(ctx, s, announce, req.Key, args{[3]string{req.Node, ms(req.TTL), rueidis.BinaryString(req.Data)}, 3}, announced)
}

// announced reads the answer of announce.lua.
func announced(m rueidis.RedisMessage) (map[string][]byte, error) {
	a, err := m.ToArray()
	if err != nil || len(a)%2 != 0 {
		return nil, fmt.Errorf("redisl2: unexpected answer of announce: %d fields, %v", len(a), err)
	}
	here := make(map[string][]byte, len(a)/2)
	for i := 0; i < len(a); i += 2 {
		name, err1 := a[i].ToString()
		data, err2 := a[i+1].AsBytes()
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("redisl2: unexpected answer of announce: %w", err)
		}
		here[name] = data
	}
	return here, nil
}
