package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/check"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/tests/entry"
	"github.com/asidecache/aside/tests/testserver"
)

// oldCommit is the release before: the first whose keys in Redis are the same
// for all schema versions. Once a release has a tag, it may be that of the last.
const oldCommit = "4b255b0880ac61774f6eec9e6be008cd767c3d4e"

const oldSchema, newSchema = 1, 2

// release is a program, and what only it takes as arguments.
type release struct {
	name    string
	program func() (path string, err error)
	args    []string
}

var (
	oldRelease = release{name: "old", program: sync.OnceValues(buildOld)}
	newRelease = release{
		name: "new", args: append([]string{"--shutdown-delay", "200ms"}, todaysArgs...),
		program: sync.OnceValues(func() (string, error) {
			return build("aside-new", "-ldflags", fmt.Sprintf("-X main.schemaVersionText=%d", newSchema))
		}),
	}
)

// buildOld builds the old release from the sources that git has of it.
func buildOld() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	source, archive, path := filepath.Join(dir, "old"), filepath.Join(dir, "old.tar"), filepath.Join(dir, "aside-old")
	if err := archiveCommit("..", oldCommit, archive); err != nil {
		return "", err
	}
	if err := os.Mkdir(source, 0o755); err != nil {
		return "", err
	}
	if _, err := output(exec.Command("tar", "-x", "-f", archive, "-C", source)); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, "./cmd/aside")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "GOWORK=")
	_, err = output(cmd)
	return path, err
}

// archiveCommit writes a commit's files into a tar file. dir is a directory of
// the clone.
func archiveCommit(dir, commit, file string) error {
	git := func(args ...string) *exec.Cmd {
		// The clone's owner may be another user. Its tests are run, so it is trusted.
		return exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	}
	top, err := output(git("rev-parse", "--show-toplevel"))
	if err != nil {
		return fmt.Errorf("this test builds commit %s, and finds no git clone here: run it in a clone with its whole history (git clone, not an archive of the files): %w", commit, err)
	}
	dir = top // of another directory the archive would hold that alone
	if _, err := output(git("cat-file", "-e", commit+"^{commit}")); err != nil {
		return fmt.Errorf("this test builds commit %s, which the clone in %s does not have: fetch the whole history (git fetch --unshallow, or in CI a clone without a limit of depth): %w", commit, top, err)
	}
	_, err = output(git("archive", "--format=tar", "-o", file, commit))
	return err
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("%v: %w", cmd, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// A clone without the old commit says what to do; it does not pass in silence.
func TestReleaseNeedsTheHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.tar")
	none := t.TempDir()
	if err := archiveCommit(none, oldCommit, file); err == nil || !strings.Contains(err.Error(), "run it in a clone with its whole history") {
		t.Errorf("without a clone: %v", err)
	}
	if _, err := output(exec.Command("git", "init", "--quiet", none)); err != nil {
		t.Fatal(err)
	}
	if err := archiveCommit(none, oldCommit, file); err == nil || !strings.Contains(err.Error(), "git fetch --unshallow") {
		t.Errorf("in a clone without the commit: %v", err)
	}
}

// Two nodes of the release before are replaced by today's, one after the other,
// and back again, under load. Today's have another schema version besides.
// Caught: keys that hold the schema version, so that the releases do not hear of
// each other's writes.
func TestReleases(t *testing.T) {
	// Before other rows run beside this one: it takes all processors.
	for _, r := range []release{oldRelease, newRelease} {
		if _, err := r.program(); err != nil {
			t.Fatalf("building the %s release: %v", r.name, err)
		}
	}
	var common []string // arguments
	args := func(r release) []string { return append(slices.Clone(common), r.args...) }
	var stops []span
	try(t, fault{
		group: nodes, name: "nodes replaced by those of another release, and back", struck: []int{0, 1},
		tune: func(f *form) {
			// No time-out passes, so no request may fail.
			f.Load, f.Write, f.Fence, f.L2 = 10*time.Second, 10*time.Second, 11*time.Second, 2*time.Second
			f.Clients, f.Writes = 12, 0.05
		},
		start: func(t *testing.T, size form, p policy) *system {
			s := &system{t: t, Redis: testserver.Redis(t), Mongo: testserver.Mongo(t)}
			common = append([]string{
				"--mongo", s.Mongo.URI(), "--redis", s.Redis.URL(), "--cache-name", "e2e", "--on-redis-down", string(p),
			}, size.args()...)
			for i := range 2 {
				s.Nodes = append(s.Nodes, startNodeOf(t, oldRelease.program, fmt.Sprintf("node %d", i), args(oldRelease)...))
			}
			s.Nodes[0].Create(keptStrong, "first")
			s.Nodes[0].Create(keptDefault, "first")
			return s
		},
		do: func(r *run) {
			stay := max(2*time.Second, r.Fault)
			replace := func(i int, by release) {
				r.Logf("%v: %s is replaced by one of the %s release", time.Now().Format(time.StampMilli), r.Nodes[i].name, by.name)
				begun := time.Now()
				r.Nodes[i].Replace(by.program, args(by)...)
				stops = append(stops, span{begun, time.Now()})
			}
			r.crossWrites("both old")
			r.hold(stay)
			r.awaitSchemas(oldSchema)
			replace(0, newRelease)
			r.crossWrites("rolling forward")
			r.hold(stay)
			r.awaitSchemas(oldSchema, newSchema)
			replace(1, newRelease)
			r.crossWrites("both new")
			r.hold(stay)
			replace(1, oldRelease)
			r.crossWrites("rolling back")
			r.hold(stay)
			r.awaitSchemas(oldSchema, newSchema)
			replace(0, oldRelease)
			r.crossWrites("both old again")
			r.hold(stay)
		},
		errors: byStop,
		also: func(t *testing.T, report *check.Report) {
			for _, e := range report.Errors {
				if !byStop(e) {
					t.Errorf("%d times a %s at node %d failed, and no node's stop explains it: %s: %s", e.Count, e.Request, e.Target, e.Problem, e.Example)
				}
			}
			const slack = 100 * time.Millisecond // what the timeline tells apart
			from := time.Duration(0)
			for _, s := range append(stops, span{begin: report.Start.Add(report.Elapsed + time.Minute)}) {
				until := report.Timeline.At(s.begin) - slack
				if n := report.Timeline.Between(from, until).Errors; n > 0 {
					t.Errorf("%d requests failed between %v and %v, when no node was stopped", n, from, until)
				}
				from = report.Timeline.At(s.end) + slack
			}
		},
	})
}

// span is the time from a node's stop until the other release serves.
type span struct{ begin, end time.Time }

// byStop expects what a node's clients see of its planned stop: a connection that
// is refused, or closed.
func byStop(e check.Error) bool {
	return slices.Contains([]string{string(httpwire.Refused), string(httpwire.Closed), "status 503 shutting_down"}, e.Problem)
}

// Two records that the load leaves alone. Strong reads would bring up to date what
// default ones find.
const keptStrong, keptDefault = "kept-strong", "kept-default"

// crossWrites has each node write what all have in their caches, and all read it:
// strong reads see it at once, default ones when they have heard of it.
func (r *run) crossWrites(when string) {
	r.Helper()
	for _, writer := range r.Nodes {
		for _, n := range r.Nodes {
			n.Get(keptStrong, "max-age=60")
			n.Get(keptDefault, "max-age=60")
		}
		name := when + ", by " + writer.name
		for _, id := range []string{keptStrong, keptDefault} {
			if status := writer.Do(http.MethodPut, "/todos/"+id, fmt.Sprintf(`{"name":%q}`, name)); status != http.StatusOK {
				r.Errorf("%s: %s answers %d to a write", when, writer.name, status)
				return
			}
		}
		for _, n := range r.Nodes {
			if got := n.Get(keptStrong, "no-cache"); got != name {
				r.Errorf("%s: a strong read of %s is %q, want %q", when, n.name, got, name)
			}
			if !testsync.Poll(5*time.Second, func() bool { return n.Get(keptDefault, "max-age=60") == name }) {
				r.Errorf("%s: %s never hears that %s has written %q", when, n.name, writer.name, name)
			}
		}
	}
}

// awaitSchemas waits until Redis has held records of just these schema versions.
func (r *run) awaitSchemas(want ...uint32) {
	r.Helper()
	var seen []uint32
	if !testsync.Poll(5*time.Second, func() bool {
		for _, s := range r.schemas() {
			if !slices.Contains(seen, s) {
				seen = append(seen, s)
			}
		}
		slices.Sort(seen)
		return len(seen) >= len(want)
	}) || !slices.Equal(seen, want) {
		r.Errorf("records in Redis are of the schema versions %v, want %v", seen, want)
	}
}

// schemas are the schema versions of the records that Redis holds now.
func (r *run) schemas() []uint32 {
	r.Helper()
	keys, err := r.Redis.Do("KEYS", "aside:*").AsStrSlice()
	if err != nil {
		r.Fatal(err)
	}
	var found []uint32
	for _, key := range keys {
		b, err := r.Redis.Do("GET", key).AsBytes()
		if err != nil {
			continue // it is gone, or no string
		}
		for _, s := range []uint32{oldSchema, newSchema} {
			if entry.HasSchema(b, s) {
				found = append(found, s)
			}
		}
	}
	return found
}
