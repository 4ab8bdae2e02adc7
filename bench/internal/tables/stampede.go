package tables

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/worker"
)

var stampedePeers = []string{
	"aside", "aside-l1", "otter-loader", "sturdyc", "rueidis", "rueidis-cache", "goredis", "redis-cache", "redis-cache-both",
	"rueidisaside", "rockscache", "rockscache-strong", "jetcache", "jetcache-both", "gozero", "sturdyc-redis", "gocache", "gocache-chain",
}

// callers are those of one stampede, in all processes together.
const callers = 1000

var (
	rushProcesses = []int{1, 4}
	rushDelays    = []time.Duration{time.Millisecond, 20 * time.Millisecond}
)

func makeStampede(ctx context.Context, t *run) error {
	t.set("callers", "%d at one time, of one key, evenly over the processes", callers)
	t.set("rounds", "%d, each of %d stampedes for each figure", t.Scale.RushRounds, t.Scale.Rushes)
	err := t.each(ctx, t.Scale.RushRounds, func(ctx context.Context, p peer.Peer, round int) error {
		for _, n := range rushProcesses {
			if n > 1 && !p.Redis {
				continue // nothing joins several processes
			}
			if err := t.stampede(ctx, p, n, round); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range rushProcesses {
		s := report.Section{Name: fmt.Sprint(n), Title: fmt.Sprintf("%d processes", n)}
		if n == 1 {
			s.Title = "1 process"
		}
		for _, d := range rushDelays {
			s.Columns = append(s.Columns, report.Column{ID: rushColumn("loads", n, d), Title: fmt.Sprintf("loads, %v each", d), Spread: true})
		}
		for _, d := range rushDelays {
			s.Columns = append(s.Columns, report.Column{ID: rushColumn("slowest", n, d), Title: fmt.Sprintf("slowest caller ms, loads of %v", d), Decimals: 1, Spread: true})
		}
		s.Chart = s.Columns[len(s.Columns)-1].ID
		s = t.section(s)
		s.Sort(s.Chart, false)
		t.append(s)
	}
	return nil
}

func rushColumn(what string, processes int, delay time.Duration) string {
	return fmt.Sprintf("%s%d-%v", what, processes, delay)
}

// stampede has n processes ask for cold keys, one after the other.
func (t *run) stampede(ctx context.Context, p peer.Peer, n, round int) error {
	s, err := newStation(ctx, p, n)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, d := range rushDelays {
		if err := s.open(ctx, 0, d); err != nil {
			return err
		}
		// The first one finds connections closed and scripts unknown.
		for i := range t.Scale.Rushes + 1 {
			loads, slowest, err := t.rush(ctx, s, fmt.Sprintf("stampede:%d:%d:%v:%d", round, n, d, i))
			if err != nil {
				return err
			}
			if i > 0 {
				t.add(p.ID, rushColumn("loads", n, d), float64(loads))
				t.add(p.ID, rushColumn("slowest", n, d), milliseconds(slowest))
			}
		}
	}
	return nil
}

// rush has all workers of a station call at one time.
func (t *run) rush(ctx context.Context, s *station, key string) (loads int64, slowest time.Duration, err error) {
	for lead := 30 * time.Millisecond; lead < 5*time.Second; lead *= 2 {
		rushes, errs := make([]measure.Rush, len(s.workers)), make([]error, len(s.workers))
		a := worker.StampedeArgs{Key: fmt.Sprint(key, lead), Callers: callers / len(s.workers), At: time.Now().Add(lead).UnixNano()}
		var wg sync.WaitGroup
		for i := range s.workers {
			wg.Go(func() { errs[i] = s.call(ctx, i, "Stampede", a, &rushes[i]) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, 0, err
		}
		late := false
		loads, slowest = 0, 0
		for _, r := range rushes {
			late = late || r.Late
			loads += r.Loads
			slowest = max(slowest, r.Slowest)
			t.note(s.peer.ID, r.Trouble)
		}
		if !late {
			return loads, slowest, nil
		}
	}
	return 0, 0, errors.New("the callers were never ready in time")
}
