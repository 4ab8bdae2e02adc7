package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	// namePrefix begins the default name of the cache. The store's identity follows.
	namePrefix = "todos-"
	// identityTime is the timeout of one read of the store's identity.
	// identityPause is the pause before the next attempt.
	identityTime  = 5 * time.Second
	identityPause = time.Second
)

// nameOf returns the name of the cache in Redis. By default the name contains the
// store's identity. So all servers of one store use the same name, and servers of
// another store use another name and never read the wrong records. An *exitError is
// permanent. After any other error the caller may retry.
func (f *CacheFlags) nameOf(ctx context.Context, store todo.Store) (string, error) {
	switch {
	case f.CacheName != "":
		return f.CacheName, nil
	case f.Redis == "" || f.NoCache:
		return namePrefix + "memory", nil // no other process reads it
	}
	ctx, cancel := context.WithTimeout(ctx, identityTime)
	defer cancel()
	id, err := store.Identity(ctx)
	if errors.Is(err, todo.ErrNoIdentity) {
		return "", &exitError{fmt.Errorf("--redis needs --cache-name here: the default name contains the store's identity, and this store has none: %w", err), exitUsage}
	}
	if err != nil {
		return "", fmt.Errorf("reading the store's identity: %w", err)
	}
	return namePrefix + id, nil
}

// awaitName repeats nameOf until the store answers or ctx ends.
func (f *CacheFlags) awaitName(ctx context.Context, store todo.Store, log *slog.Logger) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(identityPause):
		}
		name, err := f.nameOf(ctx, store)
		var final *exitError
		if err == nil || errors.As(err, &final) {
			return name, err
		}
		log.Debug("store still unreachable", "error", err)
	}
}

// unknownStore stands for a store whose identity is not known yet. It refuses every
// call: a write that does not go through the other servers' cache would leave old
// records in it.
type unknownStore struct{}

var _ todo.Store = unknownStore{}

var errUnknownStore = fmt.Errorf("%w: it has not answered since this server started, so the name of its cache is not known", todo.ErrUnavailable)

func (unknownStore) Get(context.Context, string) (todo.Todo, error) {
	return todo.Todo{}, errUnknownStore
}
func (unknownStore) GetMany(context.Context, []string) (map[string]todo.Todo, error) {
	return nil, errUnknownStore
}
func (unknownStore) List(context.Context, string, int) (todo.Page, error) {
	return todo.Page{}, errUnknownStore
}
func (unknownStore) Insert(context.Context, todo.Todo) error { return errUnknownStore }
func (unknownStore) Update(context.Context, string, func(todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	return todo.Todo{}, errUnknownStore
}
func (unknownStore) Delete(context.Context, string, func(todo.Todo) error) error {
	return errUnknownStore
}
func (unknownStore) InsertMany(context.Context, []todo.Record) (todo.InsertResult, error) {
	return todo.InsertResult{}, errUnknownStore
}
func (unknownStore) Count(context.Context) (int64, error)     { return 0, errUnknownStore }
func (unknownStore) Identity(context.Context) (string, error) { return "", errUnknownStore }
func (unknownStore) Ping(context.Context) error               { return errUnknownStore }
func (unknownStore) Close() error                             { return nil }
