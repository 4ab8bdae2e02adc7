package mongofeed

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/driver"
)

// readBatch is how many documents one read asks for.
const readBatch = 200

// resolver turns events, in their order, into changes of keys.
type resolver struct {
	f       *Feed
	known   *known
	changes []driver.Change
	all     bool
	// unread are documents whose keys must be read, and the places of their changes.
	unread map[string]*unread
	ids    []bson.RawValue // of unread
}

type unread struct {
	places []int
	stale  bool // a later event of this batch tells more than the read
}

// resolve returns the changes that events make. all: every key may have changed.
func (s *stream) resolve(ctx context.Context, events []event) (changes []driver.Change, all bool, _ error) {
	r := resolver{f: s.f, known: s.known, unread: map[string]*unread{}}
	for i := range events {
		r.add(&events[i])
	}
	if r.all {
		return nil, true, nil
	}
	for ids := r.ids; len(ids) > 0; {
		n := min(len(ids), readBatch)
		if err := s.read(ctx, ids[:n], &r); err != nil {
			return nil, false, fmt.Errorf("read the keys of %d documents: %w", n, err)
		}
		ids = ids[n:]
	}
	if r.all {
		return nil, true, nil
	}
	// Documents that are gone leave empty keys: the events of their deletions follow.
	keep := r.changes[:0]
	for _, c := range r.changes {
		if c != (driver.Change{}) {
			keep = append(keep, c)
		}
	}
	return keep, false, nil
}

func (r *resolver) add(e *event) {
	id := idOf(e.id)
	if u := r.unread[id]; u != nil {
		u.stale = true
	}
	// before is the record before the event, if that is known.
	known, have := r.known.get(id)
	var before *record
	switch {
	case e.before != nil:
		before = e.before
	case have && known.at.Compare(e.time) <= 0:
		before = &record{key: known.key, keyed: known.keyed, version: known.version}
	}
	if before != nil && before.odd {
		r.all = true
	}
	switch e.op {
	case "insert":
		r.tell(e.after, e.after.version)
		r.learn(id, e.after, e.time)
	case "replace":
		if before == nil && !r.f.opts.FixedKey && !r.f.byID() {
			r.all = true
		}
		r.moved(before, e.after)
		var version uint64
		if before != nil && before.version > 0 && e.after.version > before.version {
			version = e.after.version
		} // else it may have the version that is cached, and another content
		r.tell(e.after, version)
		r.learn(id, e.after, e.time)
	case "update":
		r.update(e, id, before, known, have)
	case "delete":
		r.known.forget(id)
		if before == nil {
			before = r.guess(e.id)
		}
		if before == nil {
			r.all = true
			return
		}
		if before.keyed {
			r.changes = append(r.changes, driver.Change{Key: before.key, Deleted: true})
		}
	}
}

func (r *resolver) update(e *event, id string, before *record, known fact, have bool) {
	version := e.after.version // 0 if the update does not set it: the content has changed under the old one
	after := record{version: version}
	if before != nil {
		if version <= before.version {
			version = 0
		}
		if after.version == 0 {
			after.version = before.version
		}
	}
	if e.newKey {
		if before == nil {
			r.all = true
		}
		after.key, after.keyed, after.odd = e.after.key, e.after.keyed, e.after.odd
		r.moved(before, &after)
		r.tell(&after, version)
		r.learn(id, &after, e.time)
		return
	}
	if before == nil {
		before = r.guess(e.id)
	}
	switch {
	case before != nil:
		after.key, after.keyed = before.key, before.keyed
		r.tell(&after, version)
		r.learn(id, &after, e.time)
	case have: // It is as good as a read now, and must not be taken for older than it is.
		r.tell(&record{key: known.key, keyed: known.keyed}, version)
	case r.f.byID():
		r.all = true // Format does not know the _id
	default:
		u := r.unread[id]
		if u == nil {
			u = new(unread)
			r.unread[id] = u
			r.ids = append(r.ids, e.id)
		}
		u.places = append(u.places, len(r.changes))
		u.stale = false
		// The read fills in the key.
		r.changes = append(r.changes, driver.Change{Version: version})
	}
}

// guess returns the record by its _id alone, if that is enough.
func (r *resolver) guess(id bson.RawValue) *record {
	keyOf := r.f.keyOfID
	if r.f.byID() {
		keyOf = r.f.format
	}
	if keyOf == nil {
		return nil
	}
	key, ok := keyOf(id)
	if !ok {
		return nil
	}
	return &record{key: key, keyed: true}
}

// moved tells that the old key is gone, if it is another one.
func (r *resolver) moved(before, after *record) {
	if before != nil && before.keyed && (!after.keyed || before.key != after.key) {
		r.changes = append(r.changes, driver.Change{Key: before.key, Deleted: true})
	}
}

func (r *resolver) tell(rec *record, version uint64) {
	if rec.odd {
		r.all = true
	}
	if rec.keyed {
		r.changes = append(r.changes, driver.Change{Key: rec.key, Version: version})
	}
}

func (r *resolver) learn(id string, rec *record, at bson.Timestamp) {
	r.known.set(id, fact{rec.key, rec.keyed, rec.version, at})
}

// found takes a document that was read.
func (r *resolver) found(doc bson.Raw, at bson.Timestamp) {
	id := idOf(doc.Lookup(idField))
	u := r.unread[id]
	if u == nil {
		return
	}
	rec := r.f.record(doc, doc.Lookup(idField))
	if rec.odd {
		r.all = true
	}
	for _, i := range u.places {
		if rec.keyed {
			r.changes[i].Key = rec.key
		} else {
			r.changes[i] = driver.Change{}
		}
	}
	u.places = nil
	if !u.stale {
		r.learn(id, rec, at)
	}
}

// read reads the keys of documents by their _ids.
func (s *stream) read(ctx context.Context, ids []bson.RawValue, r *resolver) error {
	projection := bson.D{}
	for _, field := range s.f.read() {
		projection = append(projection, bson.E{Key: field, Value: 1})
	}
	raw, err := s.run(ctx, s.f.opts.Silence, bson.D{
		{Key: "find", Value: s.f.coll.Name()},
		{Key: "filter", Value: bson.D{{Key: idField, Value: bson.D{{Key: "$in", Value: ids}}}}},
		{Key: "projection", Value: projection},
		{Key: "batchSize", Value: len(ids)},
		{Key: "singleBatch", Value: true},
		{Key: "readConcern", Value: bson.D{{Key: "level", Value: "majority"}}},
	})
	if err != nil {
		return err
	}
	answer, err := parseReply(raw, "firstBatch")
	if err != nil {
		return err
	}
	at := answer.opTime
	if at.IsZero() {
		at = bson.Timestamp{T: 1<<32 - 1} // newer than all events
	}
	for _, doc := range answer.events {
		r.found(doc, at)
	}
	for _, id := range ids {
		if u := r.unread[idOf(id)]; u != nil {
			for _, i := range u.places {
				r.changes[i] = driver.Change{}
			}
		}
	}
	return nil
}
