package testserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestRedisRestartsEmptyOnItsPort(t *testing.T) {
	r := Redis(t)
	addr := r.Addr()
	r.Do("SET", "k", "v")
	r.Restart()
	if r.Addr() != addr {
		t.Errorf("address moved from %s to %s", addr, r.Addr())
	}
	if v, err := r.Do("GET", "k").ToString(); !rueidis.IsRedisNil(err) {
		t.Errorf("GET after a restart: %q, %v", v, err)
	}
	r.Kill()
	r.Kill()
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("a killed server accepts connections")
	}
}

func TestRedisArgumentsAndPassword(t *testing.T) {
	r := Redis(t, "--requirepass", "s3cret", "--maxmemory", "3mb")
	if want := "redis://:s3cret@" + r.Addr(); r.URL() != want {
		t.Errorf("URL() = %s, want %s", r.URL(), want)
	}
	reply, err := r.Do("CONFIG", "GET", "maxmemory").AsStrMap()
	if err != nil || reply["maxmemory"] != "3145728" {
		t.Errorf("maxmemory: %v, %v", reply, err)
	}
}

func TestRedisReportsBadArguments(t *testing.T) {
	r := &RedisServer{t: t, binary: redisBinary(t), dir: t.TempDir(), args: []string{"--no-such-option", "1"}}
	var err error
	if r.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	if err = r.start(); err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Fatalf("start with a bad argument: %v", err)
	}
}

func TestRedisTakenPort(t *testing.T) {
	other := Redis(t)
	r := &RedisServer{t: t, binary: other.binary, dir: t.TempDir(), port: other.port}
	if err := r.start(); !errors.Is(err, errPortTaken) {
		t.Fatalf("start on a taken port: %v", err)
	}
}

func TestRedisPause(t *testing.T) {
	r := Redis(t)
	c := dial(t, r.Addr())
	c.ping(t)
	r.Pause()
	c.pingIsSilent(t)
	r.Resume()
	c.pong(t)
}

func TestRedisKillClients(t *testing.T) {
	r := Redis(t)
	named, other := dial(t, r.Addr()), dial(t, r.Addr())
	named.send(t, "CLIENT SETNAME one\r\n")
	if line, err := named.r.ReadString('\n'); line != "+OK\r\n" {
		t.Fatalf("CLIENT SETNAME: %q, %v", line, err)
	}
	if n := r.KillClients("one"); n != 1 {
		t.Errorf("%d clients killed, want 1", n)
	}
	named.closed(t)
	other.ping(t)
	if info := r.Info("clients"); info["connected_clients"] == "" {
		t.Errorf("INFO clients: %v", info)
	}
}

func TestProxy(t *testing.T) {
	r := Redis(t)

	t.Run("cut", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		c.ping(t)
		p.Cut()
		c.closed(t)
		if _, err := net.Dial("tcp", p.Addr()); err == nil {
			t.Error("a cut proxy accepts connections")
		}
		p.Restore()
		dial(t, p.Addr()).ping(t)
	})
	t.Run("silence", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		old := dial(t, p.Addr())
		old.ping(t)
		p.Silence()
		old.pingIsSilent(t)
		dial(t, p.Addr()).pingIsSilent(t)
		p.Restore()
		old.closed(t)
		dial(t, p.Addr()).ping(t)
	})
	t.Run("silence replies", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		c.ping(t)
		p.SilenceReplies()
		c.send(t, "SET heard yes\r\n")
		c.silent(t)
		Eventually(t, 10*time.Second, "the command arrives", func() bool {
			_, err := r.do("GET", "heard")
			return err == nil
		})
	})
	t.Run("latency", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		c.ping(t)
		p.Latency(300 * time.Millisecond)
		start := time.Now()
		c.ping(t)
		if d := time.Since(start); d < 250*time.Millisecond {
			t.Errorf("a reply took %v with a latency of 300ms", d)
		}
		p.Restore()
		c.ping(t) // the same connection: nothing was lost
	})
	t.Run("jitter", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		p.Jitter(100*time.Millisecond, 90*time.Millisecond)
		var took []time.Duration
		for range 10 {
			start := time.Now()
			c.ping(t)
			took = append(took, time.Since(start))
		}
		if least, most := slices.Min(took), slices.Max(took); least < 8*time.Millisecond || most-least < time.Millisecond {
			t.Errorf("ten replies took from %v to %v with a latency of 100ms ± 90ms", least, most)
		}
	})
	t.Run("bandwidth", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		c.ping(t)
		p.Bandwidth(50)
		r.Do("SET", "large", strings.Repeat("x", 20_000))
		start := time.Now()
		c.send(t, "GET large\r\n")
		if _, err := io.CopyN(io.Discard, c.r, 20_000); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 300*time.Millisecond {
			t.Errorf("20 kB took %v at 50 kB a second", d)
		}
	})
	t.Run("reset", func(t *testing.T) {
		p := Toxiproxy(t, r.Addr())
		c := dial(t, p.Addr())
		c.ping(t)
		p.Reset()
		c.closed(t)
		dial(t, p.Addr()).ping(t)
	})
}

func TestMongo(t *testing.T) {
	a, b := Mongo(t), Mongo(t)
	if a.Database() == b.Database() {
		t.Fatalf("two tests share database %s", a.Database())
	}
	p := Toxiproxy(t, a.Addr())
	c := connect(t, a.URIVia(p.Addr()))
	ctx := context.Background()
	todos := c.Database(a.Database()).Collection("todos")
	if _, err := todos.InsertOne(ctx, bson.D{{Key: "_id", Value: "1"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := connect(t, a.URI()).Database(a.Database()).Collection("todos").CountDocuments(ctx, bson.D{}); n != 1 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
	p.Cut()
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx, nil); err == nil {
		t.Error("the driver goes round the proxy")
	}
}

// Without the queue in tools/ferretdb some of these updates are lost.
func TestMongoUpdatesAreAtomic(t *testing.T) {
	m := Mongo(t)
	ctx := context.Background()
	todos := connect(t, m.URI()).Database(m.Database()).Collection("todos")
	if _, err := todos.InsertOne(ctx, bson.D{{Key: "_id", Value: "1"}, {Key: "n", Value: int64(0)}}); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				var doc struct{ N int64 }
				if err := todos.FindOne(ctx, bson.D{{Key: "_id", Value: "1"}}).Decode(&doc); err != nil {
					t.Error(err)
					return
				}
				res, err := todos.UpdateOne(ctx, bson.D{{Key: "_id", Value: "1"}, {Key: "n", Value: doc.N}},
					bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: doc.N + 1}}}})
				if err != nil {
					t.Error(err)
					return
				}
				done += int(res.ModifiedCount)
			}
		})
	}
	wg.Wait()
	var doc struct{ N int64 }
	if err := todos.FindOne(ctx, bson.D{{Key: "_id", Value: "1"}}).Decode(&doc); err != nil || doc.N != writers*each {
		t.Errorf("after %d updates n is %d (%v)", writers*each, doc.N, err)
	}
}

func TestMissingServerSkipsOrFails(t *testing.T) {
	for value, want := range map[string]string{"": "skip", "1": "fail"} {
		t.Setenv("ASIDE_TEST_REQUIRE_SERVERS", value)
		var got recorder
		Missing(&got, "no server")
		if got.what != want {
			t.Errorf("ASIDE_TEST_REQUIRE_SERVERS=%q: %s, want %s", value, got.what, want)
		}
	}
}

type recorder struct {
	testing.TB
	what string
}

func (r *recorder) Helper()               {}
func (r *recorder) Skipf(string, ...any)  { r.record("skip") }
func (r *recorder) Fatalf(string, ...any) { r.record("fail") }

// record keeps the first call, which would have ended a real test.
func (r *recorder) record(what string) {
	if r.what == "" {
		r.what = what
	}
}

func connect(t *testing.T, uri string) *mongo.Client {
	t.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

// conn speaks just enough of Redis's protocol to see whether anybody answers.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &conn{c, bufio.NewReader(c)}
}

func (c *conn) send(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
}

func (c *conn) ping(t *testing.T) {
	t.Helper()
	c.send(t, "PING\r\n")
	c.pong(t)
}

func (c *conn) pong(t *testing.T) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := c.r.ReadString('\n'); err != nil || line != "+PONG\r\n" {
		t.Fatalf("answer to PING: %q, %v", line, err)
	}
}

func (c *conn) pingIsSilent(t *testing.T) {
	t.Helper()
	c.send(t, "PING\r\n")
	c.silent(t)
}

func (c *conn) silent(t *testing.T) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if line, err := c.r.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("silence expected, got %q, %v", line, err)
	}
}

func (c *conn) closed(t *testing.T) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := c.r.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a closed connection expected, got %q, %v", line, err)
	}
}
