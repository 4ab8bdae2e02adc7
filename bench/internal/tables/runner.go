// Package tables makes the tables: which peers, in which order, for how long,
// and what is made of the samples. The peers of a table take turns, in rounds.
package tables

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/redisproc"
	"github.com/asidecache/aside/bench/internal/report"
)

// Runner makes tables.
type Runner struct {
	Scale   Scale
	Only    []string // IDs of the peers to measure; all of a table's if empty
	Command string   // that makes a table again, before its name
	Log     func(format string, args ...any)
}

// Kind is one table that can be made.
type Kind struct {
	Name      string
	Title     string
	reference string // the peer that others are compared with, if there is one
	peers     []string
	make      func(context.Context, *run) error
}

// Kinds lists the tables.
func Kinds() []Kind {
	return []Kind{
		{"l1", "A hit in the process", "otter", slices.Concat(l1Typed, l1Encoded), makeL1},
		{"l2", "A hit in Redis", "rueidis-get", l2Peers, makeL2},
		{"miss", "A miss", "rueidis", missPeers, makeMiss},
		{"stampede", "A stampede on a cold key", "", stampedePeers, makeStampede},
		{"write", "A write", "rueidis", writePeers, makeWrite},
		{"memory", "Memory", peer.Floor.ID, memoryPeers, makeMemory},
		{"stale", "Stale reads", "", stalePeers, makeStale},
	}
}

// callTimeout bounds one request to a worker; the longest fills a cache with a
// million records by way of Redis.
const callTimeout = 10 * time.Minute

// run is one table in the making.
type run struct {
	*Runner
	kind    Kind
	peers   []peer.Peer
	table   report.Table
	figures map[string]map[string]report.Cell // by peer and column
	trouble map[string]string                 // by peer
	failed  map[string]bool
}

// Make makes one table. A peer that fails is told of in its row, and the others
// go on.
func (r *Runner) Make(ctx context.Context, k Kind) (report.Table, error) {
	binary, _ := redisproc.Binary() // without one, the peers that need it will say so
	t := &run{
		Runner: r, kind: k,
		table:   report.Table{Name: k.Name, Title: k.Title, Command: r.Command + " " + k.Name, Machine: report.Here(ctx, binary)},
		figures: map[string]map[string]report.Cell{}, trouble: map[string]string{}, failed: map[string]bool{},
	}
	for _, id := range k.peers {
		if len(r.Only) > 0 && !slices.Contains(r.Only, id) && id != k.reference {
			continue
		}
		p, err := peer.Find(id)
		if err != nil {
			return t.table, err
		}
		t.peers = append(t.peers, p)
	}
	if err := k.make(ctx, t); err != nil {
		return t.table, fmt.Errorf("%s: %w", k.Name, err)
	}
	return t.table, ctx.Err()
}

// each calls f for every peer in turn, in every round, but for those that have
// failed.
func (t *run) each(ctx context.Context, rounds int, f func(ctx context.Context, p peer.Peer, round int) error) error {
	for round := range rounds {
		for _, id := range inTurn(t.ids(), round) {
			if err := t.attempt(ctx, id, fmt.Sprintf("round %d of %d", round+1, rounds), func(p peer.Peer) error { return f(ctx, p, round) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// attempt calls f for one peer. If it fails, that peer's row says so.
func (t *run) attempt(ctx context.Context, id, what string, f func(peer.Peer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.failed[id] {
		return nil
	}
	p, err := peer.Find(id)
	if err != nil {
		return err
	}
	t.Log("%s: %s, %s", t.kind.Name, p.Name, what)
	if err := f(p); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.Log("%s: %s: %v", t.kind.Name, p.Name, err)
		t.trouble[id], t.failed[id] = err.Error(), true
		delete(t.figures, id)
	}
	return nil
}

func (t *run) ids() (ids []string) {
	for _, p := range t.peers {
		ids = append(ids, p.ID)
	}
	return ids
}

// add adds one sample to a cell.
func (t *run) add(id, column string, v float64) {
	c := t.cells(id)
	c[column] = report.Figure(append(c[column].Samples, v)...)
}

func (t *run) text(id, column, s string) { t.cells(id)[column] = report.Text(s) }

func (t *run) cells(id string) map[string]report.Cell {
	if t.figures[id] == nil {
		t.figures[id] = map[string]report.Cell{}
	}
	return t.figures[id]
}

// note keeps a peer's trouble; its figures stay.
func (t *run) note(id, trouble string) {
	if trouble != "" {
		t.trouble[id] = trouble
	}
}

func (t *run) set(name, format string, args ...any) {
	t.table.Settings = append(t.table.Settings, report.Setting{Name: name, Value: fmt.Sprintf(format, args...)})
}

// ratio gives every peer a figure id: its figure of a column by that of reference.
func (t *run) ratio(id, column, reference string) {
	to := t.figures[reference][column]
	for _, cells := range t.figures {
		cells[id] = cells[column].Ratios(to)
	}
}

// section makes a section of those peers that have a figure in it, or trouble;
// of all if none is named.
func (t *run) section(s report.Section, ids ...string) report.Section {
	for _, p := range t.peers {
		if len(ids) > 0 && !slices.Contains(ids, p.ID) {
			continue
		}
		row := report.Row{Peer: p.ID, Name: p.Name, Module: p.Module, Version: report.Version(p.Module), Cells: map[string]report.Cell{}, Trouble: t.trouble[p.ID]}
		for _, c := range s.Columns {
			if cell, ok := t.figures[p.ID][c.ID]; ok {
				row.Cells[c.ID] = cell
			}
		}
		if len(row.Cells) > 0 || row.Trouble != "" {
			s.Rows = append(s.Rows, row)
		}
	}
	return s
}

// append adds a section, unless it is empty.
func (t *run) append(s report.Section) {
	if len(s.Rows) > 0 {
		t.table.Sections = append(t.table.Sections, s)
	}
}
