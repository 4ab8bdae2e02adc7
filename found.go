package aside

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
)

type entryFate uint8

const (
	entryServed    entryFate = iota // the job is ended
	entryCarried                    // of no use, and another node replaces it: the job waits for that
	entryUseless                    // to be removed
	entryElsewhere                  // the value is too large for L2
	entryLater                      // nobody could tell before ctx ended whether it is of use
)

// decodeEntries ends the jobs whose entries are of use, and returns the others.
func (c *Cache[K, V]) decodeEntries(jobs []*job[K, V]) (useless, elsewhere []*job[K, V]) {
	done := 0
	defer func() { // not all are if the codec has ended the goroutine
		if done < len(jobs) {
			c.failAll(slices.Concat(jobs[done:], useless, elsewhere), errGoexit)
		}
	}()
	var head *tagCall // of the first that asks: all have begun before it
	for ; done < len(jobs); done++ {
		j := jobs[done]
		if j.head == nil {
			j.head = head
		}
		fate := c.decodeEntry(context.Background(), j)
		switch fate {
		case entryCarried: // others have the job already
			continue
		case entryUseless:
			useless = append(useless, j)
		case entryElsewhere:
			elsewhere = append(elsewhere, j)
		}
		head = j.head
	}
	return useless, elsewhere
}

// decodeEntry ends a job with its entry, if that is of use.
func (c *Cache[K, V]) decodeEntry(ctx context.Context, j *job[K, V]) entryFate {
	v, e, err := c.decode(j.key, j.entry)
	age := time.Since(e.Stored)
	if err == nil {
		err = c.checkAge(e, age)
	}
	if err == nil && c.older(j.key, e.Version) {
		err = errOlder
	}
	if err == nil && len(e.Tags) > 0 {
		j.told.marks = marksOf(e)
		if err = c.judgeEntry(ctx, j, j.told.marks); err != nil {
			j.told.marks = nil
			if ctx.Err() != nil {
				return entryLater
			}
			c.n.tagMisses.Add(1)
			if j.carried == 0 {
				c.saw(j.key, EventReplace, 0, e.Version, err)
				j.evicted = j.evicted || err != errTagged // then it stays there
				return entryUseless
			}
		}
	}
	if err != nil && j.carried > 0 {
		j.entry, j.noCarried = nil, true
		go c.awaitLeases([]*job[K, V]{j}) // the lease's holder replaces it
		return entryCarried
	}
	if err != nil {
		c.n.undecodable.Add(1)
		c.saw(j.key, EventReplace, 0, e.Version, err)
		c.warn.do("undecodable", func() {
			c.log.Warn("an entry in L2 is of no use and is replaced", c.keyAttr(j.l2key), "bytes", len(j.entry), "error", err)
		})
		return entryUseless
	}
	left := c.freshFor(e, age)
	if j.entry = nil; j.carried > 0 {
		left = min(left, j.carried)
	}
	if e.Elsewhere {
		j.mode, j.ans.Miss, j.until = fillElsewhere, MissTooLarge, time.Now().Add(left)
		return entryElsewhere
	}
	j.ans.Source, j.ans.Value, j.ans.Negative, j.ans.Version = SourceL2, v, e.Negative, e.Version
	j.ans.Age, j.ans.Left, j.ans.Tags, j.ans.Node = max(0, age), left, e.Tags, nodeOf(e.Token)
	if e.Negative {
		j.ans.Err = ErrNotFound
	}
	c.overtakeIfBehind(j)
	due := c.opts.RefreshAhead > 0 && !e.Negative && j.carried == 0 && j.keeps()
	if due {
		j.dueIn = c.due(c.lifeOf(e), age)
		due = j.dueIn <= 0
	}
	if j.keeps() {
		j.told.marks = c.tellMarks(j.told.marks, v, &e)
		c.insertL1(j, min(c.opts.L1TTL, left))
	}
	if due {
		c.refreshOver(j, &e)
	}
	c.publishAnswer(j)
	c.closeJob(j, flight.TrustLocal)
	return entryServed
}

// freshFor returns how long an entry of an age is fresh. The clocks of nodes may differ, so
// its age only ever shortens its life in L1, and never to nothing.
func (c *Cache[K, V]) freshFor(e envelope.Entry, age time.Duration) time.Duration {
	left := max(c.lifeOf(e)-max(0, age), time.Second)
	if e.Life > 0 {
		left = min(left, e.Life)
	}
	return left
}

// errOlder: L2 has lost what it had acknowledged, in a failover or a restart.
var errOlder = errors.New("aside: the entry is older than the one in L1")

// older reports whether L1 holds a newer version of a record.
func (c *Cache[K, V]) older(key K, version uint64) bool {
	if version == 0 {
		return false
	}
	e, ok := c.l1.Peek(key)
	return ok && !e.Negative() && c.versionOf(e.Value, e.Marks) > version
}
