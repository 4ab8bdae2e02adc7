package tables

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/tests/testserver"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/redisproc"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/worker"
)

func TestMain(m *testing.M) {
	worker.Main()
	// The race detector has every worker sleep for a second before it ends.
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// tiny makes every table in about a second.
var tiny = Scale{
	Rounds: 2, L1Keys: 200, L1Slot: 20 * time.Millisecond, L2Keys: 100, L2Slot: 20 * time.Millisecond,
	ColdRounds: 1, ColdSlot: 20 * time.Millisecond, Trips: 3, RushRounds: 1, Rushes: 2,
	MemoryRounds: 1, Entries: 5000, StaleRounds: 1, StaleSlot: 200 * time.Millisecond, Replays: 1,
}

func needsRedis(t *testing.T) {
	if _, err := redisproc.Binary(); err != nil {
		if testserver.RequireServers() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func runner(t *testing.T, only ...string) *Runner {
	return &Runner{Scale: tiny, Only: only, Command: "test", Log: t.Logf}
}

// Each table has figures for aside and for what it is compared with, one sample
// a round, and its files can be written.
//
// Caught: a column whose figures were added under another name; samples of one
// round only.
func TestTables(t *testing.T) {
	needsRedis(t)
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			table, err := runner(t, "aside").Make(context.Background(), k)
			if err != nil {
				t.Fatal(err)
			}
			if len(table.Sections) == 0 {
				t.Fatal("no sections")
			}
			for _, s := range table.Sections {
				ids := peersOf(s)
				if !slices.Contains(ids, "aside") && !slices.Contains(ids, k.reference) {
					t.Errorf("%s: rows of %v", s.Title, ids)
				}
				for _, r := range s.Rows {
					for _, c := range s.Columns {
						checkCell(t, k, s, r, c)
					}
				}
			}
			// What does not depend on the machine.
			for column, want := range map[string]float64{"loads4-20ms": 1, "miss": 2, "write": 2} {
				if v, ok := figure(table, "aside", column); ok && v != want {
					t.Errorf("aside: %s is %v", column, v)
				}
			}
			if err := table.Write(t.TempDir()); err != nil {
				t.Error(err)
			}
		})
	}
}

func peersOf(s report.Section) (ids []string) {
	for _, r := range s.Rows {
		ids = append(ids, r.Peer)
	}
	return ids
}

// figure is a median of one peer.
func figure(table report.Table, id, column string) (v float64, ok bool) {
	for _, s := range table.Sections {
		for _, r := range s.Rows {
			if r.Peer == id && !ok {
				v, ok = r.Cells[column].Median()
			}
		}
	}
	return v, ok
}

// rounds, or stampedes, of each table in tiny. Round trips are counted once.
var rounds = map[string]int{"l1": 2, "l2": 2, "miss": 1, "stampede": 2, "write": 2, "memory": 1, "stale": 1}

func checkCell(t *testing.T, k Kind, s report.Section, r report.Row, c report.Column) {
	t.Helper()
	cell, ok := r.Cells[c.ID]
	once := s.Name == "trips"
	switch {
	case !ok || cell.Text == "" && len(cell.Samples) == 0:
		t.Errorf("%s: %s has no %q", s.Title, r.Name, c.Title)
	case cell.Text == "" && !once && len(cell.Samples) != rounds[k.Name]:
		t.Errorf("%s: %s has %d samples of %q", s.Title, r.Name, len(cell.Samples), c.Title)
	case strings.HasPrefix(c.Title, "x ") && r.Peer == k.reference && (slices.Min(cell.Samples) != 1 || slices.Max(cell.Samples) != 1):
		t.Errorf("%s: the reference is %v of itself", s.Title, cell.Samples)
	}
}

// A peer that cannot be measured says why, and the others are measured.
//
// Caught: a failure that ended the table.
func TestAFailureIsOnePeers(t *testing.T) {
	t.Setenv("ASIDE_TEST_REDIS_SERVER", "/nonexistent")
	k := Kinds()[0]
	table, err := runner(t, "aside", "aside-l1").Make(context.Background(), k)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Sections[0].Rows {
		if failed := row.Trouble != ""; failed != (row.Peer == "aside") || failed != (len(row.Cells) == 0) {
			t.Errorf("%s: %d cells, %s", row.Name, len(row.Cells), row.Trouble)
		}
	}
}

func TestEndOfContextEndsATable(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := runner(t, "otter")
	r.Log = func(string, ...any) { cancel() }
	if _, err := r.Make(ctx, Kinds()[0]); err == nil {
		t.Error("went on")
	}
}

// Every peer of a table is known and can be measured there, and every peer that
// there is has a row somewhere.
func TestRows(t *testing.T) {
	used := map[string]bool{}
	for _, k := range Kinds() {
		seen := map[string]bool{}
		for _, id := range k.peers {
			if _, err := peer.Find(id); err != nil || seen[id] {
				t.Errorf("%s: %s, %v, twice: %v", k.Name, id, err, seen[id])
			}
			seen[id], used[id] = true, true
		}
		if k.reference != "" && !seen[k.reference] {
			t.Errorf("%s: the reference %s has no row", k.Name, k.reference)
		}
	}
	for _, p := range peer.All() {
		if !used[p.ID] {
			t.Errorf("%s is in no table", p.ID)
		}
	}
}
