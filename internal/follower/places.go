package follower

import (
	"encoding/json"
	"time"

	"github.com/asidecache/aside/driver"
)

// places are positions up to which everything was handled, the oldest first: enough
// of them that one is goBack old.
type places struct {
	goBack time.Duration
	all    []place
}

type place struct {
	position driver.Position
	at       time.Time // when it was handled, or earlier
}

// spacing is by which part of goBack places lie apart.
const spacing = 8

// add adds the latest position. complete is false while changes may have been lost and
// were not told again yet: then it forgets none of the older ones.
func (p *places) add(position driver.Position, complete bool) {
	now := time.Now()
	n := len(p.all)
	if n >= 2 && p.all[n-1].at.Sub(p.all[n-2].at) < p.goBack/spacing {
		p.all[n-1] = place{position, now}
	} else {
		p.all = append(p.all, place{position, now})
	}
	for complete && len(p.all) >= 2 && now.Sub(p.all[1].at) >= p.goBack {
		p.all = p.all[1:]
	}
}

// stand makes the time since then not count for the ages of the places.
func (p *places) stand(then time.Time) {
	now := time.Now()
	for i := range p.all {
		at := &p.all[i].at
		*at = at.Add(min(now.Sub(*at), now.Sub(then)))
	}
}

// from is where to open the feed: behind the latest place. nil: there is none.
func (p *places) from() driver.Position {
	if len(p.all) == 0 {
		return nil
	}
	return p.all[len(p.all)-1].position
}

// rewind goes back to the oldest place: what was handled since may have been lost. If
// it is not old enough, the clear at the beginning may have been lost too, and nothing
// but another one helps. If it is too old, since no leader has led for goBack, a clear
// costs less than what would be told again, by each leader more.
func (p *places) rewind() {
	p.all = p.all[:min(1, len(p.all))]
	if len(p.all) == 0 {
		return
	}
	if age := time.Since(p.all[0].at); age < p.goBack || age > tooOld {
		p.forget()
	}
}

// tooOld is the age of positions that a feed need not be able to open.
const tooOld = 2 * time.Minute

// forget forgets all: there is a gap.
func (p *places) forget() { p.all = nil }

// state is what is kept in L2, for the next leader and for those who stand by.
type state struct {
	Places []keptPlace `json:"places"`
	Fed    bool        `json:"fed"`
	Reason string      `json:"reason,omitempty"`
}

// keptPlace is a place with its age, since the clocks of nodes differ. The time since it
// was kept is not known, so a place is taken for younger than it is: that goes back
// further than needed.
type keptPlace struct {
	Position []byte `json:"position"`
	AgeMS    int64  `json:"age_ms"`
}

// kept returns the state to keep.
func (f *Follower) kept() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := state{Fed: f.status.Fed, Reason: f.status.Reason}
	for _, p := range f.places.all {
		s.Places = append(s.Places, keptPlace{p.position, time.Since(p.at).Milliseconds()})
	}
	b, err := json.Marshal(s)
	if err != nil { // strings and numbers can be encoded
		return nil
	}
	return b
}

// read takes over the places of a state and goes back: the changes since are told
// again. With a state that it does not understand there is no place.
func (p *places) read(kept []byte) {
	p.forget()
	var s state
	if json.Unmarshal(kept, &s) != nil {
		return
	}
	now := time.Now()
	for _, k := range s.Places {
		p.all = append(p.all, place{k.Position, now.Add(-time.Duration(k.AgeMS) * time.Millisecond)})
	}
	p.rewind()
}
