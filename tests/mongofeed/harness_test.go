package mongofeed_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/mongofeed"
	"github.com/asidecache/aside/tests/testserver"
)

// These tests run on the server that ASIDE_TEST_MONGODB_URI names, or on mongod from PATH.
// If ASIDE_TEST_SECANTUSD names the program secantusd-py, they run on SecantusDB, and with
// them the tests that need servers of their own. scripts/test-mongo.sh sets the variables.
// FerretDB, the usual stand-in, has no change streams.

// kind is a server that these tests know.
type kind string

const (
	mongodb  kind = "MongoDB"
	secantus kind = "SecantusDB"
	ferret   kind = "FerretDB"
)

// server is a MongoDB server, and a fresh database on it.
type server struct {
	uri      string
	kind     kind
	database string
	client   *mongo.Client

	mu   sync.Mutex
	sent map[string]int // commands of the client
}

func (s *server) count(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[command]
}

// anyServer returns a server with change streams, and a client of it.
func anyServer(t testing.TB, opts ...*options.ClientOptions) *server {
	t.Helper()
	if os.Getenv("ASIDE_TEST_SECANTUSD") != "" {
		p, err := sharedSecantus()
		if err != nil {
			t.Fatal(err)
		}
		return connect(t, p.uri(), opts...)
	}
	s := connect(t, testserver.Mongo(t).URI(), opts...)
	if s.kind == ferret {
		t.Skip("FerretDB has no change streams: run make test-mongo, or set ASIDE_TEST_MONGODB_URI")
	}
	return s
}

func connect(t testing.TB, uri string, opts ...*options.ClientOptions) *server {
	t.Helper()
	s := &server{uri: uri, database: "feed_" + strings.ToLower(rand.Text()[:12]), sent: map[string]int{}}
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent[e.CommandName]++
	}}
	base := options.Client().ApplyURI(uri).SetMonitor(monitor).SetServerSelectionTimeout(5 * time.Second)
	client, err := mongo.Connect(append([]*options.ClientOptions{base}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = client.Database(s.database).Drop(ctx)
		_ = client.Disconnect(ctx)
	})
	var info bson.M
	if err := client.Database("admin").RunCommand(t.Context(), bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprint(info)
	switch {
	case strings.Contains(said, "ferretdb"):
		s.kind = ferret
	case os.Getenv("ASIDE_TEST_SECANTUSD") != "":
		s.kind = secantus
	default:
		s.kind = mongodb
	}
	return s
}

// collection creates a collection.
func (s *server) collection(t testing.TB, preImages bool) *mongo.Collection {
	t.Helper()
	opts := options.CreateCollection()
	if preImages {
		opts.SetChangeStreamPreAndPostImages(bson.D{{Key: "enabled", Value: true}})
	}
	name := "todos_" + strings.ToLower(rand.Text()[:6])
	if err := s.client.Database(s.database).CreateCollection(t.Context(), name, opts); err != nil {
		t.Fatal(err)
	}
	return s.client.Database(s.database).Collection(name)
}

// secantusd is a process of SecantusDB.
type secantusd struct {
	port int
	dir  string
	args []string

	stdin io.Closer
	done  chan struct{}
}

var sharedSecantus = sync.OnceValues(func() (*secantusd, error) {
	dir, err := os.MkdirTemp("", "aside-secantus")
	if err != nil {
		return nil, err
	}
	p := &secantusd{dir: dir}
	return p, p.start()
})

// ownSecantus starts a server for one test.
func ownSecantus(t testing.TB, args ...string) *secantusd {
	t.Helper()
	if os.Getenv("ASIDE_TEST_SECANTUSD") == "" {
		t.Skip("needs SecantusDB, of which it starts processes: run make test-mongo")
	}
	p := &secantusd{dir: t.TempDir(), args: args}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *secantusd) uri() string {
	return fmt.Sprintf("mongodb://127.0.0.1:%d/?directConnection=true", p.port)
}
func (p *secantusd) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// start starts it, on the port that it had before.
func (p *secantusd) start() error {
	if p.port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		p.port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	// The shell ends the server when its standard input closes, however this process ends.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `"$@" >>"$ASIDE_LOG" 2>&1 & read -r _; kill -9 $!; wait $!`, "sh",
		os.Getenv("ASIDE_TEST_SECANTUSD"), "--port", fmt.Sprint(p.port), "--storage-path", filepath.Join(p.dir, "data"),
		"--enable-test-commands"}, p.args...)...)
	cmd.Env = append(os.Environ(), "ASIDE_LOG="+filepath.Join(p.dir, "log"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.stdin, p.done = stdin, make(chan struct{})
	go func() { _ = cmd.Wait(); close(p.done) }()
	if !testsync.Poll(60*time.Second, func() bool {
		c, err := net.Dial("tcp", p.addr())
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		p.kill()
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		return fmt.Errorf("SecantusDB does not listen: %s", log)
	}
	return nil
}

// kill ends it with SIGKILL.
func (p *secantusd) kill() {
	if p.stdin != nil {
		p.stdin.Close()
		<-p.done
		p.stdin = nil
	}
}

func mustNew(t testing.TB, coll *mongo.Collection, opts mongofeed.Options) *mongofeed.Feed {
	t.Helper()
	f, err := mongofeed.New(coll, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustOpen(t testing.TB, f driver.Feed, from driver.Position) driver.Stream {
	t.Helper()
	s, err := f.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// next returns the next batch that is not empty.
func next(t testing.TB, s driver.Stream) driver.Batch {
	t.Helper()
	for range 60 {
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.All || len(b.Changes) > 0 {
			return b
		}
	}
	t.Fatal("nothing is told")
	return driver.Batch{}
}

// nextN returns n changes, in as many batches as they come in.
func nextN(t testing.TB, s driver.Stream, n int) (changes []driver.Change) {
	t.Helper()
	for len(changes) < n {
		b := next(t, s)
		if b.All {
			t.Fatalf("after %v: all is told to have changed, want %d changes", changes, n)
		}
		changes = append(changes, b.Changes...)
	}
	return changes
}

func wantChanges(t testing.TB, s driver.Stream, want ...driver.Change) {
	t.Helper()
	if got := nextN(t, s, len(want)); !slices.Equal(got, want) {
		t.Errorf("changes:\n got %+v\nwant %+v", got, want)
	}
}

func wantAll(t testing.TB, s driver.Stream) {
	t.Helper()
	if b := next(t, s); !b.All || len(b.Changes) != 0 {
		t.Errorf("got %+v, want All", b)
	}
}

func wantGap(t testing.TB, f driver.Feed, from driver.Position) {
	t.Helper()
	s, err := f.Open(t.Context(), from)
	if err == nil {
		_, err = s.Next(t.Context())
		s.Close()
	}
	if !errors.Is(err, driver.ErrGap) {
		t.Errorf("got %v, want ErrGap", err)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func insert(t testing.TB, coll *mongo.Collection, docs ...any) {
	t.Helper()
	if _, err := coll.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, coll *mongo.Collection, id any, fields bson.M) {
	t.Helper()
	if _, err := coll.UpdateByID(t.Context(), id, bson.M{"$set": fields}); err != nil {
		t.Fatal(err)
	}
}

func replace(t testing.TB, coll *mongo.Collection, id any, doc bson.M) {
	t.Helper()
	if _, err := coll.ReplaceOne(t.Context(), bson.M{"_id": id}, doc); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, coll *mongo.Collection, id any) {
	t.Helper()
	if _, err := coll.DeleteOne(t.Context(), bson.M{"_id": id}); err != nil {
		t.Fatal(err)
	}
}
