package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/asidecache/aside/internal/todo"
)

// StoreFlags choose the primary store; every command that touches records has
// them. Without --mongo it is the embedded store under --data.
type StoreFlags struct {
	Data            string `help:"Directory of the embedded store, made if it is missing. Not used with --mongo." default:"./aside-data" placeholder:"DIR" env:"ASIDE_DATA" group:"Primary store"`
	Mongo           string `help:"MongoDB connection string. Example: mongodb://user:password@db1:27017/?replicaSet=rs0 . Prefer the environment variable: other users of the machine can read flags." placeholder:"URI" env:"ASIDE_MONGO" group:"Primary store"`
	MongoDatabase   string `help:"MongoDB database that holds the todos." default:"test" placeholder:"NAME" env:"ASIDE_MONGO_DATABASE" group:"Primary store"`
	MongoCollection string `help:"MongoDB collection that holds the todos." default:"todos" placeholder:"NAME" env:"ASIDE_MONGO_COLLECTION" group:"Primary store"`
}

// Open opens the chosen store; the caller closes it.
func (f *StoreFlags) Open(ctx context.Context, log *slog.Logger) (todo.Store, error) {
	return nil, errors.New("no store is linked yet")
}

// Describe names the store for people, without secrets.
func (f *StoreFlags) Describe() string {
	if f.Mongo != "" {
		return redactURL(f.Mongo) + " (" + f.MongoDatabase + "." + f.MongoCollection + ")"
	}
	return "embedded store in " + f.Data
}

// redactURL keeps what tells servers apart and drops what may be secret: the
// user, the password and the query, in which drivers accept passwords too. It
// does not use net/url, since that refuses the host lists of MongoDB and Redis.
func redactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "(hidden)"
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	// Up to the last @: a password that was not percent-encoded may hold one.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return scheme + "://" + rest
}
