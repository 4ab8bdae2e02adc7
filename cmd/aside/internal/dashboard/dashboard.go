package dashboard

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/sse"
)

const (
	kept = 900 // samples of each node: fifteen minutes
	// TTL is how long an announcement is valid.
	TTL = 5 * time.Second
	// announceTime is the timeout of an announcement. It is below a second, so that the
	// samples of this node stay a second apart.
	announceTime = 500 * time.Millisecond

	// maxNodes is how many other nodes are remembered. Each takes up to 400 KB.
	maxNodes = 32
	// shownFor is how long a node that is gone is part of the history. It is remembered
	// for as long as its samples: the announcements may be lost for a while.
	shownFor   = time.Minute
	maxStreams = 32
)

// Info is what a node says of itself.
type Info struct {
	ID      string  `json:"id"`
	Version string  `json:"version"`
	URL     string  `json:"url"`
	Started int64   `json:"started"` // in milliseconds since 1970
	UptimeS float64 `json:"uptime_s"`
	Store   string  `json:"store"`
	Cache   string  `json:"cache"`
}

// Config is what the page must know before it shows anything.
type Config struct {
	Node    string `json:"node"`
	NodeID  string `json:"node_id"`
	Version string `json:"version"`
	Store   string `json:"store"`
	Cache   string `json:"cache"`
	Docs    bool   `json:"docs"`
	Metrics bool   `json:"metrics"`
	Ops     string `json:"ops"` // open, token or none
	Story   bool   `json:"story"`
	Started int64  `json:"started"`
}

// Options configure a Dashboard.
type Options struct {
	Meters *Meters
	// Stats is the state of the cache; nil if there is none.
	Stats func() aside.Stats
	// Announce stores data under this node's name for TTL, where all nodes of the cache
	// see it, and returns what all have stored. Nil: this node is alone.
	Announce func(ctx context.Context, data []byte) (map[string][]byte, error)
	// Config and URL are of this node.
	Config Config
	URL    string
	// Done ends the streams when it is closed.
	Done <-chan struct{}
	Log  *slog.Logger
}

// Dashboard has the samples of this node, and of those that share its cache. Run takes
// them.
type Dashboard struct {
	o       Options
	streams *sse.Streams
	config  []byte
	sampler sampler

	mu     sync.Mutex
	own    ring
	count  uint64 // samples taken
	others map[string]*other
	subs   map[chan event]struct{}
}

// other is another node.
type other struct {
	info  Info
	seen  time.Time // when its announcement was there last
	there bool      // it was there a moment ago
	count uint64    // samples that it had taken
	ring  ring
}

// Node is a node as it was seen last.
type Node struct {
	Info   Info   `json:"info"`
	Sample Sample `json:"sample"`
}

// New makes a Dashboard. It shows nothing before Run.
func New(o Options) *Dashboard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	config, err := json.Marshal(o.Config)
	if err != nil {
		panic("dashboard: " + err.Error()) // it has texts and numbers only
	}
	d := &Dashboard{
		o: o, streams: sse.New(maxStreams, o.Done), config: config,
		sampler: sampler{meters: o.Meters, stats: o.Stats},
		others:  map[string]*other{}, subs: map[chan event]struct{}{},
	}
	d.sampler.take(time.Now()) // so that the first second begins now
	return d
}

// Run takes a sample every second until ctx ends.
func (d *Dashboard) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			err := d.step(ctx, now)
			if failing != (err != nil) && ctx.Err() == nil {
				failing = err != nil
				if failing {
					d.o.Log.Debug("this node could not be announced: its dashboard does not show other nodes", "error", err)
				} else {
					d.o.Log.Debug("this node is announced again")
				}
			}
		}
	}
}

// step takes a sample, announces this node, and tells the streams.
func (d *Dashboard) step(ctx context.Context, now time.Time) error {
	sample := d.sampler.take(now)
	d.mu.Lock()
	d.own.add(sample)
	d.count++
	a := announcement{d.info(now), d.count, d.own.last(sent)}
	d.mu.Unlock()

	var err error
	if d.o.Announce != nil {
		var found map[string][]byte
		ctx, cancel := context.WithTimeout(ctx, announceTime)
		found, err = d.o.Announce(ctx, a.pack())
		cancel()
		d.merge(found, now)
	}
	d.tell(a.Count)
	return err
}

func (d *Dashboard) info(now time.Time) Info {
	c := &d.o.Config
	return Info{
		ID: c.NodeID, Version: c.Version, URL: d.o.URL, Started: c.Started, Store: c.Store, Cache: c.Cache,
		UptimeS: max(float64(now.UnixMilli()-c.Started)/1000, 0),
	}
}

// merge takes in the announcements of all nodes. They are not trusted: whoever can write
// to Redis can write them.
func (d *Dashboard) merge(found map[string][]byte, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.others {
		o.there = false
	}
	for name, data := range found {
		if name == d.o.Config.Node || name == "" || len(name) > maxTextSize || !utf8.ValidString(name) {
			continue
		}
		a, err := unpack(data)
		if err != nil {
			continue
		}
		o := d.others[name]
		if o == nil {
			if len(d.others) >= maxNodes && !d.forget(now) {
				continue
			}
			o = &other{}
			d.others[name] = o
		}
		o.info, o.seen, o.there = a.Info.checked(), now, true
		fresh := a.Samples[max(len(a.Samples)-sent, 0):]
		if a.Count >= o.count { // not a node of this name that was started again
			fresh = fresh[len(fresh)-int(min(uint64(len(fresh)), a.Count-o.count)):]
		}
		o.count = a.Count
		for _, s := range fresh {
			o.ring.add(s.checked())
		}
	}
	for name, o := range d.others {
		if now.Sub(o.seen) > kept*time.Second {
			delete(d.others, name)
		}
	}
}

// forget removes the node that is gone for longest. It returns false if none is gone.
func (d *Dashboard) forget(now time.Time) bool {
	oldest, seen := "", now.Add(-TTL)
	for name, o := range d.others {
		if o.seen.Before(seen) {
			oldest, seen = name, o.seen
		}
	}
	delete(d.others, oldest)
	return oldest != ""
}

func (i Info) checked() Info {
	for _, text := range []*string{&i.ID, &i.Version, &i.URL, &i.Store, &i.Cache} {
		*text = short(*text)
	}
	if !strings.HasPrefix(i.URL, "http://") && !strings.HasPrefix(i.URL, "https://") {
		i.URL = "" // the page makes a link of it
	}
	return i
}

func (s Sample) checked() Sample {
	for _, text := range []*string{&s.Degraded, &s.Feed, &s.FeedReason, &s.Breaker} {
		*text = short(*text)
	}
	return s
}

func short(text string) string {
	if len(text) > maxTextSize {
		text = strings.ToValidUTF8(text[:maxTextSize-len("…")], "") + "…"
	}
	return text
}

// Nodes returns the nodes that are there, by name.
func (d *Dashboard) Nodes() map[string]Node {
	d.mu.Lock()
	defer d.mu.Unlock()
	nodes := map[string]Node{}
	if last := d.own.last(1); len(last) > 0 {
		nodes[d.o.Config.Node] = Node{d.info(time.Now()), last[0]}
	}
	for name, o := range d.others {
		if last := o.ring.last(1); o.there && len(last) > 0 {
			nodes[name] = Node{o.info, last[0]}
		}
	}
	return nodes
}

// NameOf returns the name of the node with an id; "" if it is not known.
func (d *Dashboard) NameOf(id string) string {
	if id == d.o.Config.NodeID {
		return d.o.Config.Node
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, o := range d.others { // some that are gone are still known
		if o.info.ID == id {
			return name
		}
	}
	return ""
}

// queued is how many events wait for a stream at most. Then it is ended.
const queued = 4

// event is what all streams get.
type event struct {
	count uint64 // of the samples of this node
	data  []byte
}

// tell sends the latest samples to all streams. It waits for none.
func (d *Dashboard) tell(count uint64) {
	d.mu.Lock()
	idle := len(d.subs) == 0
	d.mu.Unlock()
	if idle {
		return
	}
	data, err := json.Marshal(struct {
		Nodes map[string]Node `json:"nodes"`
	}{d.Nodes()})
	if err != nil {
		d.o.Log.Error("the samples could not be encoded", "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for sub := range d.subs {
		select {
		case sub <- event{count, data}:
		default:
			delete(d.subs, sub)
			close(sub)
		}
	}
}

// past is the history of a node.
type past struct {
	Info    Info     `json:"info"`
	Samples []Sample `json:"samples"`
}

// follow returns the history, and a channel with the events after it. The channel is
// closed if its reader is too slow.
func (d *Dashboard) follow() (history event, events chan event, leave func(), err error) {
	now := time.Now()
	events = make(chan event, queued)
	nodes := map[string]past{}
	d.mu.Lock()
	history.count = d.count
	nodes[d.o.Config.Node] = past{d.info(now), d.own.all()}
	for name, o := range d.others {
		if now.Sub(o.seen) < shownFor {
			nodes[name] = past{o.info, o.ring.all()}
		}
	}
	d.subs[events] = struct{}{}
	d.mu.Unlock()
	history.data, err = json.Marshal(struct {
		Nodes map[string]past `json:"nodes"`
	}{nodes})
	return history, events, func() {
		d.mu.Lock()
		delete(d.subs, events)
		d.mu.Unlock()
	}, err
}
