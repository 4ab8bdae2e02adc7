package pgfeed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Options of a Feed. URL or Config, Table and Key are required.
type Options struct {
	// URL of the primary: a postgres:// URL or a string of key=value pairs. It must lead
	// to the server itself, not to a pooler. The role needs the attribute REPLICATION, and
	// must own the table unless the publication is there already.
	URL string

	// Config is how to reach the primary, instead of URL. It is copied.
	Config *pgconn.Config

	// Table that the cache's records are in: "schema.table", or "table" for the schema
	// public. The names are as the catalog has them: no quotes, no change of case. A
	// partitioned table is followed with all its partitions.
	Table string

	// Key is the column that the cache's keys are made of. It is the primary key, or the
	// only column of the index that is the table's replica identity, or any column if the
	// replica identity is FULL.
	//
	// Its text is taken as the key. That is what aside.Options.Key makes of a string or an
	// integer by default. For other types, and other keys, set KeyOf.
	Key string

	// KeyOf makes the cache's key, as aside.Options.Key returns it, of the column's text,
	// as PostgreSQL writes it. If it panics, all records are told to have changed.
	KeyOf func(text string) string

	// Version is the integer column with the record's version, as aside.Options.Version
	// returns it. If it is empty, own writes are known by their mark only (see Mark).
	Version string

	// Slot is the name of the replication slot. There is a second one of the same name
	// with "_back" behind it. It takes one slot for each cache: its nodes share it by their
	// L2, and two caches that follow one slot end each other's stream. Names of slots are
	// common to all databases of a server. The default is made from Table: aside_todos for
	// public.todos, with a hash behind it for a table of another schema.
	// Before you change the name, call Drop: nobody else removes the old slots.
	Slot string

	// Publication is the name of the publication; the default is that of the slot.
	Publication string

	// Temporary has the server drop the slot when the connection ends. It is for caches
	// without L2, of which each process follows the feed for itself: a new stream does not
	// go on where an old one ended, and there is no second slot.
	Temporary bool

	// KeepFor is how long positions can be opened after they were handled; default 2m.
	// The server keeps its log for so long.
	KeepFor time.Duration

	// MaxChanges bounds the changes of one transaction that are kept in memory; default
	// 50,000. A transaction that changes more records is told as "everything may have
	// changed".
	MaxChanges int

	// Silence bounds how long a server that says nothing is trusted; default 10s. While the
	// server works on what is not told yet, Next gives a sign of life after half of it.
	// It also sets wal_sender_timeout of the feed's connection, to half of it, unless the URL
	// or Config has that.
	Silence time.Duration

	// CreateTimeout bounds how long Open waits for write transactions that are open while
	// it makes a slot; default 10s.
	CreateTimeout time.Duration

	// AllowUnboundedWAL accepts a server whose max_slot_wal_keep_size is -1: if nobody
	// follows the feed for long, the log of such a server fills its disk.
	AllowUnboundedWAL bool

	// Logger; default slog.Default().
	Logger *slog.Logger
}

// ErrOptions is matched by the error of New.
var ErrOptions = errors.New("pgfeed: invalid options")

const (
	defaultKeepFor    = 2 * time.Minute
	defaultMaxChanges = 50_000
	defaultSilence    = 10 * time.Second
	defaultCreate     = 10 * time.Second

	// maxName is how long a name of PostgreSQL can be, in bytes.
	maxName = 63
	backEnd = "_back"
	maxSlot = maxName - len(backEnd)
)

// table is Options.Table.
type table struct{ schema, name string }

func (t table) String() string { return t.schema + "." + t.name }

// sql is the table's name in a statement.
func (t table) sql() string { return ident(t.schema) + "." + ident(t.name) }

// settle checks o, and replaces what is not set by its default.
func (o *Options) settle() (cfg *pgconn.Config, t table, err error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...))
	}
	if o.Config != nil {
		if cfg = o.Config.Copy(); o.URL != "" {
			fault("both URL and Config are set")
		}
	} else if o.URL == "" {
		fault("URL is empty")
	} else if cfg, err = pgconn.ParseConfig(o.URL); err != nil {
		// Its text may quote a password.
		fault("URL is neither a PostgreSQL URL (postgres://user@host:5432/database) nor a string such as host=h user=u dbname=d")
	}
	var ok bool
	if t.schema, t.name, ok = strings.Cut(o.Table, "."); !ok {
		t.schema, t.name = "public", o.Table
	}
	if t.schema == "" || t.name == "" {
		fault("Table %q is not of the form schema.table", o.Table)
	}
	if o.Key == "" {
		fault("Key is empty: name the column of the key")
	}
	if o.Version != "" && o.Version == o.Key {
		fault("Version is the key column %q", o.Key)
	}
	name := slotName(t)
	if o.Slot == "" {
		o.Slot = name
	} else if len(o.Slot) > maxSlot || strings.Map(slotRune, o.Slot) != o.Slot {
		fault("Slot %q: at most %d characters of a-z, 0-9 and _", o.Slot, maxSlot)
	}
	if o.Publication == "" {
		o.Publication = o.Slot
	} else if len(o.Publication) > maxName {
		fault("Publication %q is longer than %d bytes", o.Publication, maxName)
	}
	duration := func(d *time.Duration, name string, least, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		} else if *d < least {
			fault("%s is %v: at least %v", name, *d, least)
		}
	}
	duration(&o.KeepFor, "KeepFor", time.Second, defaultKeepFor)
	duration(&o.Silence, "Silence", 2*time.Second, defaultSilence)
	duration(&o.CreateTimeout, "CreateTimeout", 100*time.Millisecond, defaultCreate)
	if o.MaxChanges == 0 {
		o.MaxChanges = defaultMaxChanges
	} else if o.MaxChanges < 1 {
		fault("MaxChanges is %d: at least 1", o.MaxChanges)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return cfg, t, errors.Join(faults...)
}

// slotRune replaces what the name of a slot must not have.
func slotRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
		return r
	}
	return '_'
}

// slotName is the default name of a table's slot. It has a hash where the rest could be that of
// another table's slot: app.todos and public.app_todos, todos_back and the second slot of todos.
func slotName(t table) string {
	plain := t.name
	if t.schema != "public" {
		plain = t.schema + "_" + t.name
	}
	name := "aside_" + strings.Map(slotRune, plain)
	if name == "aside_"+t.name && !strings.HasSuffix(name, backEnd) && len(name) <= maxSlot {
		return name
	}
	sum := sha256.Sum256([]byte(t.String()))
	end := "_" + hex.EncodeToString(sum[:4])
	return name[:min(len(name), maxSlot-len(end))] + end
}

// ident is a name in a statement.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quote is a text in a statement. Connections have standard_conforming_strings on.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
