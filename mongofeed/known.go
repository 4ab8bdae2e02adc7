package mongofeed

import (
	"maps"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// known remembers the keys of documents, by their _id, in the order of the events. One
// stream at a time has it; when that is closed, the feed keeps it for the next one.
//
// It has two halves. What is used goes into the young one; when that is full, the old one
// is dropped and the young one becomes old.
type known struct {
	size       int
	young, old map[string]fact
	// covered is the time up to which all events were seen. A stream that begins later
	// has a hole before it: then nothing is known.
	covered bson.Timestamp
}

// fact is what was known of a document at a time.
type fact struct {
	key     string
	keyed   bool
	version uint64 // 0: not known
	// at is the time of the event, or of the read. A read may have seen changes whose
	// events come later. So a fact holds before an event only if it is not newer.
	at bson.Timestamp
}

func newKnown(size int) *known {
	return &known{size: size, young: map[string]fact{}, old: map[string]fact{}}
}

func (k *known) clear() { *k = *newKnown(k.size) }

// rewind forgets what was learned after a time, as the events after it come again.
func (k *known) rewind(to bson.Timestamp) {
	newer := func(_ string, f fact) bool { return f.at.After(to) }
	maps.DeleteFunc(k.young, newer)
	maps.DeleteFunc(k.old, newer)
}

func (k *known) get(id string) (fact, bool) {
	if f, ok := k.young[id]; ok {
		return f, true
	}
	f, ok := k.old[id]
	if ok {
		k.set(id, f)
	}
	return f, ok
}

func (k *known) set(id string, f fact) {
	if k.size == 0 {
		return
	}
	if _, ok := k.young[id]; !ok && len(k.young) >= k.size {
		k.old, k.young = k.young, map[string]fact{}
	}
	k.young[id] = f
	delete(k.old, id)
}

func (k *known) forget(id string) {
	delete(k.young, id)
	delete(k.old, id)
}
