package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/boltstore"
	"github.com/asidecache/aside/cmd/aside/internal/mongostore"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/redisl2"
)

// StoreFlags choose the primary store; every command that touches records has
// them. Without --mongo it is the embedded store under --data.
type StoreFlags struct {
	Data            string `help:"Directory of the embedded store, made if it is missing. Not used with --mongo." default:"./aside-data" env:"ASIDE_DATA" group:"Primary store"`
	Mongo           string `help:"MongoDB connection string, such as mongodb://todo@db1/?replicaSet=rs0, in place of the embedded store. Other users of the machine can read flags: give a password in a file, or in the environment." placeholder:"URI" env:"ASIDE_MONGO" group:"Primary store"`
	MongoFile       string `help:"File that holds the connection string, password included; in place of --mongo." placeholder:"FILE" env:"ASIDE_MONGO_FILE" group:"Primary store"`
	MongoPassFile   string `name:"mongo-password-file" help:"File that holds the password of the user in --mongo, as it is (not percent-encoded). Read at the start." placeholder:"FILE" env:"ASIDE_MONGO_PASSWORD_FILE" group:"Primary store"`
	MongoDatabase   string `help:"MongoDB database that holds the todos; one in the connection string's path goes before it." default:"test" env:"ASIDE_MONGO_DATABASE" group:"Primary store"`
	MongoCollection string `help:"MongoDB collection that holds the todos." default:"todos" env:"ASIDE_MONGO_COLLECTION" group:"Primary store"`
}

// Open opens the chosen store; the caller closes it. A MongoDB server that is
// down is no error here: its store recovers by itself.
func (f *StoreFlags) Open(ctx context.Context, log *slog.Logger) (todo.Store, error) {
	if err := f.secrets(); err != nil {
		return nil, &exitError{err, exitUsage}
	}
	if f.Mongo == "" {
		s, err := boltstore.Open(f.Data, boltstore.Options{})
		if err != nil {
			return nil, fmt.Errorf("opening the embedded store: %w", err)
		}
		return s, nil
	}
	s, err := mongostore.Open(ctx, f.Mongo, mongostore.Options{
		Database: f.MongoDatabase, Collection: f.MongoCollection, Logger: log,
	})
	if err != nil {
		return nil, &exitError{fmt.Errorf("--mongo: %w", err), exitUsage}
	}
	return s, nil
}

// secrets puts what the files hold where the flags have it. It may be called
// again.
func (f *StoreFlags) secrets() (err error) {
	if f.Mongo, err = oneOf("--mongo", f.Mongo, f.MongoFile); err != nil {
		return err
	}
	if f.Mongo, err = withPassword("--mongo", f.Mongo, "--mongo-password-file", f.MongoPassFile, true); err != nil {
		return err
	}
	f.MongoFile, f.MongoPassFile = "", ""
	return nil
}

// Describe names the store for people, without secrets.
func (f *StoreFlags) Describe() string {
	if f.Mongo == "" {
		return "embedded store in " + f.Data
	}
	url := redactURL(f.Mongo)
	_, rest, _ := strings.Cut(url, "://")
	if _, database, _ := strings.Cut(rest, "/"); database != "" {
		return url + " (collection " + f.MongoCollection + ")"
	}
	return url + " (" + f.MongoDatabase + "." + f.MongoCollection + ")"
}

// CacheFlags set up the cache.
type CacheFlags struct {
	Redis string `help:"Redis, the tier that all servers share, such as redis://cache1:6379; the help of aside serve has the other forms. Without it each server has its own cache in memory only. Give a password in a file, or in the environment." placeholder:"URL" env:"ASIDE_REDIS" group:"Cache"`

	RedisPasswordFile         string `help:"File that holds the password of the user in --redis (redis://user@host, or redis://host for the default user), as it is. Read at the start." placeholder:"FILE" env:"ASIDE_REDIS_PASSWORD_FILE" group:"Cache"`
	RedisSentinelUsername     string `help:"User name that the sentinels ask for, if they do; that of --redis is for the servers." placeholder:"NAME" env:"ASIDE_REDIS_SENTINEL_USERNAME" group:"Cache"`
	RedisSentinelPassword     string `help:"Password that the sentinels ask for, if they do. Give it in a file, or in the environment." placeholder:"PASSWORD" env:"ASIDE_REDIS_SENTINEL_PASSWORD" group:"Cache"`
	RedisSentinelPasswordFile string `help:"File that holds it." placeholder:"FILE" env:"ASIDE_REDIS_SENTINEL_PASSWORD_FILE" group:"Cache"`
	RedisTLSCert              string `name:"redis-tls-cert" help:"With rediss://: this server's own certificate, in PEM form, for a Redis that asks for one (tls-auth-clients yes). Read again when it changes." placeholder:"FILE" env:"ASIDE_REDIS_TLS_CERT" group:"Cache"`
	RedisTLSKey               string `name:"redis-tls-key" help:"The key of --redis-tls-cert." placeholder:"FILE" env:"ASIDE_REDIS_TLS_KEY" group:"Cache"`
	RedisTLSCA                string `name:"redis-tls-ca" help:"With rediss://: certificates of the authorities that Redis' own may come from, in PEM form. Default: those that this machine trusts." placeholder:"FILE" env:"ASIDE_REDIS_TLS_CA" group:"Cache"`

	CacheName   string        `help:"Name of the cache in Redis. All servers of the same records need the same name, those of other records another. Default: one made of an identity that is kept in the store, so that all its servers agree. A copy of an embedded store's file has the same identity, and so has a copy of a MongoDB database under the same name elsewhere: if it uses the same Redis, give it a name." placeholder:"NAME" env:"ASIDE_CACHE_NAME" group:"Cache"`
	TTL         time.Duration `name:"ttl" help:"How long a record stays cached; bounds how long a change made behind the service's back can go unseen." default:"5m" env:"ASIDE_TTL" group:"Cache"`
	NegativeTTL time.Duration `name:"negative-ttl" help:"The same for the knowledge that a record does not exist; 0: not cached." default:"30s" env:"ASIDE_NEGATIVE_TTL" group:"Cache"`
	StaleFor    time.Duration `help:"Serve records so long past their TTL while the store fails; they stay in Redis for it." default:"0s" env:"ASIDE_STALE_FOR" group:"Cache"`
	L1Size      int           `name:"l1-size" help:"Records kept in this server's memory." default:"100000" env:"ASIDE_L1_SIZE" group:"Cache"`
	L1Bytes     uint64        `name:"l1-bytes" help:"Bytes of this server's memory that they may take, together with what keeps them; the least useful go first. Both bounds hold." default:"268435456" env:"ASIDE_L1_BYTES" group:"Cache"`
	L1TTL       time.Duration `name:"l1-ttl" help:"How long a record stays in memory. Default: as --ttl, but at most 1m with --redis." placeholder:"DURATION" env:"ASIDE_L1_TTL" group:"Cache"`
	NoL1        bool          `name:"no-l1" help:"Keep nothing in memory; every read asks Redis." env:"ASIDE_NO_L1" group:"Cache"`
	NoCache     bool          `help:"Bypass the cache: every read asks the store. For measurements." env:"ASIDE_NO_CACHE" group:"Cache"`
	MaxLoads    int           `help:"Reads of the store that may run at one time." default:"64" env:"ASIDE_MAX_LOADS" group:"Cache"`

	MaxEntrySize int `help:"Largest record in Redis, in bytes as stored; a larger one is kept in each server's memory alone." default:"1048576" env:"ASIDE_MAX_ENTRY_SIZE" group:"Cache"`

	LeaseWait     time.Duration `help:"How long a server waits for a record that another one is reading from the store; then it reads the record itself. Default: half of --load-timeout." placeholder:"DURATION" env:"ASIDE_LEASE_WAIT" group:"Cache"`
	LoadTimeout   time.Duration `help:"Longest time for one read of the store, its wait for its turn included." default:"5s" env:"ASIDE_LOAD_TIMEOUT" group:"Cache"`
	WriteTimeout  time.Duration `help:"Longest time for one write to the store." default:"5s" env:"ASIDE_WRITE_TIMEOUT" group:"Cache"`
	FenceTTL      time.Duration `name:"fence-ttl" help:"How long a record is not cached after a write of it whose outcome is unknown. The store must not apply a write later than this after it began. Default: --write-timeout and 5s." placeholder:"DURATION" env:"ASIDE_FENCE_TTL" group:"Cache"`
	RedisTimeout  time.Duration `help:"Longest time for one command to Redis; after some that took longer it is left alone for a while." default:"100ms" env:"ASIDE_REDIS_TIMEOUT" group:"Cache"`
	RedisSilence  time.Duration `help:"How long a connection to Redis that died without a word is trusted; then the records in memory are dropped." default:"2s" env:"ASIDE_REDIS_SILENCE" group:"Cache"`
	DegradedL1TTL time.Duration `name:"degraded-l1-ttl" help:"How long a record stays in memory that was read while Redis could not be reached; 0: not at all. For so long it may be older than what other servers wrote." default:"1s" env:"ASIDE_DEGRADED_L1_TTL" group:"Cache"`

	OnRedisDown string `help:"What becomes of writes while Redis cannot be reached. open: they go on, and other servers that still reach Redis may answer with the older record until it is back. closed: they are refused with 503." enum:"open,closed" default:"open" env:"ASIDE_ON_REDIS_DOWN" group:"Cache"`
}

// check reports all mistakes that concern more than one flag, or that the
// library would report under other names.
func (f *CacheFlags) check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.TTL < time.Millisecond {
		fault("--ttl must be at least 1ms, is %v (to cache nothing, use --no-cache)", f.TTL)
	}
	if f.NegativeTTL != 0 && f.NegativeTTL < time.Millisecond {
		fault("--negative-ttl must be 0 or at least 1ms, is %v", f.NegativeTTL)
	}
	if f.StaleFor < 0 {
		fault("--stale-for must not be negative, is %v", f.StaleFor)
	}
	if f.L1TTL != 0 && f.L1TTL < time.Millisecond {
		fault("--l1-ttl must be at least 1ms, is %v (to keep nothing in memory, use --no-l1)", f.L1TTL)
	}
	if f.L1Size < 1 {
		fault("--l1-size must be at least 1, is %d (to keep nothing in memory, use --no-l1)", f.L1Size)
	}
	if f.L1Bytes < minL1Bytes {
		fault("--l1-bytes must be at least %d, is %d (to keep nothing in memory, use --no-l1)", minL1Bytes, f.L1Bytes)
	}
	if f.MaxLoads < 1 {
		fault("--max-loads must be at least 1, is %d", f.MaxLoads)
	}
	if f.MaxEntrySize < 1 {
		fault("--max-entry-size must be at least 1, is %d", f.MaxEntrySize)
	}
	if f.LeaseWait != 0 && f.LeaseWait < time.Millisecond {
		fault("--lease-wait must be at least 1ms, is %v", f.LeaseWait)
	}
	for _, d := range []struct {
		name string
		is   time.Duration
		min  time.Duration
	}{
		{"--load-timeout", f.LoadTimeout, time.Millisecond},
		{"--write-timeout", f.WriteTimeout, time.Millisecond},
		{"--redis-timeout", f.RedisTimeout, time.Millisecond},
		{"--redis-silence", f.RedisSilence, 100 * time.Millisecond},
	} {
		if d.is < d.min {
			fault("%s must be at least %v, is %v", d.name, d.min, d.is)
		}
	}
	if f.FenceTTL != 0 && f.FenceTTL <= f.WriteTimeout {
		fault("--fence-ttl must be longer than --write-timeout, %v, is %v: a fence would end before its write", f.WriteTimeout, f.FenceTTL)
	}
	if f.DegradedL1TTL != 0 && f.DegradedL1TTL < time.Millisecond {
		fault("--degraded-l1-ttl must be 0 or at least 1ms, is %v", f.DegradedL1TTL)
	}
	if f.NoL1 && f.Redis == "" && !f.NoCache {
		fault("--no-l1 without --redis leaves no cache: add --redis, or use --no-cache")
	}
	if f.Redis == "" {
		for _, other := range [][2]string{
			{"--redis-password-file", f.RedisPasswordFile}, {"--redis-sentinel-password-file", f.RedisSentinelPasswordFile},
			{"--redis-tls-cert", f.RedisTLSCert}, {"--redis-tls-key", f.RedisTLSKey}, {"--redis-tls-ca", f.RedisTLSCA},
		} {
			if other[1] != "" {
				fault("%s needs --redis", other[0])
			}
		}
	}
	return errors.Join(errs...)
}

// checkTime bounds the look at Redis before the start.
const checkTime = 5 * time.Second

// schemaVersionText is stored with every record in Redis. Raise it with any
// change of todo.Todo that older servers would read wrongly: servers that have
// another one take such a record for a miss. It is a text for the linker, which
// gives the newer servers of cmd/aside/e2e/release_test.go another one.
var schemaVersionText = "1"

// open makes the cache, or a nil one with --no-cache. close releases leases and
// fences within its context.
func (f *CacheFlags) open(name string, log *slog.Logger, hooks func(*aside.Options[string, todo.Todo])) (
	cache *aside.Cache[string, todo.Todo], close func(context.Context) error, err error,
) {
	if f.NoCache {
		return nil, func(context.Context) error { return nil }, nil
	}
	o := f.options(name, log)
	hooks(&o)
	closeRedis := func() {}
	var l2 *redisl2.Store
	if f.Redis != "" {
		options, err := f.redisOptions(log)
		if err != nil {
			return nil, nil, &exitError{err, exitUsage}
		}
		if l2, err = redisl2.Open(options); err != nil {
			return nil, nil, &exitError{fmt.Errorf("--redis: %w", err), exitUsage}
		}
		o.L2, closeRedis = l2, l2.Close
	}
	if cache, err = aside.New(o); err != nil {
		closeRedis()
		return nil, nil, err
	}
	if l2 != nil {
		// What may pass is waited for while serving.
		ctx, cancel := context.WithTimeout(context.Background(), checkTime)
		defer cancel()
		if err := l2.Check(ctx); errors.Is(err, redisl2.ErrUnusable) {
			_ = cache.Close(ctx) // it has not been used
			closeRedis()
			return nil, nil, &exitError{fmt.Errorf("--redis: %s", strings.TrimPrefix(err.Error(), "redisl2: ")), exitUsage}
		}
	}
	return cache, func(ctx context.Context) error {
		defer closeRedis()
		return cache.Close(ctx)
	}, nil
}

// options are what the flags ask of the cache, but for the tier in Redis.
func (f *CacheFlags) options(name string, log *slog.Logger) aside.Options[string, todo.Todo] {
	o := aside.Options[string, todo.Todo]{
		Name:          name,
		SchemaVersion: schemaVersion,
		Validate:      todo.Validate,
		Version:       func(t todo.Todo) uint64 { return uint64(max(t.Version, 0)) },
		TTL:           f.TTL,
		NegativeTTL:   offOr(f.NegativeTTL),
		StaleFor:      f.StaleFor,
		L1TTL:         f.L1TTL,
		MaxLoads:      f.MaxLoads,
		LoadTimeout:   f.LoadTimeout,
		LeaseWait:     f.LeaseWait,
		MaxEntrySize:  f.MaxEntrySize,
		WriteTimeout:  f.WriteTimeout,
		FenceTTL:      f.FenceTTL,
		L2Timeout:     f.RedisTimeout,
		DegradedL1TTL: offOr(f.DegradedL1TTL),
		Logger:        log,
	}
	if f.NoL1 {
		o.L1Size = -1
	} else {
		o.L1MaxCost, o.L1Cost = l1Cost(f.L1Size, f.L1Bytes)
	}
	if f.OnRedisDown == "closed" {
		o.OnL2Down = aside.FailClosed
	}
	return o
}

func (f *CacheFlags) redisOptions(log *slog.Logger) (redisl2.Options, error) {
	o := redisl2.Options{SilenceTimeout: f.RedisSilence, Logger: log, SentinelUsername: f.RedisSentinelUsername}
	var err error
	if o.URL, err = withPassword("--redis", f.Redis, "--redis-password-file", f.RedisPasswordFile, false); err != nil {
		return o, err
	}
	if o.SentinelPassword, err = oneOf("--redis-sentinel-password", f.RedisSentinelPassword, f.RedisSentinelPasswordFile); err != nil {
		return o, err
	}
	o.TLS, err = f.redisTLS(log)
	return o, err
}

const (
	minL1Bytes = 1 << 20
	// entryBytes is what an entry takes besides its text: a Todo, its place in the
	// cache, and what the allocator rounds up to. TestL1Bytes measures it.
	entryBytes = 300
)

// l1Cost bounds L1 by bytes and by number: no entry costs less than its share of
// the bytes if all are of one size.
func l1Cost(size int, bytes uint64) (most uint64, cost func(id string, t todo.Todo) uint32) {
	least := min(bytes/uint64(size), math.MaxUint32)
	if bytes/uint64(size) > least {
		bytes = uint64(size) * least
	}
	return bytes, func(id string, t todo.Todo) uint32 {
		n := entryBytes + 2*len(id) + len(t.Name) // the key is another copy of the id
		if t.Description != nil {
			n += len(*t.Description)
		}
		return uint32(min(max(uint64(n), least), math.MaxUint32))
	}
}

// offOr translates 0 for off, as flags have it, to the library's negative.
func offOr(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Describe names the cache for people, without secrets.
func (f *CacheFlags) Describe() string {
	switch {
	case f.NoCache:
		return "none"
	case f.Redis == "":
		return "memory"
	case f.NoL1:
		return redactURL(f.Redis)
	}
	return "memory and " + redactURL(f.Redis)
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
