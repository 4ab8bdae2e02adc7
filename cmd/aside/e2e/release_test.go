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

// oldCommit is the previous release: the first one whose keys in Redis are the same for all
// schema versions. When releases have tags, it can be the tag of the last one.
const oldCommit = "4b255b0880ac61774f6eec9e6be008cd767c3d4e"

const oldSchema, newSchema = 1, 2

// release is a program with its own arguments.
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

// buildOld builds the old release from its sources in git.
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
	cmd.Dir, cmd.Env = source, append(os.Environ(), "GOWORK=off")
	_, err = output(cmd)
	return path, err
}

// archiveCommit writes the files of a commit into a tar file. dir is a directory of the
// clone.
func archiveCommit(dir, commit, file string) error {
	git := func(args ...string) *exec.Cmd {
		// The clone may belong to another user. This test runs from it, so it is trusted.
		return exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	}
	top, err := output(git("rev-parse", "--show-toplevel"))
	if err != nil {
		return fmt.Errorf("this test builds commit %s, but there is no git clone here: run it in a clone with its whole history (git clone, not an archive of the files): %w", commit, err)
	}
	dir = top // from a subdirectory the archive would contain only that
	if _, err := output(git("cat-file", "-e", commit+"^{commit}")); err != nil {
		return fmt.Errorf("this test builds commit %s, but the clone in %s does not have it: fetch the whole history (git fetch --unshallow, or in CI a clone with unlimited depth): %w", commit, top, err)
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

// Without the old commit the test fails, with a message that says what to do.
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

// Under load, two nodes of the previous release are replaced by the current one, one after
// the other, and back again. The current release also has another schema version. Caught:
// keys that contained the schema version, so that the releases did not get each other's
// invalidations.
func TestReleases(t *testing.T) {
	// Build before other rows run in parallel: it uses all processors.
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
			// There are no timeouts, so no request may fail.
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
			const slack = 100 * time.Millisecond // the resolution of the timeline
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

// byStop expects the errors of a planned stop: refused and closed connections.
func byStop(e check.Error) bool {
	return slices.Contains([]string{string(httpwire.Refused), string(httpwire.Closed), "status 503 shutting_down"}, e.Problem)
}

// Two records that the load does not use: its strong reads would update the records that
// default reads find.
const keptStrong, keptDefault = "kept-strong", "kept-default"

// crossWrites lets each node write records that all nodes have cached, and reads them
// through all nodes. Strong reads see a write at once, default reads after the
// invalidation.
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

// awaitSchemas waits until Redis contains records of exactly these schema versions.
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

// schemas returns the schema versions of the records in Redis.
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
			continue // the key is gone, or is not a string
		}
		for _, s := range []uint32{oldSchema, newSchema} {
			if entry.HasSchema(b, s) {
				found = append(found, s)
			}
		}
	}
	return found
}
