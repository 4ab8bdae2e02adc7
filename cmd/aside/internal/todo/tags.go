package todo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/asidecache/aside"
)

// Tags by day: each record has one tag, the day on which it was created. So somebody who repairs
// the records of a day in the store drops all of them from the cache at once.

const (
	tagPrefix  = "created:"
	unknownDay = "unknown"
)

// DayTag is the tag of a record that was created at that time: the day in UTC, such as
// created:2026-11-29, or created:unknown for the zero time.
func DayTag(created time.Time) string {
	if created.IsZero() {
		return tagPrefix + unknownDay
	}
	return tagPrefix + created.UTC().Format(time.DateOnly)
}

// CheckTag returns an error if no record can have the tag.
func CheckTag(tag string) error {
	day, ok := strings.CutPrefix(tag, tagPrefix)
	if ok && day != unknownDay {
		_, err := time.Parse(time.DateOnly, day)
		ok = err == nil
	}
	if !ok {
		return fmt.Errorf("must be created:YYYY-MM-DD, a day in UTC, or created:unknown, is %q", tag)
	}
	return nil
}

func withDay(t Todo) aside.Loaded[Todo] {
	return aside.Loaded[Todo]{Value: t, Tags: []string{DayTag(t.CreatedAt)}}
}

// dayLoader is a loader that tells the tags. An absence has no day, and so no tag.
type dayLoader struct{ loader }

// LoadEntry implements aside.EntryLoader.
func (l dayLoader) LoadEntry(ctx context.Context, id string, _ aside.Previous[Todo]) (aside.Loaded[Todo], error) {
	t, err := l.Load(ctx, id)
	if err != nil {
		return aside.Loaded[Todo]{}, err
	}
	return withDay(t), nil
}

// LoadEntries implements aside.BulkEntryLoader.
func (l dayLoader) LoadEntries(ctx context.Context, ids []string, _ map[string]aside.Previous[Todo]) (map[string]aside.Loaded[Todo], error) {
	found, err := l.LoadMany(ctx, ids)
	all := make(map[string]aside.Loaded[Todo], len(found))
	for id, t := range found {
		all[id] = withDay(t)
	}
	return all, err
}

// dayPublisher publishes with tags.
type dayPublisher struct{ *aside.WriteTx[string, Todo] }

// Publish replaces that of the WriteTx.
func (p dayPublisher) Publish(id string, t Todo) { p.PublishEntry(id, withDay(t)) }
