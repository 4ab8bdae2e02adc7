package redisl2

import (
	"context"

	"github.com/redis/rueidis"
)

// What a server can do without scripts is tried, on the self-test's key. Its version
// would tell less: services and proxies give any version, and a user may lack the right.
// A server that does not know the first of the commands gets one that it refuses with
// each self-test, and no more.
//
// No right is needed for this that is not needed anyhow. Those to MULTI, EXEC and to the
// command that deletes are worth having, and their lack is nothing to tell.

// tryPlain notes what a server can do without scripts. gen is the generation of the
// connections in which the self-test began.
func (s *Store) tryPlain(ctx context.Context, c rueidis.Client, gen uint64, prefixes []string) {
	for _, prefix := range prefixes {
		if tagsPrefix(prefix) {
			continue
		}
		can := abilitiesOf(ctx, c, prefix+s.health.scratch)
		if !s.conns.only(gen) {
			return // not known to be of one server
		}
		if can != nil {
			can.gen = gen
		}
		s.plain.can.Store(can)
		s.plain.tried.Store(gen)
		return
	}
}

// retest is how often at most the self-test is run again for one generation of
// connections because another connection was made or ended while it ran.
const retest = 5

// tryPlainAgain has the self-test run again if it has not found out what the server of
// the present connection can do. again is for its next call, and 0 for the first one.
func (s *Store) tryPlainAgain(c rueidis.Client, again tries) tries {
	gen := s.conns.gen.Load()
	if c.Mode() == rueidis.ClientModeCluster || s.plain.tried.Load() == gen || s.State() != nil {
		return again
	}
	if again.gen != gen {
		again = tries{gen: gen}
	}
	if again.n++; again.n <= retest {
		s.health.look()
	}
	return again
}

type tries struct {
	gen uint64
	n   int
}

// abilitiesOf tries the commands on a key, and returns nil for a server that has none.
// Each is to change the key if it has the given bytes, and not otherwise.
func abilitiesOf(ctx context.Context, c rueidis.Client, key string) *abilities {
	const a, b = "Sa", "Sb"
	command := func(name string, args ...string) rueidis.Completed {
		return c.B().Arbitrary(name).Keys(key).Args(args...).Build()
	}
	set := func(v string) rueidis.Completed { return command("SET", v, "PX", scratchLife) }
	setIf := func(v, old string) rueidis.Completed { return command("SET", v, "IFEQ", old, "PX", scratchLife) }
	if r := c.Do(ctx, setIf(a, b)); !rueidis.IsRedisNil(r.Error()) { // it is absent
		return nil
	}
	rs := c.DoMulti(ctx,
		set(a), setIf(b, b), setIf(b, a), command("GET"), // 0 to 3
		c.B().Multi().Build(), setIf(a, b), command("EXISTS"), c.B().Exec().Build(), command("GET"), // 4 to 8
		set(a), command("DELIFEQ", b), command("DELIFEQ", a), command("EXISTS"), // 9 to 12
		set(a), command("DELEX", "IFEQ", b), command("DELEX", "IFEQ", a), command("EXISTS"), // 13 to 16
		command("UNLINK"))
	says := func(i int, want string) bool { v, err := rs[i].ToString(); return err == nil && v == want }
	counts := func(i int, want int64) bool { n, err := rs[i].AsInt64(); return err == nil && n == want }
	if !says(0, "OK") || !rueidis.IsRedisNil(rs[1].Error()) || !says(2, "OK") || !says(3, b) {
		return nil
	}
	can := &abilities{}
	if answers, err := rs[7].ToArray(); err == nil && len(answers) == 2 {
		v, err1 := answers[0].ToString()
		n, err2 := answers[1].AsInt64()
		can.multi = err1 == nil && err2 == nil && v == "OK" && n == 1 && says(8, a)
	}
	switch {
	case says(9, "OK") && counts(10, 0) && counts(11, 1) && counts(12, 0):
		can.delIf = "DELIFEQ"
	case says(13, "OK") && counts(14, 0) && counts(15, 1) && counts(16, 0):
		can.delIf = "DELEX"
	}
	return can
}
