// Package listing asks a server which records it has, for a load test that is not given the
// ids.
package listing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
)

// Options limits a listing. Zero values are the defaults.
type Options struct {
	// Most is how many ids are kept. Of more, a sample is kept that is spread over all
	// pages. Default: 200,000.
	Most int
	// Time is how long pages are read. Default: 10 s.
	Time time.Duration
	// Seed chooses the sample.
	Seed uint64
	// Among, if it is not nil, keeps only these ids.
	Among *Listing
	// Progress, if set, is called after each page with the number of ids seen so far.
	Progress func(seen int)
}

const (
	defaultMost = 200_000
	defaultTime = 10 * time.Second
	pageLimit   = 200 // the service's maximum
	maxBody     = 64 << 20
)

// Listing is what a server lists.
type Listing struct {
	IDs  []string // in the order of the pages
	Seen int      // ids in the pages that were read
	// Cut is why not all pages were read, or "".
	Cut string
	// shared is how many servers were asked, if IDs are those that all of them have.
	shared int
}

// ErrEmpty is the error of a server without records.
var ErrEmpty = errors.New("the server has no records")

// Find reads the pages of GET base, which is the URL of the records. If the time is over
// after the first page, it returns what it has seen by then. Pages pass the server's cache
// by, so they do not fill it.
func Find(ctx context.Context, base string, o Options) (*Listing, error) {
	if o.Most == 0 {
		o.Most = defaultMost
	}
	if o.Time == 0 {
		o.Time = defaultTime
	}
	limited, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	client := &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	l := &Listing{shared: 1}
	keep := keeper{most: o.Most, rng: rand.New(rand.NewPCG(o.Seed, 0))}
	if o.Among != nil {
		l.shared = o.Among.shared + 1
		keep.among = make(map[string]struct{}, len(o.Among.IDs))
		for _, id := range o.Among.IDs {
			keep.among[id] = struct{}{}
		}
	}
	for cursor := ""; ; {
		p, err := read(limited, client, base, cursor)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case limited.Err() != nil && l.Seen > 0:
			l.Cut = fmt.Sprintf("in %v", o.Time)
		case limited.Err() != nil:
			return nil, fmt.Errorf("GET %s did not answer within %v", base, o.Time)
		case err != nil:
			return nil, err
		}
		if l.Cut != "" {
			break
		}
		for _, t := range p.Todos {
			if t.ID == "" {
				return nil, fmt.Errorf("GET %s lists a record without an id", base)
			}
			l.Seen++
			keep.add(t.ID)
		}
		if o.Progress != nil {
			o.Progress(l.Seen)
		}
		if p.NextCursor == "" {
			break
		}
		if p.NextCursor == cursor {
			return nil, fmt.Errorf("GET %s answers with the same next_cursor again", base)
		}
		cursor = p.NextCursor
	}
	l.IDs = keep.ids()
	if l.Seen == 0 {
		return nil, ErrEmpty
	}
	return l, nil
}

// Set returns the ids for a workload. Its name says where they come from.
func (l *Listing) Set() ids.Set {
	who := "the server lists"
	if l.shared > 1 {
		who = fmt.Sprintf("all %d servers list", l.shared)
	}
	r, isRange := ids.RangeOf(l.IDs)
	span := fmt.Sprintf("%s to %s", short(l.IDs[0]), short(l.IDs[len(l.IDs)-1]))
	if isRange {
		span = r.String()
	}
	var name string
	switch {
	case l.shared > 1:
		name = fmt.Sprintf("%s that %s (%s)", count(len(l.IDs)), who, span)
	case l.Cut != "":
		name = fmt.Sprintf("%s of the first %d that %s (it has more than could be listed %s; %s)", count(len(l.IDs)), l.Seen, who, l.Cut, span)
	case len(l.IDs) < l.Seen:
		name = fmt.Sprintf("%s of the %d that %s (%s)", count(len(l.IDs)), l.Seen, who, span)
	default:
		name = fmt.Sprintf("%s (all that %s)", span, who)
		if !isRange {
			name = fmt.Sprintf("all %s that %s (%s)", count(len(l.IDs)), who, span)
		}
	}
	if isRange {
		return ids.Named(name, r) // the choices of --ids with the same range
	}
	return ids.NewList(name, l.IDs)
}

// short cuts a long id for a report.
func short(id string) string {
	const most = 32
	if r := []rune(id); len(r) > most {
		return string(r[:most]) + "..."
	}
	return id
}

func count(n int) string {
	if n == 1 {
		return "1 id"
	}
	return fmt.Sprintf("%d ids", n)
}

// keeper keeps a uniform sample of all ids that were added (reservoir sampling).
type keeper struct {
	most  int
	among map[string]struct{}
	rng   *rand.Rand
	seen  int
	kept  []kept
}

type kept struct {
	at int
	id string
}

func (k *keeper) add(id string) {
	if k.among != nil {
		if _, ok := k.among[id]; !ok {
			return
		}
	}
	at := k.seen
	k.seen++
	if len(k.kept) < k.most {
		k.kept = append(k.kept, kept{at, id})
	} else if i := k.rng.IntN(k.seen); i < k.most {
		k.kept[i] = kept{at, id}
	}
}

func (k *keeper) ids() []string {
	slices.SortFunc(k.kept, func(a, b kept) int { return a.at - b.at })
	all := make([]string, len(k.kept))
	for i, e := range k.kept {
		all[i] = e.id
	}
	return all
}

type page struct {
	Todos []struct {
		ID string `json:"id"`
	} `json:"todos"`
	NextCursor string `json:"next_cursor"`
}

func read(ctx context.Context, client *http.Client, base, cursor string) (*page, error) {
	q := url.Values{"limit": {strconv.Itoa(pageLimit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "aside-bench")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s answered status %d", base, resp.StatusCode)
	}
	p := new(page)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(p); err != nil || p.Todos == nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("GET %s did not answer with a list of todos", base)
	}
	return p, nil
}
