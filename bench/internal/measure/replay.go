package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
)

// Replayed says how often a fixed interleaving, replayed Times times, ended with
// a stale read.
type Replayed struct {
	// Join: a read that began after a write was acknowledged is handed what a
	// load brings that read the primary before the write.
	Join int
	// LateFill: a load that read before a write stores what it read after the
	// write was acknowledged, and later reads are given it.
	LateFill int
	// TwoLoads: the same, with a second load under way on the same client that
	// began after the write.
	TwoLoads int
	Times    int
	Trouble  string
}

const (
	// grace is how long a replay waits for what may never happen: a read that
	// shares a load does not come to the primary.
	grace = 50 * time.Millisecond
	// behind is how long a library may take for what it does behind an answer.
	behind = 20 * time.Millisecond
)

// Replay replays the three interleavings, with two clients where the peer can
// have two: reads by way of the first, the write by way of the other.
func Replay(ctx context.Context, id, redis string, times int) (r Replayed, err error) {
	primary := new(record.Primary)
	stops := new(stops)
	primary.After = stops.pass
	ns, err := openNodes(ctx, id, redis, 2, primary)
	if err != nil {
		return r, err
	}
	defer ns.close()
	s := &scene{stops: stops, nodes: ns, reader: ns.clients[0], writer: ns.clients[len(ns.clients)-1]}
	r.Times = times
	for i := range times {
		for name, part := range map[string]struct {
			count *int
			play  func(context.Context, string) (bool, error)
		}{
			"join":      {&r.Join, s.join},
			"late fill": {&r.LateFill, s.lateFill},
			"two loads": {&r.TwoLoads, s.twoLoads},
		} {
			stale, err := part.play(ctx, fmt.Sprintf("replay:%s:%d", name, i))
			if err != nil {
				return r, fmt.Errorf("%s: %w", name, err)
			}
			if stale {
				*part.count++
			}
		}
	}
	r.Trouble = ns.check()
	return r, nil
}

// scene has the actors.
type scene struct {
	*stops
	nodes          *nodes
	reader, writer peer.Client
}

// answer is what a read returned.
type answer struct {
	version int64
	err     error
}

func (s *scene) get(ctx context.Context, c peer.Client, key string) (a answer) {
	t, err := c.Get(ctx, key)
	if err != nil {
		return answer{err: err}
	}
	return answer{version: t.Version}
}

func (s *scene) start(ctx context.Context, c peer.Client, key string) <-chan answer {
	ch := make(chan answer, 1)
	go func() { ch <- s.get(ctx, c, key) }()
	return ch
}

// oldLoad begins a read whose load has read version 1 and goes no further, then
// writes version 2, acknowledged.
func (s *scene) oldLoad(ctx context.Context, key string) (read <-chan answer, load *stop, err error) {
	s.arm(key, 1)
	read = s.start(ctx, s.reader, key)
	if load = s.arrived(time.Minute); load == nil {
		return nil, nil, errors.New("no load was begun")
	}
	if _, err = s.nodes.write(ctx, s.writer, key); err != nil {
		load.open()
		<-read
	}
	return read, load, err
}

func (s *scene) join(ctx context.Context, key string) (stale bool, err error) {
	first, load, err := s.oldLoad(ctx, key)
	if err != nil {
		return false, err
	}
	second := s.start(ctx, s.reader, key)
	var late answer
	select { // it has read for itself, or it waits for the first
	case late = <-second:
		load.open()
	case <-time.After(grace):
		load.open()
		late = <-second
	}
	early := <-first
	return late.version < 2, errors.Join(early.err, late.err)
}

func (s *scene) lateFill(ctx context.Context, key string) (stale bool, err error) {
	first, load, err := s.oldLoad(ctx, key)
	if err != nil {
		return false, err
	}
	load.open()
	early := <-first
	stale, err = s.afterwards(ctx, key)
	return stale, errors.Join(early.err, err)
}

func (s *scene) twoLoads(ctx context.Context, key string) (stale bool, err error) {
	first, load, err := s.oldLoad(ctx, key)
	if err != nil {
		return false, err
	}
	s.arm(key, 1)
	second := s.start(ctx, s.reader, key)
	other := s.arrived(grace)
	if other == nil { // it shares the first load, unless it came just now
		other = s.disarm()
	}
	load.open()
	// Time to store what it read. It may as well wait for the second load, having
	// seen that there was a write.
	time.Sleep(grace)
	if other != nil {
		other.open()
	}
	early, late := <-first, <-second
	stale, err = s.afterwards(ctx, key)
	return stale, errors.Join(early.err, late.err, err)
}

// afterwards reads by way of every client when all has ended.
func (s *scene) afterwards(ctx context.Context, key string) (stale bool, err error) {
	time.Sleep(behind)
	for _, c := range s.nodes.clients {
		a := s.get(ctx, c, key)
		stale = stale || a.version < 2
		err = errors.Join(err, a.err)
	}
	return stale, err
}

// stops hold up loads that have read the primary.
type stops struct {
	mu   sync.Mutex
	key  string
	left int // loads of key to hold up
	came chan *stop
}

// stop is one load that is held up.
type stop struct {
	once sync.Once
	ch   chan struct{}
}

func (s *stop) open() { s.once.Do(func() { close(s.ch) }) }

// arm holds up the next n loads of key.
func (s *stops) arm(key string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.left, s.came = key, n, make(chan *stop, n)
}

// disarm holds up no further loads, and returns one that is held up and that
// nobody has asked for.
func (s *stops) disarm() *stop {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = 0
	select {
	case st := <-s.came:
		return st
	default:
		return nil
	}
}

// arrived waits for a load; nil if none comes within limit.
func (s *stops) arrived(limit time.Duration) *stop {
	s.mu.Lock()
	came := s.came
	s.mu.Unlock()
	select {
	case st := <-came:
		return st
	case <-time.After(limit):
		return nil
	}
}

func (s *stops) pass(_ context.Context, key string, _ int64) error {
	s.mu.Lock()
	if s.left == 0 || key != s.key {
		s.mu.Unlock()
		return nil
	}
	s.left--
	st := &stop{ch: make(chan struct{})}
	s.came <- st
	s.mu.Unlock()
	<-st.ch
	return nil
}
