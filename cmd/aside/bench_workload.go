package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
)

// BenchWorkload are the flags of the requests of "aside bench".
type BenchWorkload struct {
	IDs          *ids.Range `name:"ids" help:"The ids to request. Default: the ids that the server lists." placeholder:"FIRST-LAST" group:"Workload"`
	Pick         string     `help:"How to choose ids. uniform: every id with the same probability. zipf: the n-th most popular id with a probability proportional to 1/n^s. hot: a few ids get most of the requests. These three never end by themselves. scan: every id once, in order; the run ends after the last." enum:"uniform,zipf,hot,scan" default:"uniform" group:"Workload"`
	ZipfExponent float64    `help:"With --pick zipf: the exponent s, greater than 0. A larger s sends more requests to the most popular ids. Usual values are 0.8 to 1." default:"0.99" placeholder:"S" group:"Workload"`
	HotRequests  share      `help:"With --pick hot: share of the requests that go to the hot ids." default:"90%" group:"Workload"`
	HotIDs       share      `name:"hot-ids" help:"With --pick hot: share of the ids that are hot." default:"10%" group:"Workload"`
	Trace        string     `help:"Request the ids in FILE, one per line, in their order, instead of --ids and --pick. The run ends after the last. - reads standard input." placeholder:"FILE" group:"Workload"`
	Repeat       bool       `help:"With --pick scan or --trace: start again after the last id." group:"Workload"`
	Seed         uint64     `help:"Seed of the random choices. The same seed and number of users make the same choices. The seed also decides which ids are popular." default:"1" group:"Workload"`
	Create       share      `help:"Share of the requests that create a record, such as 5% or 0.05." default:"0" group:"Workload"`
	Update       share      `help:"Share of the requests that change the name of a record. --pick or --trace chooses the record." default:"0" group:"Workload"`
	Delete       share      `help:"Share of the requests that delete a record that the run has created. If there is none, the request creates one." default:"0" group:"Workload"`
	OwnShare     share      `name:"own" help:"Share of the reads and updates that go to records that the run has created." default:"10%" group:"Workload"`
	KeepCreated  bool       `help:"Do not delete the records that the run has created." group:"Workload"`
}

func (w *BenchWorkload) mix() bench.Mix {
	m := bench.Mix{Create: float64(w.Create), Update: float64(w.Update), Delete: float64(w.Delete)}
	if m.Create > 0 || m.Delete > 0 {
		m.Own = float64(w.OwnShare)
	}
	return m
}

func (w *BenchWorkload) checkWorkload() error {
	var errs []error
	if w.Repeat && w.Pick != "scan" && w.Trace == "" {
		errs = append(errs, errors.New("--repeat needs --pick scan or --trace: the other workloads never end anyway"))
	}
	if w.Trace != "" && w.Pick != "uniform" {
		errs = append(errs, fmt.Errorf("--trace and --pick %s exclude each other: choose one", w.Pick))
	}
	if w.Trace != "" && w.Trace != "-" {
		if f, err := os.Stat(w.Trace); err != nil {
			errs = append(errs, fmt.Errorf("--trace: %w", err))
		} else if f.IsDir() {
			errs = append(errs, fmt.Errorf("--trace: %s is a directory", w.Trace))
		}
	}
	return errors.Join(errs...)
}

// asks reports whether the server must be asked for its ids: none are given, and some
// requests need them.
func (w *BenchWorkload) asks(warmUpOnce bool) bool {
	m := w.mix()
	return w.IDs == nil && w.Trace == "" && (warmUpOnce || m.Create+m.Delete < 1)
}

// given returns the ids of --ids.
func (w *BenchWorkload) given() ids.Range {
	if w.IDs == nil {
		return ids.Range{First: 1, Last: 200_000} // of a run that only creates and deletes
	}
	return *w.IDs
}

// replay returns the workload of --trace. It returns when ctx is done: opening or reading
// a pipe can block for ever.
func (w *BenchWorkload) replay(ctx context.Context) (ids.Workload, error) {
	type result struct {
		trace *ids.Trace
		err   error
	}
	read := make(chan result, 1)
	go func() {
		t, err := readTrace(w.Trace)
		read <- result{t, err}
	}()
	select {
	case r := <-read:
		if r.err != nil {
			return nil, fmt.Errorf("--trace %s: %w", w.Trace, r.err)
		}
		return ids.Replay(r.trace, w.Repeat), nil
	case <-ctx.Done():
		return nil, &exitError{fmt.Errorf("--trace %s: interrupted while reading it", w.Trace), 130}
	}
}

func readTrace(name string) (*ids.Trace, error) {
	if name == "-" {
		return ids.ReadTrace(os.Stdin, "standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ids.ReadTrace(f, name)
}

// over returns the workload of --pick.
func (w *BenchWorkload) over(set ids.Set) (ids.Workload, error) {
	switch w.Pick {
	case "zipf":
		z, err := ids.Zipf(set, w.ZipfExponent, w.Seed)
		if err != nil {
			return nil, fmt.Errorf("--zipf-exponent: %w", err)
		}
		return z, nil
	case "hot":
		h, err := ids.HotSet(set, float64(w.HotRequests), float64(w.HotIDs), w.Seed)
		if err != nil {
			return nil, fmt.Errorf("--hot-requests, --hot-ids: %w", err)
		}
		return h, nil
	case "scan":
		return ids.Scan(set, w.Repeat), nil
	}
	return ids.Uniform(set, w.Seed), nil
}
