package aside

import (
	"errors"
	"slices"
	"time"

	"github.com/asidecache/aside/internal/flight"
)

type entryFate uint8

const (
	entryServed    entryFate = iota // the job is ended
	entryUseless                    // to be removed
	entryElsewhere                  // the value is too large for L2
)

// decodeEntries ends the jobs whose entries are of use, and returns the others.
func (c *Cache[K, V]) decodeEntries(jobs []*job[K, V]) (useless, elsewhere []*job[K, V]) {
	done := 0
	defer func() { // not all are if the codec has ended the goroutine
		if done < len(jobs) {
			c.failAll(slices.Concat(jobs[done:], useless, elsewhere), errGoexit)
		}
	}()
	for ; done < len(jobs); done++ {
		switch j := jobs[done]; c.decodeEntry(j) {
		case entryUseless:
			useless = append(useless, j)
		case entryElsewhere:
			elsewhere = append(elsewhere, j)
		}
	}
	return useless, elsewhere
}

// decodeEntry ends a job with its entry, if that is of use.
func (c *Cache[K, V]) decodeEntry(j *job[K, V]) entryFate {
	v, e, err := c.decode(j.key, j.entry)
	age := time.Since(e.Stored)
	if err == nil {
		err = c.checkAge(e, age)
	}
	if err == nil && c.older(j.key, e.Version) {
		err = errOlder
	}
	if err != nil {
		c.n.undecodable.Add(1)
		c.warn.do("undecodable", func() {
			c.log.Warn("an entry in L2 is of no use and is replaced", "l2_key", j.l2key, "bytes", len(j.entry), "error", err)
		})
		return entryUseless
	}
	// The clocks of nodes may differ, so an entry's age only ever shortens its
	// life in L1, and never to nothing.
	left := max(c.fullTTL(e.Negative)-max(0, age), time.Second)
	j.entry = nil
	if e.Elsewhere {
		j.mode, j.ans.Miss, j.until = fillElsewhere, MissTooLarge, time.Now().Add(left)
		return entryElsewhere
	}
	j.ans.Source, j.ans.Value, j.ans.Negative, j.ans.Version = SourceL2, v, e.Negative, e.Version
	if e.Negative {
		j.ans.Err = ErrNotFound
	}
	c.overtakeIfBehind(j)
	c.insertL1(j, min(c.opts.L1TTL, left))
	c.publishAnswer(j)
	c.closeJob(j, flight.TrustLocal)
	return entryServed
}

// errOlder: L2 has lost what it had acknowledged, in a failover or a restart.
var errOlder = errors.New("aside: the entry is older than the one in L1")

// older reports whether L1 holds a newer version of a record.
func (c *Cache[K, V]) older(key K, version uint64) bool {
	if version == 0 || c.opts.Version == nil {
		return false
	}
	e, ok := c.l1.Peek(key)
	if !ok || e.Negative() {
		return false
	}
	have, err := c.version(e.Value)
	return err == nil && have > version
}
