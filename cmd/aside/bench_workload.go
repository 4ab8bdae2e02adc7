package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
)

// BenchWorkload says what "aside bench" asks for.
type BenchWorkload struct {
	IDs          ids.Range `name:"ids" help:"The ids to ask for, FIRST-LAST." default:"1-200000" group:"Workload"`
	Pick         string    `help:"uniform: any id with the same chance. zipf: the n-th most popular id in proportion to 1/n^s. hot: most requests for a few ids. All these go on for ever. scan: every id once, in order; the run ends with the last." enum:"uniform,zipf,hot,scan" default:"uniform" group:"Workload"`
	ZipfExponent float64   `help:"With --pick zipf: the s, more than 0. The larger, the more requests go to the most popular ids; 0.8 to 1 is usual." default:"0.99" placeholder:"S" group:"Workload"`
	HotRequests  share     `help:"With --pick hot: the share of the requests ..." default:"90%" group:"Workload"`
	HotIDs       share     `name:"hot-ids" help:"... that goes to this share of the ids." default:"10%" group:"Workload"`
	Trace        string    `help:"Ask for the ids of FILE in order, one a line, instead of --ids and --pick. The run ends with the last. - is standard input." placeholder:"FILE" group:"Workload"`
	Repeat       bool      `help:"With --pick scan or --trace: begin again after the last id." group:"Workload"`
	Seed         uint64    `help:"The same seed makes the same choices for the same number of users. It also says which ids are the popular ones." default:"1" group:"Workload"`
	Create       share     `help:"Share of the requests that create a record, such as 5% or 0.05." default:"0" group:"Workload"`
	Update       share     `help:"Share that changes the name of a record which --pick or --trace chooses." default:"0" group:"Workload"`
	Delete       share     `help:"Share that deletes a record which the run has created; while there is none, one is created." default:"0" group:"Workload"`
	OwnShare     share     `name:"own" help:"Share of the reads and updates that go to records which the run has created." default:"10%" group:"Workload"`
	KeepCreated  bool      `help:"Leave the records that the run has created." group:"Workload"`
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
		errs = append(errs, errors.New("--repeat needs --pick scan or --trace: the others go on for ever"))
	}
	if w.Trace != "" && w.Pick != "uniform" {
		errs = append(errs, fmt.Errorf("--trace and --pick %s: choose one", w.Pick))
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

// workload reads the trace, if there is one. It gives up when ctx is done: a pipe
// may keep whoever opens or reads it waiting for ever.
func (w *BenchWorkload) workload(ctx context.Context) (ids.Workload, error) {
	if w.Trace == "" {
		return w.withoutTrace()
	}
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
		return nil, &exitError{fmt.Errorf("--trace %s: interrupted while waiting for it", w.Trace), 130}
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

func (w *BenchWorkload) withoutTrace() (ids.Workload, error) {
	switch w.Pick {
	case "zipf":
		z, err := ids.Zipf(w.IDs, w.ZipfExponent, w.Seed)
		if err != nil {
			return nil, fmt.Errorf("--zipf-exponent: %w", err)
		}
		return z, nil
	case "hot":
		h, err := ids.HotSet(w.IDs, float64(w.HotRequests), float64(w.HotIDs), w.Seed)
		if err != nil {
			return nil, fmt.Errorf("--hot-requests, --hot-ids: %w", err)
		}
		return h, nil
	case "scan":
		return ids.Scan(w.IDs, w.Repeat), nil
	}
	return ids.Uniform(w.IDs, w.Seed), nil
}
