package asidetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var prefixes atomic.Int64

// TestL2 checks an L2 against the contract in package driver. open returns two
// clients of one empty or shared server; the suite uses keys of its own and
// does not close the clients. A tier that is a driver.Fed, driver.Inspecting,
// driver.Peeking, driver.Roster or driver.Tagging is checked for that too.
func TestL2(t *testing.T, open func(t *testing.T) (a, b driver.Tier)) {
	run := func(c check, needs string, has func(driver.Tier) bool) {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			if !has(a) {
				t.Skip("the tier does not implement driver." + needs)
			}
			p := fmt.Sprintf("asidetest:%d:%d:", time.Now().UnixNano(), prefixes.Add(1))
			c.f(&suite{T: t, ctx: t.Context(), a: a, b: b, prefix: p})
		})
	}
	for _, c := range slices.Concat(checks, checksOfLeases) {
		run(c, "Tier", func(driver.Tier) bool { return true })
	}
	for _, c := range checksOfFed {
		run(c, "Fed", isA[driver.Fed])
	}
	for _, c := range checksOfInspecting {
		run(c, "Inspecting", isA[driver.Inspecting])
	}
	for _, c := range checksOfPeeking {
		run(c, "Peeking", isA[driver.Peeking])
	}
	for _, c := range checksOfRoster {
		run(c, "Roster", isA[driver.Roster])
	}
	for _, c := range checksOfTagging {
		run(c, "Tagging", isA[driver.Tagging])
	}
}

func isA[T driver.Tier](l driver.Tier) bool { _, ok := l.(T); return ok }

// check is one test of the suite.
type check struct {
	name string
	f    func(*suite)
}

var checks = []check{
	{"AcquireGrantsOnce", (*suite).acquireGrantsOnce},
	{"AcquireRetryIsGrantedAgain", (*suite).acquireRetry},
	{"FillNeedsItsOwnLease", (*suite).fillNeedsItsOwnLease},
	{"LeaseExpires", (*suite).leaseExpires},
	{"EntryExpires", (*suite).entryExpires},
	{"ForeignBytesAreReplaced", (*suite).foreignBytes},
	{"AbandonOnlyOwnLease", (*suite).abandonOnlyOwn},
	{"StaleValueIsLeased", (*suite).staleValueIsLeased},
	{"EvictComparesBytes", (*suite).evictComparesBytes},
	{"FenceKillsLeaseAndValue", (*suite).fenceKills},
	{"ReleasePublishes", (*suite).releasePublishes},
	{"ReleaseOfOneWriterKeepsTheOthersFence", (*suite).overlappingWriters},
	{"CrashedWritersFenceEnds", (*suite).crashedWriter},
	{"LateReleaseRemovesWhatWasFilledMeanwhile", (*suite).lateRelease},
	{"LateReleaseForbidsOthersToPublish", (*suite).lateReleaseForbids},
	{"FenceOfAnUnknownFormatStandsUntilItExpires", (*suite).unknownFence},
	{"FencesOfManyWritersAreBounded", (*suite).manyWriters},
	{"LeaseThatIsMuchTooLongIsTakenOver", (*suite).longLease},
	{"InvalidateForbidsWritersToPublish", (*suite).invalidateForbids},
	{"InvalidateRemovesValueAndLease", (*suite).invalidateRemoves},
	{"ClearKeepsFencesAndOtherPrefixes", (*suite).clear},
	{"WatchTellsOthers", (*suite).watch},
	{"WatchAfterOwnChanges", (*suite).watchAfterOwnChanges},
	{"WatchOncePerPrefix", (*suite).watchOnce},
	{"Batches", (*suite).batches},
	{"CancelledContext", (*suite).cancelled},
}

var checksOfFed = []check{
	{"DropOlderRemovesWhatAChangeMadeOld", (*suite).dropOlderRemoves},
	{"DropOlderRemovesLeases", (*suite).dropOlderRemovesLeases},
	{"DropOlderForbidsToPublishWhatIsOlder", (*suite).dropOlderUnderAFence},
	{"DropOlderLeavesTheFencesOfManyWriters", (*suite).dropOlderUnderManyFences},
	{"DropOlderIsToldToAll", (*suite).dropOlderIsTold},
	{"DropOlderBatches", (*suite).dropOlderBatches},
	{"NothingIsOlderThanWhatAFeedHasTold", (*suite).fedHistory},
	{"OneLeads", (*suite).leadsAlone},
	{"LeadershipEnds", (*suite).leadershipEnds},
	{"WhatIsNoLeadersIsTakenOver", (*suite).leadTakesOver},
}

var checksOfInspecting = []check{
	{"InspectShowsWhatIsThere", (*suite).inspectShows},
	{"InspectShowsAnyBytes", (*suite).inspectAnything},
	{"InspectChangesNothing", (*suite).inspectChangesNothing},
	{"InspectIsNotWatched", (*suite).inspectIsNotWatched},
	{"InspectWithCancelledContext", (*suite).inspectCancelled},
}

var checksOfRoster = []check{
	{"AnnounceTellsAll", (*suite).announceTellsAll},
	{"AnnouncementEnds", (*suite).announcementEnds},
	{"AnnounceHasLimits", (*suite).announceLimits},
	{"WhatIsNoRosterIsTakenOver", (*suite).announceTakesOver},
}

type suite struct {
	*testing.T
	ctx    context.Context
	a, b   driver.Tier
	prefix string
}

func (s *suite) key(k string) string { return s.prefix + k }

func value(payload string) []byte {
	return envelope.Append(nil, envelope.Entry{Payload: []byte(payload), Token: envelope.NewToken()}, -1)
}

func (s *suite) acquire(l driver.Tier, k string, lease driver.Token) driver.Grant {
	s.Helper()
	r := l.Acquire(s.ctx, []driver.LeaseRequest{{Key: s.key(k), Lease: lease, TTL: time.Minute}})[0]
	if r.Err != nil {
		s.Fatalf("Acquire %s: %v", k, r.Err)
	}
	return r
}

func (s *suite) wantState(l driver.Tier, k string, want driver.State) {
	s.Helper()
	if r := s.acquire(l, k, envelope.NewToken()); r.State != want {
		s.Fatalf("key %s is in state %d with entry %q, want state %d", k, r.State, r.Entry, want)
	}
}

func (s *suite) wantFound(l driver.Tier, k string, want []byte) {
	s.Helper()
	if r := s.acquire(l, k, envelope.NewToken()); r.State != driver.StateFound || !bytes.Equal(r.Entry, want) {
		s.Fatalf("key %s is in state %d with entry %q, want %q", k, r.State, r.Entry, want)
	}
}

func (s *suite) fill(l driver.Tier, k string, lease driver.Token, v []byte, ttl time.Duration) bool {
	s.Helper()
	r := l.Fill(s.ctx, []driver.FillRequest{{Key: s.key(k), Lease: lease, Entry: v, TTL: ttl}})[0]
	if r.Err != nil {
		s.Fatalf("Fill %s: %v", k, r.Err)
	}
	return r.Stored
}

// put stores a value as a reader would.
func (s *suite) put(l driver.Tier, k string, v []byte, ttl time.Duration) {
	s.Helper()
	lease := envelope.NewToken()
	if r := s.acquire(l, k, lease); r.State != driver.StateGranted {
		s.Fatalf("lease on %s not granted: state %d", k, r.State)
	}
	if !s.fill(l, k, lease, v, ttl) {
		s.Fatalf("fill of %s refused", k)
	}
}

func (s *suite) fence(l driver.Tier, k string, life time.Duration) driver.Token {
	s.Helper()
	token := envelope.NewToken()
	if err := errors.Join(l.Fence(s.ctx, []driver.FenceRequest{{Key: s.key(k), Token: token, Life: life}})...); err != nil {
		s.Fatalf("Fence %s: %v", k, err)
	}
	return token
}

func (s *suite) release(l driver.Tier, k string, token driver.Token, publish []byte) driver.ReleaseResult {
	s.Helper()
	r := l.Release(s.ctx, []driver.ReleaseRequest{{Key: s.key(k), Token: token, Publish: publish, TTL: time.Minute}})[0]
	if r.Err != nil {
		s.Fatalf("Release %s: %v", k, r.Err)
	}
	return r
}

// eventually polls, since a real server's clock cannot be faked.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			s.Fatalf("never happened: %s", what)
		}
		select {
		case <-s.ctx.Done():
			s.Fatal(s.ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *suite) acquireGrantsOnce() {
	t1 := envelope.NewToken()
	if r := s.acquire(s.a, "k", t1); r.State != driver.StateGranted || r.Entry != nil {
		s.Fatalf("absent key: %+v, want a lease", r)
	}
	s.wantState(s.b, "k", driver.StateLeased)
	s.wantState(s.a, "k", driver.StateLeased) // the lease is the fill's, not the client's
	v := value("1")
	if !s.fill(s.a, "k", t1, v, time.Minute) {
		s.Fatal("fill under a standing lease refused")
	}
	s.wantFound(s.b, "k", v)
}

func (s *suite) acquireRetry() {
	lease := envelope.NewToken()
	s.acquire(s.a, "k", lease)
	if r := s.acquire(s.a, "k", lease); r.State != driver.StateGranted {
		s.Fatalf("a second try with the same token, its first answer lost: state %d, want the lease", r.State)
	}
}

func (s *suite) fillNeedsItsOwnLease() {
	if s.fill(s.a, "absent", envelope.NewToken(), value("x"), time.Minute) {
		s.Error("fill without any lease stored")
	}
	s.wantState(s.a, "absent", driver.StateGranted)

	s.acquire(s.a, "k", envelope.NewToken())
	if s.fill(s.a, "k", envelope.NewToken(), value("x"), time.Minute) {
		s.Error("fill with another token than the lease's stored")
	}
	s.put(s.a, "v", value("new"), time.Minute)
	if s.fill(s.b, "v", envelope.NewToken(), value("old"), time.Minute) {
		s.Error("fill over a value stored")
	}
}

func (s *suite) leaseExpires() {
	lease := envelope.NewToken()
	r := s.a.Acquire(s.ctx, []driver.LeaseRequest{{Key: s.key("k"), Lease: lease, TTL: 30 * time.Millisecond}})[0]
	if r.Err != nil || r.State != driver.StateGranted {
		s.Fatalf("%+v", r)
	}
	next := envelope.NewToken()
	s.eventually("the lease of a crashed node ends", func() bool { return s.acquire(s.b, "k", next).State == driver.StateGranted })
	if s.fill(s.a, "k", lease, value("late"), time.Minute) {
		s.Error("fill under an expired lease stored")
	}
	if !s.fill(s.b, "k", next, value("new"), time.Minute) {
		s.Error("fill under the new lease refused")
	}
}

func (s *suite) entryExpires() {
	s.put(s.a, "k", value("1"), 30*time.Millisecond)
	s.eventually("the entry expires", func() bool { return s.acquire(s.b, "k", envelope.NewToken()).State == driver.StateGranted })
}

func (s *suite) foreignBytes() {
	// Whatever a value's bytes look like, they are found as they are.
	for i, payload := range []string{"L", "F0", "N", strings.Repeat("F", 40), ""} {
		k := fmt.Sprint("k", i)
		v := value(payload)
		s.put(s.a, k, v, time.Minute)
		s.wantFound(s.b, k, v)
	}
}

func (s *suite) longLease() {
	lease := string(envelope.AppendLease(nil, envelope.NewToken()))
	s.put(s.a, "long", []byte(lease), time.Hour) // a lease of the suite has a minute
	s.wantState(s.b, "long", driver.StateGranted)
	s.put(s.a, "other", []byte(lease), 9*time.Minute)
	s.wantState(s.b, "other", driver.StateLeased)
}

func (s *suite) abandonOnlyOwn() {
	lease := envelope.NewToken()
	s.acquire(s.a, "k", lease)
	if err := s.a.Abandon(s.ctx, []driver.AbandonRequest{{Key: s.key("k"), Lease: envelope.NewToken()}})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "k", driver.StateLeased)
	if err := s.a.Abandon(s.ctx, []driver.AbandonRequest{{Key: s.key("k"), Lease: lease}})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "k", driver.StateGranted)
}

func (s *suite) staleValueIsLeased() {
	for format, etag := range map[string]string{"2": "", "3": "e"} {
		s.staleEntryIsLeased("format "+format, etag)
	}
}

func (s *suite) staleEntryIsLeased(k, etag string) {
	staleFor := func(d time.Duration) []byte {
		return envelope.Append(nil, envelope.Entry{Codec: 1, Token: envelope.NewToken(), Stored: time.Now(), StaleFor: d, ETag: etag, Payload: []byte("old")}, -1)
	}
	fresh := staleFor(time.Second)
	s.put(s.a, "fresh, "+k, fresh, time.Minute)
	s.wantFound(s.b, "fresh, "+k, fresh)
	v := staleFor(time.Hour)
	s.put(s.a, k, v, time.Minute)
	req := driver.LeaseRequest{Key: s.key(k), Lease: envelope.NewToken(), TTL: time.Minute}
	r := s.b.Acquire(s.ctx, []driver.LeaseRequest{req})[0]
	if r.Err != nil || r.State != driver.StateGranted || !bytes.Equal(r.Entry, v) || r.Left <= 0 || r.Left > time.Minute {
		s.Fatalf("a stale value: %+v, want a lease beside the value", r)
	}
	s.wantState(s.a, k, driver.StateLeased)
	if err := s.b.Abandon(s.ctx, []driver.AbandonRequest{{Key: req.Key, Lease: req.Lease, Restore: v, TTL: r.Left}})[0]; err != nil {
		s.Fatal(err)
	}
	// Restored it is stale still: the next one is granted the lease too.
	req.Lease = envelope.NewToken()
	if r := s.a.Acquire(s.ctx, []driver.LeaseRequest{req})[0]; r.State != driver.StateGranted || !bytes.Equal(r.Entry, v) {
		s.Fatalf("restored: %+v", r)
	}
}

func (s *suite) evictComparesBytes() {
	v := value("1")
	s.put(s.a, "k", v, time.Minute)
	w := value("2")
	s.put(s.a, "other", w, time.Minute)
	for _, err := range s.a.Evict(s.ctx, []driver.EvictRequest{{Key: s.key("k"), Entry: v}, {Key: s.key("other"), Entry: value("3")}}) {
		if err != nil {
			s.Fatal(err)
		}
	}
	s.wantFound(s.a, "other", w)
	s.wantState(s.a, "k", driver.StateGranted)
}

func (s *suite) batches() {
	const n = 1100 // more than one pipeline
	lease := envelope.NewToken()
	reqs := make([]driver.LeaseRequest, n)
	fills := make([]driver.FillRequest, n)
	rels := make([]driver.ReleaseRequest, n)
	fences := make([]driver.FenceRequest, n)
	for i := range n {
		k := s.key(fmt.Sprint("k", i))
		fences[i] = driver.FenceRequest{Key: k, Token: lease, Life: time.Minute}
		reqs[i] = driver.LeaseRequest{Key: k, Lease: lease, TTL: time.Minute}
		fills[i] = driver.FillRequest{Key: k, Lease: lease, Entry: value(fmt.Sprint(i)), TTL: time.Minute}
		rels[i] = driver.ReleaseRequest{Key: k, Token: lease}
	}
	for i, r := range s.a.Acquire(s.ctx, reqs) {
		if r.Err != nil || r.State != driver.StateGranted {
			s.Fatalf("acquire %d: %+v", i, r)
		}
	}
	fills[7].Lease = envelope.NewToken()
	for i, r := range s.a.Fill(s.ctx, fills) {
		if r.Err != nil || r.Stored != (i != 7) {
			s.Fatalf("fill %d: %+v", i, r)
		}
	}
	for i, r := range s.b.Acquire(s.ctx, reqs[8:]) {
		if r.Err != nil || r.State != driver.StateFound || !bytes.Equal(r.Entry, fills[8+i].Entry) {
			s.Fatalf("acquire %d: %+v", 8+i, r)
		}
	}
	if err := errors.Join(s.a.Fence(s.ctx, fences)...); err != nil {
		s.Fatal(err)
	}
	for i, r := range s.a.Release(s.ctx, rels) {
		if r.Err != nil || r.Lost {
			s.Fatalf("release %d: %+v", i, r)
		}
	}
	s.wantState(s.b, "k0", driver.StateGranted)
	if got := s.a.Acquire(s.ctx, nil); len(got) != 0 {
		s.Errorf("empty batch answered %v", got)
	}
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if r := s.a.Acquire(ctx, []driver.LeaseRequest{{Key: s.key("k"), Lease: envelope.NewToken(), TTL: time.Minute}})[0]; !errors.Is(r.Err, context.Canceled) {
		s.Errorf("Acquire: %v", r.Err)
	}
	if err := s.a.Fence(ctx, []driver.FenceRequest{{Key: s.key("k"), Token: envelope.NewToken(), Life: time.Minute}})[0]; !errors.Is(err, context.Canceled) {
		s.Errorf("Fence: %v", err)
	}
}
