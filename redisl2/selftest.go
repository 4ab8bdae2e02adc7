package redisl2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/internal/envelope"
)

// The self-test asks every master for all that operations will ask it for, in one
// pipeline and on a key of its own: each command by itself, since what a server
// says of a command that is refused inside a script names none, and each script.
// Rights that are missing are so known from the start, all of them, and not when
// two writers meet on a key for the first time.
//
// The key lies under the prefix of a cache, which is what its user may use, and
// lives for a few seconds. Its last part is random, and nobody is told of it.

// scratchLife is the scratch key's life, should the last command not come through.
const scratchLife = "5000"

// stranger is a prefix for the scratch key while no cache is known. A user may be
// allowed the keys of his cache alone, so nothing follows from a refusal of it.
const stranger = "aside:selftest:0:"

// step is one command of the self-test.
type step struct {
	name string // of what it tries, as a person knows it
	args []string
	key  string
}

// stepsWithoutKey try what needs no key.
func stepsWithoutKey(cluster bool, version string) []step {
	steps := []step{
		{name: "TIME", args: []string{"TIME"}},
		{name: "EVALSHA", args: []string{"EVALSHA", ping.sha, "0"}},
		{name: "EVAL", args: []string{"EVAL", ping.src, "0"}},
	}
	if cluster {
		// What the client library asks for depends on the version.
		owners := "SLOTS"
		if major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); err == nil && major >= 8 {
			owners = "SHARDS"
		}
		steps = append(steps,
			step{name: "CLUSTER " + owners, args: []string{"CLUSTER", owners}},
			// The next command of the pipeline takes effect, and does nothing.
			step{name: "ASKING", args: []string{"ASKING"}},
			step{name: "TIME", args: []string{"TIME"}})
	}
	return steps
}

// stepsOn try commands and scripts on a key.
func stepsOn(key string) []step {
	var steps []step
	command := func(name string, args ...string) {
		steps = append(steps, step{name: name, args: append([]string{name}, args...), key: key})
	}
	run := func(name string, sc script, args ...string) {
		steps = append(steps, step{name: name, args: append([]string{"EVAL", sc.src, "1", key}, args...), key: key})
	}
	mine, other := lease(envelope.NewToken()), lease(envelope.NewToken())
	a, b := envelope.NewToken(), envelope.NewToken()
	entry := envelope.Append(nil, envelope.Entry{Negative: true, Token: a}, -1)
	value := rueidis.BinaryString(entry)
	command("SET", key, mine, "NX", "GET", "PX", scratchLife)
	command("GET", key)
	command("MGET", key)
	command("EXISTS", key)
	command("GETEX", key)
	command("PTTL", key)
	command("PEXPIRE", key, scratchLife, "LT")
	command("SCAN", "0", "MATCH", globEscaper.Replace(key), "COUNT", "1")
	run("acquire", acquire, other, scratchLife) // of a lease
	run("abandon", abandon, mine, "", "1")
	run("acquire", acquire, mine, scratchLife) // of an absent key
	run("fill", fill, mine, value, scratchLife)
	run("acquire", acquire, other, scratchLife)                  // of a value
	run("acquire", acquire, mine, scratchLife, "C"+string(a[:])) // over it: this asks for the time
	run("acquire", acquire, other, scratchLife, "C")             // of what the lease carries
	run("peek", peek)                                            // likewise
	run("abandon", abandon, mine, "", "1")                       // which is put back
	run("evict", evict, value)
	run("fence", fence, string(a[:]), scratchLife)
	run("fence", fence, string(b[:]), scratchLife) // of two: this asks for the time
	run("acquire", acquire, other, scratchLife)    // of a fence
	run("release", release, string(a[:]), "", "1")
	run("invalidate", invalidate)
	run("drop", drop, "", "1", "") // of a fence
	run("release", release, string(b[:]), value, scratchLife)
	run("drop", drop, "", "", "") // of what it left
	// Not with a time to lead: that would keep the key for a week.
	run("lead", lead, string(a[:]), "0", "")
	run("announce", announce, "selftest", "1", "")
	run("inspect", inspect, "0")
	command("UNLINK", key)
	return steps
}

func (st step) build(c rueidis.Client) rueidis.Completed {
	cmd := c.B().Arbitrary(st.args[0])
	for _, a := range st.args[1:] {
		if a == st.key && st.key != "" {
			cmd = cmd.Keys(a)
		} else {
			cmd = cmd.Args(a)
		}
	}
	return cmd.Build()
}

// finding is what the self-test of one server came to.
type finding struct {
	who       string
	missing   []string // commands that the user may not run
	missed    error    // what the server said to the first of them
	err       error    // another reason why it cannot be used, or not now
	forbidden error    // the keys are not the user's
}

func (f *finding) worst() error {
	switch {
	case len(f.missing) > 0:
		return rightsMissing(f.missed, f.who, f.missing...)
	case f.err != nil:
		return f.err
	}
	return nil
}

// note takes in the answer to a step.
func (f *finding) note(name string, script bool, err error) {
	if err == nil || rueidis.IsRedisNil(err) {
		return
	}
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		if f.err == nil {
			f.err = fmt.Errorf("redisl2: %s does not answer: %w", f.who, err)
		}
		return
	}
	text := re.Error()
	code, _, _ := strings.Cut(text, " ")
	switch code {
	case "NOSCRIPT", "OOM", "MISCONF", "NOREPLICAS", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "WRONGTYPE":
		return // operations deal with these; what it has a right to is another thing
	}
	explained := explain(err, f.who, name)
	switch {
	case lacksRight(err) && strings.Contains(strings.TrimPrefix(text, "NOPERM"), "key") && !refusedCommand.MatchString(text):
		f.forbidden = err
	case lacksRight(err) && script:
		if len(f.missing) == 0 && f.err == nil {
			f.err = cannot(err, "%s: the script %q may not run all that it needs: %s; %s", f.who, name, firstLine(err), seeRights)
		}
	case lacksRight(err):
		if f.missed == nil {
			f.missed = err
		}
		if m := refusedCommand.FindStringSubmatch(text); m != nil {
			name = strings.ToUpper(strings.ReplaceAll(m[1], "|", " "))
		}
		if !slices.Contains(f.missing, name) {
			f.missing = append(f.missing, name)
		}
	case errors.Is(explained, ErrUnusable):
		if !errors.Is(f.err, ErrUnusable) {
			f.err = explained
		}
	case f.err == nil:
		f.err = fmt.Errorf("redisl2: %s: %s: %w", f.who, name, wrap(err))
	}
}

// test runs the self-test on every master, and returns what is to be said of the
// worst of them: nil, an error that matches ErrUnusable, or one that may pass.
func (s *Store) test(ctx context.Context, c rueidis.Client) error {
	if c.Mode() != rueidis.ClientModeCluster {
		return s.testOne(ctx, strings.Join(slices.Sorted(maps.Keys(c.Nodes())), ", "), c, false)
	}
	servers := s.topology.known(c.Nodes())
	var (
		mu      sync.Mutex
		running sync.WaitGroup
		errs    = map[string]error{}
	)
	for who, n := range servers {
		running.Go(func() {
			err := s.testOne(ctx, who, n, true)
			mu.Lock()
			defer mu.Unlock()
			errs[who] = err
		})
	}
	running.Wait()
	var worst error
	for _, who := range slices.Sorted(maps.Keys(errs)) {
		if err := errs[who]; err != nil && (worst == nil || errors.Is(err, ErrUnusable) && !errors.Is(worst, ErrUnusable)) {
			worst = err
		}
	}
	return worst
}

func (s *Store) testOne(ctx context.Context, who string, c rueidis.Client, cluster bool) error {
	f := &finding{who: who}
	hello, err := c.Do(ctx, c.B().Hello().Build()).AsStrMap()
	if err != nil {
		f.note("HELLO", false, err)
		return f.worst()
	}
	if err := tooOld(who, hello["version"]); err != nil {
		return err
	}
	switch {
	case hello["mode"] == "sentinel":
		return cannot(nil, "%s: this is a sentinel: add the name of its master, as in redis://%s?master_set=mymaster", who, who)
	case hello["mode"] == "cluster" && !cluster:
		// The client library took a refusal for a server that is no cluster.
		err := c.Do(ctx, c.B().Arbitrary("CLUSTER", "SLOTS").Build()).Error()
		if err == nil {
			err = c.Do(ctx, c.B().Arbitrary("CLUSTER", "SHARDS").Build()).Error()
		}
		if f.note("CLUSTER SLOTS", false, err); f.worst() != nil {
			return f.worst()
		}
		return fmt.Errorf("redisl2: %s is a cluster's, and was not taken for one", who)
	}

	steps := stepsWithoutKey(cluster, hello["version"])
	var owned *slotOwners
	mine := int32(0)
	if cluster {
		text, err := c.Do(ctx, c.B().ClusterNodes().Build()).ToString()
		f.note("CLUSTER NODES", false, err)
		owned, mine = slotsOf(readClusterNodes(text))
	}
	prefixes, known := s.watch.prefixes(), true
	if len(prefixes) == 0 {
		prefixes, known = []string{stranger}, false
	}
	for _, prefix := range prefixes {
		key, ok := s.scratch(prefix, owned, mine)
		switch {
		case ok && tagsPrefix(prefix):
			steps = append(steps, stepsOnTags(key)...)
		case ok:
			steps = append(steps, stepsOn(key)...)
		}
	}
	cmds := make([]rueidis.Completed, len(steps))
	for i, st := range steps {
		cmds[i] = st.build(c)
	}
	gen := s.conns.gen.Load()
	answers := c.DoMulti(ctx, cmds...)
	for i, r := range answers {
		st := steps[i]
		script := st.args[0] == "EVAL" && st.key != ""
		f.note(st.name, script, r.Error())
		if script {
			if one, err := r.ToArray(); err == nil && len(one) == 1 {
				f.note(st.name, true, one[0].Error())
			}
		}
	}
	s.health.untested.Store(f.forbidden != nil && !known)
	err = f.worst()
	if !cluster && !errors.Is(err, ErrUnusable) {
		s.tryPlain(ctx, c, gen, prefixes)
	}
	if err != nil || f.forbidden == nil || !known {
		return err
	}
	prefix, _, _ := strings.Cut(prefixes[0], ":0:")
	return keysForbidden(f.forbidden, who, prefix+":")
}

// slotsOf returns who owns which slots as a server says, and which of the numbers
// is its own; 0 if it owns none.
func slotsOf(a clusterNodes) (*slotOwners, int32) {
	if i := slices.Index(a.ids(), a.id); i >= 0 {
		return readSlots(a.slots), int32(i + 1)
	}
	return nil, 0
}

// scratch returns a key under prefix; in a cluster one of a server's own slots, if
// it has one.
func (s *Store) scratch(prefix string, owned *slotOwners, mine int32) (key string, ok bool) {
	if owned == nil && s.topology.bySlot.Load() == nil {
		return prefix + s.health.scratch, true
	}
	if owned == nil {
		return "", false
	}
	for i := range 50 * slotCount {
		key = prefix + "{" + strconv.Itoa(i) + "}" + s.health.scratch
		if owned[slot(key)] == mine {
			return key, true
		}
	}
	return "", false
}
