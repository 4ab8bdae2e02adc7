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
	"github.com/asidecache/aside/cmd/aside/internal/pgstore"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/redisl2"
)

// StoreFlags select the primary store, in every command that reads or writes records.
// Without --mongo and --postgres it is the embedded store in --data.
type StoreFlags struct {
	Data            string `help:"Directory of the embedded store. It is created if it does not exist. Not used with --mongo or --postgres." default:"./aside-data" env:"ASIDE_DATA" group:"Primary store"`
	Mongo           string `help:"MongoDB connection string, such as mongodb://todo@db1/?replicaSet=rs0, to use instead of the embedded store. Give passwords in a file or in the environment: flags are visible in the process list." placeholder:"URI" env:"ASIDE_MONGO" group:"Primary store"`
	MongoFile       string `help:"File with the MongoDB connection string, including the password. Use it instead of --mongo." placeholder:"FILE" env:"ASIDE_MONGO_FILE" group:"Primary store"`
	MongoPassFile   string `name:"mongo-password-file" help:"File with the password of the user in --mongo, not percent-encoded. It is read once, at the start." placeholder:"FILE" env:"ASIDE_MONGO_PASSWORD_FILE" group:"Primary store"`
	MongoDatabase   string `help:"MongoDB database of the todos. A database in the connection string takes precedence." default:"test" env:"ASIDE_MONGO_DATABASE" group:"Primary store"`
	MongoCollection string `help:"MongoDB collection of the todos." default:"todos" env:"ASIDE_MONGO_COLLECTION" group:"Primary store"`

	Postgres         string `help:"PostgreSQL URL, such as postgres://todo@db1/todos, to use instead of the embedded store. With several hosts, as in postgres://todo@db1,db2/todos, the primary is used. The table is created if the user may do that. Give passwords in a file or in the environment: flags are visible in the process list." placeholder:"URL" env:"ASIDE_POSTGRES" group:"Primary store"`
	PostgresFile     string `help:"File with the PostgreSQL URL, including the password. Use it instead of --postgres." placeholder:"FILE" env:"ASIDE_POSTGRES_FILE" group:"Primary store"`
	PostgresPassFile string `name:"postgres-password-file" help:"File with the password of the user in --postgres, not percent-encoded. It is read once, at the start." placeholder:"FILE" env:"ASIDE_POSTGRES_PASSWORD_FILE" group:"Primary store"`
	PostgresTable    string `help:"PostgreSQL table of the todos." default:"todos" env:"ASIDE_POSTGRES_TABLE" group:"Primary store"`

	opened todo.Store    // Open returns it, if it is set
	slower time.Duration // latency that is added to the store
}

// Open opens the selected store. The caller closes it. A database server that is down is
// not an error: the store connects as soon as the server is back.
func (f *StoreFlags) Open(ctx context.Context, log *slog.Logger) (todo.Store, error) {
	if f.opened != nil {
		return f.opened, nil
	}
	s, err := f.open(ctx, log)
	if err != nil {
		return nil, err
	}
	return todo.Slow(s, f.slower), nil
}

// system is what the store is, as traces call it.
func (f *StoreFlags) system() string {
	switch {
	case f.Postgres != "":
		return "postgresql"
	case f.Mongo != "":
		return "mongodb"
	}
	return "bbolt"
}

func (f *StoreFlags) open(ctx context.Context, log *slog.Logger) (todo.Store, error) {
	if err := f.secrets(); err != nil {
		return nil, &exitError{err, exitUsage}
	}
	if f.Postgres != "" {
		s, err := pgstore.Open(ctx, f.Postgres, pgstore.Options{Table: f.PostgresTable, Logger: log})
		if err != nil {
			return nil, &exitError{fmt.Errorf("--postgres: %w", err), exitUsage}
		}
		return s, nil
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

// secrets reads the secret files into the flags. A second call changes nothing.
func (f *StoreFlags) secrets() (err error) {
	if f.Mongo, err = oneOf("--mongo", f.Mongo, f.MongoFile); err != nil {
		return err
	}
	if f.Mongo, err = withPassword("--mongo", f.Mongo, "--mongo-password-file", f.MongoPassFile, "mongodb://db1", true); err != nil {
		return err
	}
	f.MongoFile, f.MongoPassFile = "", ""
	if f.Postgres, err = oneOf("--postgres", f.Postgres, f.PostgresFile); err != nil {
		return err
	}
	if f.Postgres, err = withPassword("--postgres", f.Postgres, "--postgres-password-file", f.PostgresPassFile, "postgres://db1/todos", true); err != nil {
		return err
	}
	f.PostgresFile, f.PostgresPassFile = "", ""
	if f.Mongo != "" && f.Postgres != "" {
		return errors.New("--mongo and --postgres are both given (ASIDE_MONGO and ASIDE_POSTGRES count too): remove one of them, there is one primary store")
	}
	return nil
}

// Describe returns a name of the store for logs, without secrets.
func (f *StoreFlags) Describe() string {
	if f.slower > 0 {
		return fmt.Sprintf("%s, with %v of latency added", f.describe(), f.slower)
	}
	return f.describe()
}

func (f *StoreFlags) describe() string {
	if f.Postgres != "" {
		return redactURL(f.Postgres) + " (table " + f.PostgresTable + ")"
	}
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

// CacheFlags configure the cache.
type CacheFlags struct {
	Redis string `help:"URL of Redis, the cache tier that all servers share, such as redis://cache1:6379. The help of aside serve lists the other forms. Without it, each server has only its own cache in memory. Give passwords in a file or in the environment." placeholder:"URL" env:"ASIDE_REDIS" group:"Cache"`

	RedisPasswordFile         string `help:"File with the password of the user in --redis (redis://user@host, or redis://host for the default user), not percent-encoded. It is read once, at the start." placeholder:"FILE" env:"ASIDE_REDIS_PASSWORD_FILE" group:"Cache"`
	RedisSentinelUsername     string `help:"User name for the sentinels, if they need one. The user in --redis is for the Redis servers only." placeholder:"NAME" env:"ASIDE_REDIS_SENTINEL_USERNAME" group:"Cache"`
	RedisSentinelPassword     string `help:"Password for the sentinels, if they need one. Give it in a file or in the environment." placeholder:"PASSWORD" env:"ASIDE_REDIS_SENTINEL_PASSWORD" group:"Cache"`
	RedisSentinelPasswordFile string `help:"File with the password for the sentinels." placeholder:"FILE" env:"ASIDE_REDIS_SENTINEL_PASSWORD_FILE" group:"Cache"`
	RedisTLSCert              string `name:"redis-tls-cert" help:"With rediss://: file with the client certificate of this server, in PEM form, if Redis requires one (tls-auth-clients yes). The file is read again when it changes." placeholder:"FILE" env:"ASIDE_REDIS_TLS_CERT" group:"Cache"`
	RedisTLSKey               string `name:"redis-tls-key" help:"File with the private key of --redis-tls-cert, in PEM form." placeholder:"FILE" env:"ASIDE_REDIS_TLS_KEY" group:"Cache"`
	RedisTLSCA                string `name:"redis-tls-ca" help:"With rediss://: file with the certificates of the authorities to trust for Redis, in PEM form. Default: the authorities that this machine trusts." placeholder:"FILE" env:"ASIDE_REDIS_TLS_CA" group:"Cache"`

	CacheName   string        `help:"Name of the cache in Redis. All servers of one store must use the same name. Servers of different stores must use different names. Default: a name made from an id that the store keeps, so that all servers of the store use the same name. A copy of the store has the same identity (a copied file, or a copied MongoDB database with the same database name). If the copy uses the same Redis, give it another name." placeholder:"NAME" env:"ASIDE_CACHE_NAME" group:"Cache"`
	TTL         time.Duration `name:"ttl" help:"How long a record stays cached. It also bounds how long the cache can miss a change that was not made through the service." default:"5m" env:"ASIDE_TTL" group:"Cache"`
	NegativeTTL time.Duration `name:"negative-ttl" help:"How long the cache remembers that a record does not exist. 0: not at all." default:"30s" env:"ASIDE_NEGATIVE_TTL" group:"Cache"`
	StaleFor    time.Duration `help:"How long past its TTL a record may still be served while the store fails. Redis keeps records for this additional time." default:"0s" env:"ASIDE_STALE_FOR" group:"Cache"`

	StaleWhileRevalidate time.Duration `help:"How long past its TTL a record is still served at once, while one server reads it from the store in the background (RFC 5861). Strong reads wait." default:"0s" env:"ASIDE_STALE_WHILE_REVALIDATE" group:"Cache"`
	RefreshAhead         float64       `help:"The last share of a record's life, 0 to 1, in which a read of it has one server read it from the store in the background, so that records which are in use do not expire. 0: off." default:"0" env:"ASIDE_REFRESH_AHEAD" group:"Cache"`
	SoftTimeout          time.Duration `help:"With --stale-for: a read that would wait longer than this for the store is answered with the record past its TTL, and the store is waited for in the background. It must be shorter than --load-timeout. 0: off." default:"0s" env:"ASIDE_SOFT_TIMEOUT" group:"Cache"`
	FailedFor            time.Duration `help:"With --stale-for: for how long after a failed read from the store this server does not read that record again, but serves the one past its TTL. 0: off." default:"0s" env:"ASIDE_FAILED_FOR" group:"Cache"`

	TagDays bool `help:"Give each record in the cache one tag, the day in UTC on which it was created, such as created:2026-11-29, or created:unknown. Then aside drop --tag drops all records of a day at once. All servers that share a cache must have it or not: servers with and without it do not use each other's records. The user in Redis needs +zadd +zrange +zremrangebyscore." env:"ASIDE_TAG_DAYS" group:"Cache"`

	L1Size   int           `name:"l1-size" help:"Maximum number of records in this server's memory." default:"100000" env:"ASIDE_L1_SIZE" group:"Cache"`
	L1Bytes  uint64        `name:"l1-bytes" help:"Maximum size of these records in memory, in bytes, including the overhead of the cache. Both limits apply; the least useful records are evicted first." default:"268435456" env:"ASIDE_L1_BYTES" group:"Cache"`
	L1TTL    time.Duration `name:"l1-ttl" help:"How long a record stays in memory. Default: --ttl, with --redis at most 1m." placeholder:"DURATION" env:"ASIDE_L1_TTL" group:"Cache"`
	NoL1     bool          `name:"no-l1" help:"Do not cache in memory. Every read asks Redis." env:"ASIDE_NO_L1" group:"Cache"`
	NoCache  bool          `help:"Do not use a cache: every read goes to the store. For measurements." env:"ASIDE_NO_CACHE" group:"Cache"`
	MaxLoads int           `help:"Maximum number of concurrent reads from the store." default:"64" env:"ASIDE_MAX_LOADS" group:"Cache"`

	NoBulkLoads bool `help:"Read each missing record with a query of its own. By default single reads that miss at the same moment are one query, which most stores answer faster. FerretDB 1 does not: it reads all documents for a query of several ids." env:"ASIDE_NO_BULK_LOADS" group:"Cache"`

	MaxEntrySize int `help:"Maximum size of a record in Redis, in bytes as stored. Larger records are cached only in the memory of each server." default:"1048576" env:"ASIDE_MAX_ENTRY_SIZE" group:"Cache"`

	LeaseWait        time.Duration `help:"How long a server waits for another server that is reading the same record from the store. Then it reads the record itself. Default: half of --load-timeout." placeholder:"DURATION" env:"ASIDE_LEASE_WAIT" group:"Cache"`
	LoadTimeout      time.Duration `help:"Timeout for one read from the store, including the wait for a free slot (--max-loads)." default:"5s" env:"ASIDE_LOAD_TIMEOUT" group:"Cache"`
	WriteTimeout     time.Duration `help:"Timeout for one write to the store." default:"5s" env:"ASIDE_WRITE_TIMEOUT" group:"Cache"`
	FenceTTL         time.Duration `name:"fence-ttl" help:"How long a key stays uncached after a write whose outcome is unknown. The store must not apply a write later than this time after its start. Default: --write-timeout plus 5s." placeholder:"DURATION" env:"ASIDE_FENCE_TTL" group:"Cache"`
	RedisTimeout     time.Duration `help:"Timeout for one Redis command. After several timeouts the server stops using Redis for a while." default:"100ms" env:"ASIDE_REDIS_TIMEOUT" group:"Cache"`
	RedisSoftTimeout time.Duration `help:"A lookup in Redis that takes longer than this is hedged: the record is also read from the store, and the first answer counts. At most one of twenty lookups is, so that a Redis that is slow for all does not send all reads to the store. It must be shorter than --redis-timeout. 0: off." default:"0s" env:"ASIDE_REDIS_SOFT_TIMEOUT" group:"Cache"`

	RedisSilence  time.Duration `help:"Flush the cache in memory if Redis has been silent for this long." default:"2s" env:"ASIDE_REDIS_SILENCE" group:"Cache"`
	DegradedL1TTL time.Duration `name:"degraded-l1-ttl" help:"How long a record that was read while Redis is unreachable stays in memory. During this time it can be older than the writes of other servers. 0: do not cache it." default:"1s" env:"ASIDE_DEGRADED_L1_TTL" group:"Cache"`

	Feed string `help:"Follow the store's own log of changes, so that changes made past the service, such as with psql, are seen within milliseconds and not after --ttl. auto: if the store has one and it can be followed; /readyz and the log say whether it is; the embedded store is followed with --redis and in the demo. on: also refuse to start with a store that has none, or whose settings or rights do not allow it, and be degraded at /readyz while it is not followed. off: do not." enum:"auto,on,off" default:"auto" env:"ASIDE_FEED" group:"Cache"`

	FeedGoBack time.Duration `help:"By how much a server goes back in the feed when Redis may have lost its latest commands, such as in a failover. It must be longer than a failover takes. At most 50s." default:"45s" env:"ASIDE_FEED_GO_BACK" group:"Cache"`

	OnRedisDown string `help:"What happens to writes while Redis is unreachable. open: the server accepts them; other servers that still reach Redis may answer with the older record until this server reaches Redis again. closed: the server refuses them with 503." enum:"open,closed" default:"open" env:"ASIDE_ON_REDIS_DOWN" group:"Cache"`
}

// Larger values are mistakes, and sums of them would overflow. They are the limits of the
// library too.
const (
	maxNumber = 1 << 30
	maxTime   = 10 * 365 * 24 * time.Hour
)

// check reports invalid values and combinations of flags, all at once. The library
// checks the values too, but under the names of its options.
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
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"--stale-while-revalidate", f.StaleWhileRevalidate}, {"--soft-timeout", f.SoftTimeout}, {"--failed-for", f.FailedFor}, {"--redis-soft-timeout", f.RedisSoftTimeout}} {
		if d.is < 0 {
			fault("%s must not be negative, is %v", d.name, d.is)
		}
	}
	if !(f.RefreshAhead >= 0 && f.RefreshAhead <= 1) {
		fault("--refresh-ahead must be a share from 0 to 1, is %v", f.RefreshAhead)
	}
	if f.SoftTimeout > 0 && f.StaleFor == 0 {
		fault("--soft-timeout needs --stale-for: without it there is no record to serve in place of the store's")
	}
	if f.SoftTimeout > 0 && f.SoftTimeout >= f.LoadTimeout {
		fault("--soft-timeout must be shorter than --load-timeout, is %v and %v", f.SoftTimeout, f.LoadTimeout)
	}
	if f.RedisSoftTimeout > 0 && f.RedisSoftTimeout >= f.RedisTimeout {
		fault("--redis-soft-timeout must be shorter than --redis-timeout, is %v and %v", f.RedisSoftTimeout, f.RedisTimeout)
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
	for _, n := range []struct {
		name string
		is   int
	}{{"--max-loads", f.MaxLoads}, {"--max-entry-size", f.MaxEntrySize}} {
		if n.is < 1 || n.is > maxNumber {
			fault("%s must be 1 to %d, is %d", n.name, maxNumber, n.is)
		}
	}
	for _, d := range []struct {
		name string
		is   time.Duration
	}{
		{"--ttl", f.TTL}, {"--negative-ttl", f.NegativeTTL}, {"--stale-for", f.StaleFor}, {"--stale-while-revalidate", f.StaleWhileRevalidate},
		{"--soft-timeout", f.SoftTimeout}, {"--failed-for", f.FailedFor}, {"--l1-ttl", f.L1TTL}, {"--lease-wait", f.LeaseWait},
		{"--load-timeout", f.LoadTimeout}, {"--write-timeout", f.WriteTimeout}, {"--fence-ttl", f.FenceTTL}, {"--redis-timeout", f.RedisTimeout},
		{"--redis-soft-timeout", f.RedisSoftTimeout}, {"--redis-silence", f.RedisSilence}, {"--degraded-l1-ttl", f.DegradedL1TTL},
	} {
		if d.is > maxTime {
			fault("%s must be at most %v, is %v", d.name, maxTime, d.is)
		}
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
		fault("--fence-ttl must be longer than --write-timeout, %v, is %v: otherwise a fence can end before its write", f.WriteTimeout, f.FenceTTL)
	}
	if f.FeedGoBack < time.Second || f.FeedGoBack > maxFeedGoBack {
		fault("--feed-go-back must be 1s to %v, is %v", maxFeedGoBack, f.FeedGoBack)
	}
	if f.DegradedL1TTL != 0 && f.DegradedL1TTL < time.Millisecond {
		fault("--degraded-l1-ttl must be 0 or at least 1ms, is %v", f.DegradedL1TTL)
	}
	if f.NoCache && f.Feed == feedOn {
		fault("--feed=on needs a cache: leave out --no-cache")
	}
	if f.NoCache && f.TagDays {
		fault("--tag-days needs a cache: leave out --no-cache")
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

const (
	feedAuto = "auto"
	feedOn   = "on"
	feedOff  = "off"

	maxFeedGoBack = 50 * time.Second
)

// feed returns the feed of the store for the cache, nil if there is none to follow.
func (f *CacheFlags) feed(store todo.Store, name string, log *slog.Logger) (aside.Feed, error) {
	if f.Feed == feedOff || f.NoCache {
		return nil, nil
	}
	s, ok := store.(todo.Feeder)
	if !ok {
		if f.Feed == feedOn {
			return nil, &exitError{errors.New("--feed=on: this store has no feed of its changes (use --postgres, or --mongo with a replica set)"), exitUsage}
		}
		return nil, nil
	}
	feed, err := s.Feed(todo.FeedOptions{Cache: name, Alone: f.Redis == "", Log: log})
	if err != nil {
		return nil, &exitError{fmt.Errorf("--feed: %w", err), exitUsage}
	}
	return feed, nil
}

// checkTime is the timeout of the check of Redis before the start.
const checkTime = 5 * time.Second

// schemaVersionText is stored with every record in Redis. A server treats a record
// with another schema version as a miss. Raise it with any change of todo.Todo that
// older servers would read wrongly. It is a string so that the linker can set it:
// e2e/release_test.go builds servers with another version.
var schemaVersionText = "1"

// withTags makes the schema version another one with --tag-days: no invalidation of a tag
// reaches what was stored without it.
const withTags = 1 << 31

// open creates the cache, or returns nil with --no-cache. close releases leases and
// fences until its context ends.
func (f *CacheFlags) open(name string, log *slog.Logger, hooks func(*aside.Options[string, todo.Todo])) (
	cache *aside.Cache[string, todo.Todo], close func(context.Context) error, err error,
) {
	if f.NoCache {
		return nil, func(context.Context) error { return nil }, nil
	}
	o := f.options(name, log)
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
	hooks(&o)
	if cache, err = aside.New(o); err != nil {
		closeRedis()
		return nil, nil, &exitError{errors.New(strings.ReplaceAll(err.Error(), "aside: ", "")), exitUsage}
	}
	if l2 != nil {
		// Only permanent errors matter here. The service handles the others.
		ctx, cancel := context.WithTimeout(context.Background(), checkTime)
		defer cancel()
		if err := l2.Check(ctx); errors.Is(err, redisl2.ErrUnusable) {
			_ = cache.Close(ctx) // unused until now, so there is nothing to lose
			closeRedis()
			return nil, nil, &exitError{fmt.Errorf("--redis: %s", strings.TrimPrefix(err.Error(), "redisl2: ")), exitUsage}
		}
	}
	return cache, func(ctx context.Context) error {
		defer closeRedis()
		return cache.Close(ctx)
	}, nil
}

// options returns the cache options that the flags ask for, without Redis.
func (f *CacheFlags) options(name string, log *slog.Logger) aside.Options[string, todo.Todo] {
	o := aside.Options[string, todo.Todo]{
		Name:          name,
		SchemaVersion: schemaVersion,
		Validate:      todo.Validate,
		Version:       func(t todo.Todo) uint64 { return uint64(max(t.Version, 0)) },
		TTL:           f.TTL,
		NegativeTTL:   offOr(f.NegativeTTL),
		StaleFor:      f.StaleFor,
		RefreshAhead:  f.RefreshAhead,
		SoftTimeout:   f.SoftTimeout,
		FailedFor:     f.FailedFor,
		L1TTL:         f.L1TTL,
		MaxLoads:      f.MaxLoads,
		LoadTimeout:   f.LoadTimeout,
		LeaseWait:     f.LeaseWait,
		MaxEntrySize:  f.MaxEntrySize,
		WriteTimeout:  f.WriteTimeout,
		FenceTTL:      f.FenceTTL,
		L2Timeout:     f.RedisTimeout,
		L2SoftTimeout: f.RedisSoftTimeout,
		DegradedL1TTL: offOr(f.DegradedL1TTL),
		FeedGoBack:    f.FeedGoBack,
		Logger:        log,
	}
	o.StaleWhileRevalidate = f.StaleWhileRevalidate
	if f.NoBulkLoads {
		o.Bulk.Wait = -1
	}
	if f.TagDays {
		o.SchemaVersion ^= withTags
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
	o := redisl2.Options{SilenceTimeout: f.RedisSilence, Logger: f.hinted(log), SentinelUsername: f.RedisSentinelUsername}
	var err error
	if o.URL, err = withPassword("--redis", f.Redis, "--redis-password-file", f.RedisPasswordFile, "redis://cache1", false); err != nil {
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
	// entryBytes is the memory of an entry without its text: the Todo, the overhead
	// of the cache, and the rounding of the allocator. TestL1Bytes measures it.
	entryBytes = 300
)

// l1Cost limits L1 by bytes and by number of entries at once: an entry costs its
// bytes, but at least bytes/size.
func l1Cost(size int, bytes uint64) (most uint64, cost func(id string, t todo.Todo) uint32) {
	least := min(bytes/uint64(size), math.MaxUint32)
	if bytes/uint64(size) > least {
		bytes = uint64(size) * least
	}
	return bytes, func(id string, t todo.Todo) uint32 {
		n := entryBytes + 2*len(id) + len(t.Name) // the key is a second copy of the id
		if t.Description != nil {
			n += len(*t.Description)
		}
		return uint32(min(max(uint64(n), least), math.MaxUint32))
	}
}

// offOr translates off: it is 0 in the flags, and negative in the library's options.
func offOr(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Describe returns a name of the cache for logs, without secrets.
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

// redactURL removes the user, the password and the query, in which drivers accept
// passwords too.
func redactURL(s string) string {
	scheme, _, rest, ok := printable.SplitURL(s)
	if !ok {
		return "(hidden)"
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "://" + rest
}
