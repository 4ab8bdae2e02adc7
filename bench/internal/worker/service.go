// Package worker runs measurements in processes of their own: each peer has its
// heap, its collector and its goroutines to itself, stays open between rounds,
// and is idle while others are measured.
//
// A worker is this same program, started again. It is asked over two pipes, in
// JSON-RPC.
package worker

import (
	"context"
	"errors"
	"time"

	"github.com/asidecache/aside/bench/internal/measure"
)

// Service is what a worker does. It has one Session at most. A Go program
// calls it by way of Process.
type Service struct{ session *measure.Session }

// None stands for nothing, which net/rpc has no way to say.
type None struct{}

// StampedeArgs are measure.StampedeArgs, with a time that outlives JSON.
type StampedeArgs struct {
	Key     string
	Callers int
	At      int64 // Unix nanoseconds
}

// ReplayArgs say what to replay.
type ReplayArgs struct {
	Peer, Redis string
	Times       int
}

var errNotOpen = errors.New("worker: no session is open")

func (s *Service) Open(o measure.Options, _ *None) (err error) {
	if s.session != nil {
		s.session.Close()
	}
	s.session, err = measure.Open(context.Background(), o)
	return err
}

func (s *Service) Close(None, *None) error {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
	return nil
}

func (s *Service) Fill(_ None, missing *int64) error {
	return with(s, missing, func(ctx context.Context) (int64, error) { return s.session.Fill(ctx) })
}

func (s *Service) Hits(a measure.HitArgs, r *measure.Sample) error {
	return with(s, r, func(ctx context.Context) (measure.Sample, error) { return s.session.Hits(ctx, a) })
}

func (s *Service) Cold(a measure.ColdArgs, r *measure.Sample) error {
	return with(s, r, func(ctx context.Context) (measure.Sample, error) { return s.session.Cold(ctx, a) })
}

func (s *Service) Writes(a measure.WriteArgs, r *measure.Sample) error {
	return with(s, r, func(ctx context.Context) (measure.Sample, error) { return s.session.Writes(ctx, a) })
}

func (s *Service) Trips(times int, r *measure.Trips) error {
	return with(s, r, func(ctx context.Context) (measure.Trips, error) { return s.session.Trips(ctx, times) })
}

func (s *Service) Stampede(a StampedeArgs, r *measure.Rush) error {
	return with(s, r, func(ctx context.Context) (measure.Rush, error) {
		return s.session.Stampede(ctx, measure.StampedeArgs{Key: a.Key, Callers: a.Callers, At: time.Unix(0, a.At)}), nil
	})
}

func (s *Service) Memory(_ None, r *measure.Memory) error {
	return with(s, r, func(ctx context.Context) (measure.Memory, error) { return s.session.Memory(ctx) })
}

func (s *Service) DataAlone(n int, r *measure.Memory) error {
	*r = measure.DataAlone(n)
	return nil
}

func (s *Service) Stale(a measure.StaleArgs, r *measure.Stale) (err error) {
	*r, err = measure.StaleReads(context.Background(), a)
	return err
}

func (s *Service) Replay(a ReplayArgs, r *measure.Replayed) (err error) {
	*r, err = measure.Replay(context.Background(), a.Peer, a.Redis, a.Times)
	return err
}

// with runs f on the open session. Its context has no end: who asked ends the
// process instead.
func with[T any](s *Service, r *T, f func(context.Context) (T, error)) (err error) {
	if s.session == nil {
		return errNotOpen
	}
	*r, err = f(context.Background())
	return err
}
