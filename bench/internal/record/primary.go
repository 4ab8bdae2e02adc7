package record

import (
	"context"
	"sync"
	"sync/atomic"
)

// Primary is the database: it has a record for every key, at version 1 until it
// is written. All methods are safe for concurrent use.
type Primary struct {
	// Before and After are called around each read by Load, outside of any
	// lock, if they are set; an error ends the load. Set them before the first
	// load. n counts the loads of all keys.
	Before, After func(ctx context.Context, key string, n int64) error

	mu       sync.RWMutex
	versions map[string]int64
	loads    atomic.Int64
}

// Load reads one record.
func (p *Primary) Load(ctx context.Context, key string) (*Todo, error) {
	n := p.loads.Add(1)
	if p.Before != nil {
		if err := p.Before(ctx, key, n); err != nil {
			return nil, err
		}
	}
	t := New(key, p.Version(key))
	if p.After != nil {
		if err := p.After(ctx, key, n); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Loads is how many loads have begun.
func (p *Primary) Loads() int64 { return p.loads.Load() }

// Version is the version of key's record.
func (p *Primary) Version(key string) int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.versions[key] + 1
}

// Commit writes key's record and returns what it holds now.
func (p *Primary) Commit(key string) *Todo {
	p.mu.Lock()
	if p.versions == nil {
		p.versions = map[string]int64{}
	}
	p.versions[key]++
	version := p.versions[key] + 1
	p.mu.Unlock()
	return New(key, version)
}
