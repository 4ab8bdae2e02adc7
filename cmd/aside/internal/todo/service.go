package todo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/asidecache/aside"
)

// Service reads and writes todos with a cache (cache-aside). A read goes through the
// cache, which reads from the Store on a miss. A write goes to the Store while the
// record's ID is fenced in the cache. A Service is safe for concurrent use.
//
// Its errors match the sentinels of this package, those of the cache (aside.ErrOverloaded,
// ErrL2Unavailable, ErrUnacknowledged, ErrClosed), or the context's error. The error for
// an absent record is always todo.ErrNotFound.
type Service struct {
	store Store
	cache *aside.Cache[string, Todo] // nil: every read asks the store
	now   func() time.Time
	newID func() (string, error)

	loadsItself, tagDays bool // see ServiceOptions
}

// ServiceOptions configure a Service. Only Store is required.
type ServiceOptions struct {
	Store Store
	// Cache is the cache in front of the store. Nil means no cache. The Service does
	// not close it.
	Cache *aside.Cache[string, Todo]
	// CacheLoads: the cache loads from the store by itself, see SetLoaders.
	CacheLoads bool
	// TagDays: each entry has the tag of its record's day, see DayTag. SetLoaders must
	// have been told the same.
	TagDays bool
	// Now is the clock for CreatedAt and UpdatedAt; nil means time.Now.
	Now func() time.Time
	// NewID returns the ID for a record that is created without one; nil means UUIDv7.
	NewID func() (string, error)
}

// NewService creates a Service. It panics without a Store.
func NewService(o ServiceOptions) *Service {
	if o.Store == nil {
		panic("todo: NewService without a Store")
	}
	s := &Service{store: o.Store, cache: o.Cache, now: o.Now, newID: o.NewID, loadsItself: o.CacheLoads, tagDays: o.TagDays}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = func() (string, error) {
			id, err := uuid.NewV7()
			return id.String(), err
		}
	}
	return s
}

// Cached reports whether reads go through a cache.
func (s *Service) Cached() bool { return s.cache != nil }

// Found is the result of a read: the record, and which tier answered.
type Found struct {
	Todo Todo
	aside.Info
	// Bypassed: the Service has no cache. The store answered, in LoadTime.
	Bypassed bool
}

// Get reads the record with that ID. Found tells which tier answered, also if the error is
// ErrNotFound.
func (s *Service) Get(ctx context.Context, id string, level aside.Mode) (Found, error) {
	if s.cache == nil {
		start := time.Now()
		t, err := s.store.Get(ctx, id)
		return Found{Todo: t, Info: loadedIn(time.Since(start)), Bypassed: true}, err
	}
	r, err := s.cache.Read(ctx, id, s.loader(), level)
	if errors.Is(err, aside.ErrNotFound) {
		err = ErrNotFound
	}
	return Found{Todo: r.Value, Info: r.Info}, err
}

func loadedIn(d time.Duration) aside.Info {
	return aside.Info{Source: aside.SourceLoad, LoadTime: d}
}

// FoundMany is the result of a batch read.
type FoundMany struct {
	// Results has one entry for each distinct ID. Err of an entry is nil, ErrNotFound,
	// or the reason why the record could not be read.
	Results  map[string]aside.Result[Todo]
	Bypassed bool
}

// GetMany reads several records, with at most one bulk load for those that are not
// cached. If a record cannot be read, the others are still returned: the error is nil if
// each ID has an entry in Results.
func (s *Service) GetMany(ctx context.Context, ids []string, level aside.Mode) (FoundMany, error) {
	if s.cache == nil {
		return s.getManyFromStore(ctx, ids)
	}
	results, err := s.cache.ReadMany(ctx, ids, bulkLoader(s.store, s.tagDays), level)
	for id, r := range results {
		if errors.Is(r.Err, aside.ErrNotFound) {
			r.Err = ErrNotFound
			results[id] = r
		}
	}
	for _, id := range ids {
		if _, ok := results[id]; !ok {
			if err == nil {
				err = fmt.Errorf("todo: the batch read returned no result for %q", id)
			}
			return FoundMany{}, err
		}
	}
	return FoundMany{Results: results}, nil
}

func (s *Service) getManyFromStore(ctx context.Context, ids []string) (FoundMany, error) {
	start := time.Now()
	todos, err := s.store.GetMany(ctx, ids)
	var unreadable UnreadableRecords
	if err != nil && !errors.As(err, &unreadable) {
		return FoundMany{}, err
	}
	info := loadedIn(time.Since(start))
	found := FoundMany{Results: make(map[string]aside.Result[Todo], len(ids)), Bypassed: true}
	for _, id := range ids {
		r := aside.Result[Todo]{Info: info, Err: ErrNotFound}
		if t, ok := todos[id]; ok {
			r.Value, r.Err = t, nil
		}
		found.Results[id] = r
	}
	for _, u := range unreadable {
		found.Results[u.ID] = aside.Result[Todo]{Info: info, Err: u.Err}
	}
	return found, nil
}

// SetLoaders has a cache load from the store by itself: the misses of single reads that
// come at the same time are then one query. With tagDays each entry has the tag of its
// record's day.
func SetLoaders(o *aside.Options[string, Todo], store Store, tagDays bool) {
	o.Loader, o.BulkLoader = singleLoader(store, tagDays), bulkLoader(store, tagDays)
}

func singleLoader(store Store, tagDays bool) aside.Loader[string, Todo] {
	if tagDays {
		return dayLoader{loader{store}}
	}
	return loader{store}
}

func bulkLoader(store Store, tagDays bool) aside.BulkLoader[string, Todo] {
	if tagDays {
		return dayLoader{loader{store}}
	}
	return loader{store}
}

// loader returns what a read of one record loads with; nil means what the cache has.
func (s *Service) loader() aside.Loader[string, Todo] {
	if s.loadsItself {
		return nil
	}
	return singleLoader(s.store, s.tagDays)
}

// loader is the aside.Loader of the store.
type loader struct{ store Store }

// Load implements aside.Loader.
func (l loader) Load(ctx context.Context, id string) (Todo, error) {
	t, err := l.store.Get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		err = aside.ErrNotFound
	}
	return t, err
}

// LoadMany implements aside.BulkLoader.
func (l loader) LoadMany(ctx context.Context, ids []string) (map[string]Todo, error) {
	found, err := l.store.GetMany(ctx, ids)
	var unreadable UnreadableRecords
	if errors.As(err, &unreadable) {
		failed := make(aside.KeyErrors[string], len(unreadable))
		for _, u := range unreadable {
			failed[u.ID] = u.Err
		}
		err = failed
	}
	return found, err
}

// List returns a page of records, sorted by the bytes of their IDs. It reads from the
// store: pages are not cached, since any write could change them.
func (s *Service) List(ctx context.Context, after string, limit int) (Page, error) {
	return s.store.List(ctx, after, limit)
}

// Draft is a record to create. With an empty ID, Create chooses one. The caller must
// refuse an empty ID from a client.
type Draft struct {
	ID          string
	Name        string
	Description *string
	Completed   bool
}

// Create stores a new record and returns it. It returns ErrExists if the ID is taken, and
// a *ValidationError with all faults of the draft.
func (s *Service) Create(ctx context.Context, d Draft) (Todo, error) {
	var f faults
	if d.ID != "" {
		f.add("id", CheckNewID(d.ID))
	}
	f.add("name", checkName(d.Name))
	f.add("description", checkDescription(d.Description))
	if err := f.err(); err != nil {
		return Todo{}, err
	}
	if d.ID == "" {
		id, err := s.newID()
		if err != nil {
			return Todo{}, fmt.Errorf("todo: creating an id: %w", err)
		}
		d.ID = id
	}
	now := s.timestamp()
	t := Todo{
		ID: d.ID, Name: d.Name, Description: d.Description, Completed: d.Completed,
		CreatedAt: now, UpdatedAt: now, Version: 1,
	}
	err := s.write(ctx, t.ID, func(ctx context.Context, p publisher) error {
		if err := s.store.Insert(ctx, t); err != nil {
			return err
		}
		p.Publish(t.ID, t)
		return nil
	})
	if err != nil {
		return Todo{}, err
	}
	return t, nil
}

// Precondition decides whether a write may change the current record. Nil means yes. It
// may run several times and must not call the Service.
type Precondition func(current Todo) bool

func (p Precondition) check(current Todo) error {
	if p != nil && !p(current) {
		return ErrPrecondition
	}
	return nil
}

// Replacement has all fields of a record that a client may set.
type Replacement struct {
	Name        string
	Description *string
	Completed   bool
}

// Replace sets all fields that a client may set and returns the resulting record. If
// nothing changes, it writes nothing. It returns ErrNotFound, ErrPrecondition, or a
// *ValidationError with all faults.
func (s *Service) Replace(ctx context.Context, id string, r Replacement, pre Precondition) (Todo, error) {
	var f faults
	f.add("name", checkName(r.Name))
	f.add("description", checkDescription(r.Description))
	if err := f.err(); err != nil {
		return Todo{}, err
	}
	return s.update(ctx, id, pre, func(t Todo) Todo {
		t.Name, t.Description, t.Completed = r.Name, r.Description, r.Completed
		return t
	})
}

// Patch has the fields to change. nil means no change.
type Patch struct {
	Name        *string
	Description **string // pointer to nil removes it
	Completed   *bool
}

// Patch changes the given fields and returns the resulting record. The other fields stay
// as they are, even if those of an older record exceed the limits. Its errors are those of
// Replace.
func (s *Service) Patch(ctx context.Context, id string, p Patch, pre Precondition) (Todo, error) {
	var f faults
	if p.Name != nil {
		f.add("name", checkName(*p.Name))
	}
	if p.Description != nil {
		f.add("description", checkDescription(*p.Description))
	}
	if err := f.err(); err != nil {
		return Todo{}, err
	}
	return s.update(ctx, id, pre, func(t Todo) Todo {
		if p.Name != nil {
			t.Name = *p.Name
		}
		if p.Description != nil {
			t.Description = *p.Description
		}
		if p.Completed != nil {
			t.Completed = *p.Completed
		}
		return t
	})
}

// errUnchanged ends Store.Update without a write.
var errUnchanged = errors.New("todo: nothing to change")

func (s *Service) update(ctx context.Context, id string, pre Precondition, change func(Todo) Todo) (Todo, error) {
	var stored Todo
	err := s.write(ctx, id, func(ctx context.Context, p publisher) error {
		t, err := s.store.Update(ctx, id, func(current Todo) (Todo, error) {
			if err := pre.check(current); err != nil {
				return Todo{}, err
			}
			next := change(current)
			if sameContent(current, next) {
				stored = current
				if err := current.CheckSize(); err != nil {
					return Todo{}, err
				}
				return Todo{}, errUnchanged
			}
			// Only another program can have written the largest version. It stays, since
			// the next one would be negative.
			if next.Version < math.MaxInt64 {
				next.Version++
			}
			next.UpdatedAt = s.timestamp()
			return next, next.Check()
		})
		if err != nil {
			return err
		}
		stored = t
		p.Publish(id, t)
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return Todo{}, err
	}
	return stored, nil
}

func sameContent(a, b Todo) bool {
	if (a.Description == nil) != (b.Description == nil) {
		return false
	}
	return a.Name == b.Name && a.Completed == b.Completed &&
		(a.Description == nil || *a.Description == *b.Description)
}

// Delete removes the record. It returns ErrNotFound or ErrPrecondition.
func (s *Service) Delete(ctx context.Context, id string, pre Precondition) error {
	return s.write(ctx, id, func(ctx context.Context, p publisher) error {
		err := s.store.Delete(ctx, id, pre.check)
		if err != nil {
			return err
		}
		p.PublishAbsent(id)
		return nil
	})
}

// publisher is the part of *aside.WriteTx that a write function uses.
type publisher interface {
	Publish(id string, t Todo)
	PublishAbsent(id string)
}

type noPublisher struct{}

func (noPublisher) Publish(string, Todo) {}
func (noPublisher) PublishAbsent(string) {}

// write runs fn while id is fenced. If the store definitely refused the write, the fence
// is removed at once. After any other error (ErrUnknownOutcome, a context error, an
// unknown error) the fence stays until it expires: the store may still apply the write.
func (s *Service) write(ctx context.Context, id string, fn func(context.Context, publisher) error) error {
	if s.cache == nil {
		return fn(ctx, noPublisher{})
	}
	return s.cache.Write(ctx, id, func(ctx context.Context, w *aside.WriteTx[string, Todo]) error {
		var p publisher = w
		if s.tagDays {
			p = dayPublisher{w}
		}
		err := fn(ctx, p)
		if Definite(err) {
			return aside.Aborted(err)
		}
		return err
	})
}

// Definite reports whether err says for certain that nothing was written and nothing will
// be. It is false if the chain contains ErrUnknownOutcome.
func Definite(err error) bool {
	if errors.Is(err, ErrUnknownOutcome) {
		return false
	}
	for _, target := range []error{ErrNotFound, ErrExists, ErrPrecondition, ErrInvalid, ErrUnreadable, ErrNoIdentity, ErrUnavailable, errUnchanged} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// timestamp returns the current time in UTC in milliseconds, as BSON stores it, so that
// the returned record equals the stored one.
func (s *Service) timestamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// Ping reports whether the store can answer now.
func (s *Service) Ping(ctx context.Context) error { return s.store.Ping(ctx) }
