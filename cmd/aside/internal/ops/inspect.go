package ops

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Inspection is the answer of GET /ops/inspect.
type Inspection struct {
	Key     string  `json:"key"`
	L2Key   string  `json:"l2_key"`
	L1      *Entry  `json:"l1"`
	L2      *Entry  `json:"l2"`
	L2Error string  `json:"l2_error"`
	Primary Primary `json:"primary"`
	Writing bool    `json:"writing"` // by this server, now
	Loading bool    `json:"loading"`
	Verdict string  `json:"verdict"`
	Explain string  `json:"explain"`
	Node    string  `json:"node"` // whose L1 it is
}

// Entry is what a tier has.
type Entry struct {
	Kind       string     `json:"kind"`
	Value      *todo.Todo `json:"value"`
	Error      string     `json:"error"`
	TooLarge   bool       `json:"too_large"`
	Version    uint64     `json:"version"`
	Stored     string     `json:"stored"` // RFC 3339; "" if it is not known
	AgeMS      int64      `json:"age_ms"`
	LeftMS     int64      `json:"left_ms"` // -1: it has no end
	Stale      bool       `json:"stale"`
	Tags       []string   `json:"tags"`
	Schema     uint32     `json:"schema"`
	Codec      int        `json:"codec"`
	Format     int        `json:"format"`
	Compressed bool       `json:"compressed"`
	Size       int        `json:"size"` // in bytes; 0 in L1
	Node       string     `json:"node"` // id of the node that stored it or leases it; "" if it is not known
	NodeName   string     `json:"node_name"`
	Writers    []Writer   `json:"writers"`
	Carried    *Entry     `json:"carried"` // of a lease: the entry that reads may be answered with meanwhile
}

// Writer is one of a fence.
type Writer struct {
	Node       string `json:"node"`
	NodeName   string `json:"node_name"`
	LeftMS     int64  `json:"left_ms"`
	MayPublish bool   `json:"may_publish"`
	Crowd      bool   `json:"crowd"` // stands for several
}

// Primary is the store's record.
type Primary struct {
	Found  bool       `json:"found"`
	Record *todo.Todo `json:"record"`
	TookMS float64    `json:"took_ms"`
	Error  string     `json:"error"`
}

// Verdicts of an Inspection.
const (
	Same         = "same"          // the cache has what the store has
	Older        = "older"         // the cache has an older record, or one that is gone
	Newer        = "newer"         // the cache has a newer one: the store was set back
	BeingWritten = "being-written" // a write is running, or its outcome is unknown
	BeingLoaded  = "being-loaded"
	NotCached    = "not-cached"
	Absent       = "absent" // there is no such record, and the cache has none
	Unknown      = "unknown"
)

func (h *handler) inspect(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok {
		return
	}
	select {
	case h.inspects <- struct{}{}:
		defer func() { <-h.inspects }()
	default:
		w.Header().Set("Retry-After", "1")
		httpapi.WriteProblem(w, http.StatusServiceUnavailable, "busy", fmt.Sprintf("%d inspections are running, which is the maximum. Try again later.", maxInspects))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	out, err := h.look(ctx, id)
	if err == nil && (out.Verdict == Older || out.Verdict == Newer) {
		// The tiers are looked at before the store. A change in between is no fault.
		out, err = h.look(ctx, id)
	}
	if err != nil {
		httpapi.WriteError(w, err, false)
		return
	}
	httpapi.WriteJSON(w, http.StatusOK, out)
}

// look looks at the tiers, and then at the store.
func (h *handler) look(ctx context.Context, id string) (Inspection, error) {
	out := Inspection{Key: id}
	if h.Cache != nil {
		i, err := h.Cache.Inspect(ctx, id)
		if err != nil {
			return out, err
		}
		out.L2Key, out.Writing, out.Loading, out.Node = i.L2Key, i.Writing, i.Loading, h.Cache.Node()
		out.L1, out.L2 = h.entry(i.L1), h.entry(i.L2)
		if i.L2Err != nil {
			out.L2Error = i.L2Err.Error()
		}
	}
	start := time.Now()
	record, err := h.Store.Get(ctx, id)
	out.Primary.TookMS = dashboard.Millis(time.Since(start))
	switch {
	case err == nil:
		out.Primary.Found, out.Primary.Record = true, &record
	case !errors.Is(err, todo.ErrNotFound):
		h.Log.Warn("an inspection could not read the store", "key_hash", h.keyHash(id), "error", err)
		// The error of a driver may contain hosts and users, so only the log has it.
		out.Primary.Error = "the store cannot be read; the server's log has the reason"
		if errors.Is(err, todo.ErrUnreadable) {
			out.Primary.Error = "the store has a record that cannot be shown, for example because it is too large"
		}
	}
	out.Verdict, out.Explain = h.judge(&out)
	return out, nil
}

func (h *handler) entry(e *aside.InspectedEntry[todo.Todo]) *Entry {
	if e == nil {
		return nil
	}
	out := &Entry{
		Kind: e.Kind.String(), TooLarge: e.TooLarge, Version: e.Version, AgeMS: e.Age.Milliseconds(), LeftMS: left(e.Left), Stale: e.Stale,
		Schema: e.Schema, Codec: int(e.Codec), Format: int(e.Format), Compressed: e.Compressed, Size: e.Size, Tags: append([]string{}, e.Tags...), Writers: []Writer{},
	}
	if !e.Stored.IsZero() {
		out.Stored = e.Stored.UTC().Format(time.RFC3339Nano)
	}
	out.Node, out.NodeName = h.named(e.Node)
	switch {
	case e.Err != nil:
		out.Error = e.Err.Error()
	case e.Kind == aside.EntryValue:
		out.Value = &e.Value
	}
	for _, w := range e.Writers {
		writer := Writer{LeftMS: left(w.Left), MayPublish: w.MayPublish, Crowd: w.Crowd}
		writer.Node, writer.NodeName = h.named(w.Node)
		out.Writers = append(out.Writers, writer)
	}
	out.Carried = h.entry(e.Carried)
	return out
}

func (h *handler) named(n aside.NodeID) (id, name string) {
	if n.IsZero() {
		return "", ""
	}
	id = n.String()
	return id, h.NameOf(id)
}

func left(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}

// judge compares the tiers with the store.
func (h *handler) judge(i *Inspection) (verdict, explain string) {
	p := &i.Primary
	switch {
	case i.L2 != nil && i.L2.Kind == "fence":
		return BeingWritten, explainFence(i.L2)
	case i.Writing:
		return BeingWritten, "This server is writing the record."
	case p.Error != "":
		return Unknown, "The record in the store could not be read, so there is nothing to compare with: " + p.Error + "."
	}
	in, same := "", 0
	for _, tier := range []struct {
		name string
		e    *Entry
	}{{"memory (L1)", i.L1}, {"Redis (L2)", served(i.L2)}} {
		switch v, text := compare(tier.e, p); v {
		case "":
		case Same, Absent:
			same++
			if in != "" {
				in += " and "
			}
			in += tier.name
		default:
			return v, fmt.Sprintf("The entry in %s %s", tier.name, text)
		}
	}
	if i.L2Error != "" {
		return Unknown, explainL1(i, same > 0) + " Redis could not be looked at: " + i.L2Error + "."
	}
	switch {
	case same > 0 && p.Found:
		return Same, fmt.Sprintf("The record in %s is that of the store.%s", in, refreshed(i.L2))
	case same > 0:
		return Absent, fmt.Sprintf("The store has no such record, and %s says so too.%s", in, refreshed(i.L2))
	case i.L2 != nil && i.L2.Kind == "lease" && i.L2.Error == "":
		return BeingLoaded, fmt.Sprintf("%s is loading the record from the store; its lease ends in %v at the latest.", nodeText(i.L2.Node, i.L2.NodeName), span(i.L2.LeftMS))
	case i.Loading:
		return BeingLoaded, "This server is loading the record from the store."
	case i.L2 != nil:
		return NotCached, "Redis has an entry that is of no use: " + i.L2.Error + ". The next read replaces it."
	case h.Cache == nil:
		return NotCached, "This server has no cache: every read asks the store."
	case !p.Found:
		return Absent, "Neither the cache nor the store has such a record."
	}
	return NotCached, "The store has the record, and the cache does not: the next read loads it."
}

// explainL1 says what memory has, if that is all that is known.
func explainL1(i *Inspection, same bool) string {
	switch {
	case same && i.Primary.Found:
		return "The record in memory (L1) is that of the store."
	case same:
		return "The store has no such record, and memory (L1) says so too."
	case i.Loading:
		return "This server is loading the record from the store."
	}
	return "Memory (L1) has no entry."
}

// served is what reads are answered with: what a lease carries, if it does.
func served(e *Entry) *Entry {
	if e != nil && e.Carried != nil {
		return e.Carried
	}
	return e
}

// compare compares a tier's entry with the store's record. It returns "" if there is
// nothing to compare.
func compare(e *Entry, p *Primary) (verdict, text string) {
	switch {
	case e == nil || e.Error != "" && !e.TooLarge:
		return "", ""
	case e.Kind == "negative" && p.Found:
		return Older, "says that there is no such record, but the store has one: it was probably created past the service. Dropping the entry heals that."
	case e.Kind == "negative":
		return Absent, ""
	case e.Kind != "value" || e.TooLarge:
		return "", ""
	case !p.Found:
		return Older, fmt.Sprintf("has version %d, but the store has no such record: it was probably deleted past the service. Dropping the entry heals that.", e.Version)
	}
	version := uint64(max(p.Record.Version, 0))
	switch {
	case e.Version < version:
		return Older, fmt.Sprintf("has version %d, and the store has version %d: it was changed past the service, or by a server that does not reach Redis now. Dropping the entry heals that.", e.Version, version)
	case e.Version > version:
		return Newer, fmt.Sprintf("has version %d, and the store only has version %d: the store was probably set back, such as by a restore. Dropping the entry heals that.", e.Version, version)
	case e.Value == nil || !sameRecord(e.Value, p.Record):
		return Older, fmt.Sprintf("has version %d as the store does, but another content: it was probably changed past the service without a new version. Dropping the entry heals that.", version)
	}
	return Same, ""
}

func sameRecord(a, b *todo.Todo) bool {
	if (a.Description == nil) != (b.Description == nil) || a.Description != nil && *a.Description != *b.Description {
		return false
	}
	return a.ID == b.ID && a.Name == b.Name && a.Completed == b.Completed && a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt)
}

// refreshed says who loads the record anew, if somebody does.
func refreshed(e *Entry) string {
	if e == nil || e.Carried == nil {
		return ""
	}
	return fmt.Sprintf(" %s is loading it again; its lease ends in %v at the latest.", nodeText(e.Node, e.NodeName), span(e.LeftMS))
}

func explainFence(e *Entry) string {
	if len(e.Writers) == 0 {
		if e.Error != "" {
			return "Redis has a fence: " + e.Error + "."
		}
		return "A write has just ended; its fence is about to go."
	}
	if len(e.Writers) == 1 {
		w := e.Writers[0]
		if w.Crowd {
			return fmt.Sprintf("Several writes are running, or their outcome is unknown; their fence ends in %v at the latest. Until then reads go to the store.", span(w.LeftMS))
		}
		return fmt.Sprintf("%s is writing the record, or does not know the outcome; its fence ends in %v at the latest. Until then reads go to the store.", nodeText(w.Node, w.NodeName), span(w.LeftMS))
	}
	last := int64(0)
	for _, w := range e.Writers {
		last = max(last, w.LeftMS)
	}
	return fmt.Sprintf("%d writes are running, or their outcome is unknown; the last fence ends in %v at the latest. Until then reads go to the store.", len(e.Writers), span(last))
}

func nodeText(id, name string) string {
	switch {
	case name != "":
		return "Node " + name
	case id != "":
		return "A node that is not known (" + id + ")"
	}
	return "A node"
}

func span(ms int64) time.Duration {
	return time.Duration(ms) * time.Millisecond
}
