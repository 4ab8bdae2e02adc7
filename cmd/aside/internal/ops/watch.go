package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/sse"
)

const (
	// maxEvents is how many events a watch sends per second. A hot key has more: those are
	// counted.
	maxEvents = 200
	// beat is how often a watch shows that it lives.
	beat = 10 * time.Second
)

// keyEvent is an event of a key, as the page gets it.
type keyEvent struct {
	T       int64   `json:"t"` // in milliseconds since 1970
	Kind    string  `json:"kind"`
	Text    string  `json:"text"`
	TookMS  float64 `json:"took_ms"`
	Version uint64  `json:"version"`
	Error   string  `json:"error"`
	Source  string  `json:"source"` // of a read: L1, L2 or load
	Missed  int     `json:"missed"` // events before this one that were too many to send
}

func (h *handler) watch(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok || !h.cached(w) {
		return
	}
	httpapi.StreamProblem(w, h.watches, h.watches.Serve(w, r, func(ctx context.Context, st *sse.Stream) error {
		ctx, cancel := context.WithCancel(ctx)
		events := make(chan aside.Event)
		stop := h.Cache.Watch(id, func(e aside.Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
		defer stop()
		defer cancel()                    // before stop, which waits for the function
		if err := st.Beat(); err != nil { // now it watches
			return err
		}
		return sendEvents(ctx, st, events)
	}))
}

func sendEvents(ctx context.Context, st *sse.Stream, events <-chan aside.Event) error {
	beats := time.NewTicker(beat)
	defer beats.Stop()
	var pace limiter
	pace.most = maxEvents
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beats.C:
			if err := st.Beat(); err != nil {
				return err
			}
		case e := <-events:
			data, err := json.Marshal(eventOf(e))
			if err == nil {
				err = st.Send("key", data)
			}
			if err != nil {
				return err
			}
			// Meanwhile the cache counts those that it leaves out.
			for !pace.allow(time.Now()) {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}
}

func eventOf(e aside.Event) keyEvent {
	out := keyEvent{T: e.Time.UnixMilli(), Kind: e.Kind.String(), TookMS: dashboard.Millis(e.Took), Version: e.Version, Missed: e.Missed, Text: textOf(e)}
	if e.Kind == aside.EventRead {
		out.Source = e.Info.Source.String()
	}
	if e.Err != nil && !(e.Kind == aside.EventRead && e.Info.Negative) {
		out.Error = e.Err.Error()
	}
	return out
}

var eventTexts = map[aside.EventKind]string{
	aside.EventLoad:          "a load from the store ended",
	aside.EventWait:          "another node is loading it, and a read waits for that",
	aside.EventFill:          "the loaded value was stored",
	aside.EventFillRefused:   "the loaded value was not stored: a write came between",
	aside.EventFillFailed:    "Redis failed while the loaded value was to be stored",
	aside.EventReplace:       "the entry in Redis was of no use and is replaced",
	aside.EventInvalidation:  "Redis reports that it was changed, here or on another node, or dropped: it is removed from this node's memory",
	aside.EventChange:        "the store's feed told of a change: what was older is dropped",
	aside.EventChangeKnown:   "the store's feed told of a change that the cache has already",
	aside.EventWrite:         "a write begins",
	aside.EventFence:         "the write has put its fence into Redis",
	aside.EventFenceFailed:   "the write could not put its fence into Redis",
	aside.EventPublish:       "the write ended and its value is in the cache",
	aside.EventRelease:       "the write ended and the key is removed from Redis",
	aside.EventReleaseFailed: "the write ended and Redis could not be told yet",
	aside.EventFenceLost:     "the write ended and its fence was gone",
	aside.EventUnknown:       "the write ended with an unknown outcome: its fence stays until it expires",
	aside.EventDeliver:       "Redis was told of an earlier write",
	aside.EventDrop:          "it was dropped",
	aside.EventEvict:         "it was evicted from memory, which is full",
	aside.EventFlush:         "this node's memory was emptied",
}

// textOf describes an event in a few words.
func textOf(e aside.Event) string {
	if e.Kind != aside.EventRead {
		if text, ok := eventTexts[e.Kind]; ok {
			return text
		}
		return e.Kind.String()
	}
	i := e.Info
	var b strings.Builder
	b.WriteString("read: ")
	switch i.Source {
	case aside.SourceL1:
		b.WriteString("hit in memory (L1)")
	case aside.SourceL2:
		b.WriteString("hit in Redis (L2)")
	case aside.SourceLoad:
		b.WriteString("loaded from the store")
		if why := missTexts[i.Miss]; why != "" {
			b.WriteString(", since " + why)
		}
	default:
		b.WriteString("failed")
	}
	if i.Coalesced {
		b.WriteString(", shared with another read")
	}
	if i.Negative {
		b.WriteString(", there is no such record")
	}
	if i.Stale {
		b.WriteString(", past its TTL because the load failed")
	}
	if i.LoadTime > 0 {
		b.WriteString(", load " + Millis(dashboard.Millis(i.LoadTime)))
	}
	if i.L2Time > 0 {
		b.WriteString(", Redis " + Millis(dashboard.Millis(i.L2Time)))
	}
	return b.String()
}

var missTexts = map[aside.Miss]string{
	aside.MissFenced: "a write is running", aside.MissDegraded: "Redis cannot be used",
	aside.MissLeaseWait: "another node took too long to load it", aside.MissTooLarge: "it is too large for Redis",
	aside.MissSkipped: "Redis was skipped", aside.MissRefresh: "it was asked for anew",
	aside.MissSlowL2: "Redis took too long", aside.MissStale: "it was past its time",
}
