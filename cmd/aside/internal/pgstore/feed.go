package pgstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/pgfeed"
)

var _ todo.Feeder = (*Store)(nil)

// Feed returns a feed by logical replication, with a slot of the cache's own.
func (s *Store) Feed(o todo.FeedOptions) (aside.Feed, error) {
	return pgfeed.New(pgfeed.Options{
		Config: s.config, Table: s.schemaName() + "." + s.name, Key: "id", Version: "version",
		Slot: slotOf(o.Cache), Temporary: o.Alone, Logger: o.Log,
	})
}

// schemaName is the first schema of the URL's search_path.
func (s *Store) schemaName() string {
	for name := range strings.SplitSeq(s.config.RuntimeParams["search_path"], ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" && name != "$user" {
			return name
		}
	}
	return "public"
}

// maxSlot is how long a name of a slot can be: PostgreSQL allows 63 bytes, and pgfeed has
// a second slot with a longer name.
const maxSlot = 58

// slotOf returns a name for the slot of a cache. Different caches have different ones, also
// if their names differ only in what a slot's name cannot have, or in the end of a second one.
func slotOf(cache string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, cache)
	name := "aside_" + plain
	if plain == cache && len(name) <= maxSlot && !strings.HasSuffix(name, "_back") {
		return name
	}
	sum := sha256.Sum256([]byte(cache))
	end := fmt.Sprintf("_%s", hex.EncodeToString(sum[:4]))
	return name[:min(len(name), maxSlot-len(end))] + end
}
