package testserver

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/asidetest/testsync"
)

// MongoServer is a fresh database on a server that speaks MongoDB's protocol.
type MongoServer struct {
	database string
	server   *mongoProcess
}

// Mongo returns a database that is empty and is dropped when the test ends. The
// server is the one that ASIDE_TEST_MONGODB_URI names, else a mongod from PATH
// as a replica set of one, else FerretDB; the latter two run once for the whole
// test binary and end with it.
//
// FerretDB has no change streams, and reads every document for any filter but
// one on _id alone: keep data small.
func Mongo(t testing.TB) *MongoServer {
	t.Helper()
	server, err := sharedMongo()
	if errors.Is(err, errNoMongo) {
		Missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &MongoServer{database: "aside_test_" + strings.ToLower(rand.Text()[:12]), server: server}
	t.Cleanup(func() {
		err := m.with(func(ctx context.Context, c *mongo.Client) error {
			return c.Database(m.database).Drop(ctx)
		})
		if err != nil {
			t.Logf("drop database %s: %v", m.database, err)
		}
	})
	return m
}

// URI is the connection string, with the database in its path.
func (m *MongoServer) URI() string { return m.server.uri("", m.database) }

// URIVia is URI with another address (host:port), such as a Proxy's, in place of
// the server's own.
func (m *MongoServer) URIVia(addr string) string { return m.server.uri(addr, m.database) }

// Addr is host:port of the server, the first one if it has several.
func (m *MongoServer) Addr() string {
	u := m.server.base
	host, _, _ := strings.Cut(u.Host, ",")
	if u.Port() == "" && !strings.Contains(host, ":") {
		host += ":27017"
	}
	return host
}

// Database is the name of the database.
func (m *MongoServer) Database() string { return m.database }

// IsFerretDB reports whether the server is FerretDB rather than MongoDB.
func (m *MongoServer) IsFerretDB() bool { return m.server.ferret }

func (m *MongoServer) with(do func(context.Context, *mongo.Client) error) error {
	return m.server.with(m.URI(), do)
}

var errNoMongo = errors.New("no server speaks MongoDB's protocol: run scripts/bootstrap.sh, " +
	"or set ASIDE_TEST_MONGODB_URI, or put mongod on PATH")

var sharedMongo = sync.OnceValues(func() (*mongoProcess, error) {
	if uri := os.Getenv("ASIDE_TEST_MONGODB_URI"); uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			return nil, errors.New("ASIDE_TEST_MONGODB_URI is no URL") // err would quote a password
		}
		return (&mongoProcess{base: u}).check()
	}
	if path, err := exec.LookPath("mongod"); err == nil {
		return startMongod(path)
	}
	return startFerretDB()
})

// mongoProcess is a server that lives as long as the test binary: it, or the
// shell in front of it, ends when its standard input closes, which the system
// does for a process that is gone, however it went.
type mongoProcess struct {
	base   *url.URL
	ferret bool
	stdin  io.Closer // kept so that the garbage collector does not close it
}

func (p *mongoProcess) uri(addr, database string) string {
	u := *p.base
	if addr != "" {
		u.Host = addr
		q := u.Query()
		q.Set("directConnection", "true") // or the driver would go round the proxy
		q.Del("replicaSet")
		u.RawQuery = q.Encode()
	}
	u.Path = "/" + database
	return u.String()
}

// check asks the server what it is.
func (p *mongoProcess) check() (*mongoProcess, error) {
	var info bson.M
	err := p.with(p.uri("", ""), func(ctx context.Context, c *mongo.Client) error {
		return c.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info)
	})
	if err != nil {
		return nil, fmt.Errorf("the MongoDB server for tests does not answer: %w", err)
	}
	_, p.ferret = info["ferretdb"]
	if v, ok := info["ferretdbVersion"]; ok && v != "" {
		p.ferret = true
	}
	return p, nil
}

func (p *mongoProcess) with(uri string, do func(context.Context, *mongo.Client) error) error {
	c, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(startTimeout))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	defer func() { _ = c.Disconnect(ctx) }()
	return do(ctx, c)
}

// startMongod starts a replica set of one, since a change stream needs a
// replica set.
func startMongod(path string) (*mongoProcess, error) {
	dir, err := os.MkdirTemp("", "aside-mongod")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// mongod does not watch its standard input; the shell does it in its place.
	cmd := exec.Command("/bin/sh", "-c",
		`"$0" "$@" >"$ASIDE_DIR/log" 2>&1 & read -r _; kill -9 $!; rm -rf "$ASIDE_DIR"`,
		path, "--dbpath", dir, "--port", fmt.Sprint(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0")
	cmd.Env = append(os.Environ(), "ASIDE_DIR="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &mongoProcess{
		base:  &url.URL{Scheme: "mongodb", Host: fmt.Sprintf("127.0.0.1:%d", port), RawQuery: "directConnection=true"},
		stdin: stdin,
	}
	err = p.with(p.uri("", ""), func(ctx context.Context, c *mongo.Client) error {
		config := bson.D{{Key: "_id", Value: "rs0"}, {Key: "members", Value: bson.A{
			bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: p.base.Host}},
		}}}
		admin := c.Database("admin")
		if err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err(); err != nil {
			return err
		}
		var hello struct {
			Primary bool `bson:"isWritablePrimary"`
		}
		if !testsync.Poll(startTimeout, func() bool {
			return admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello) == nil && hello.Primary
		}) {
			return errors.New("it did not become primary")
		}
		return nil
	})
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p.check()
}

func startFerretDB() (*mongoProcess, error) {
	path, err := ferretDB()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-die-with-parent")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start FerretDB: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("%s ended before it was ready: %w", path, errors.Join(err, cmd.Wait()))
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("%s printed %q", path, line)
	}
	return (&mongoProcess{base: u, stdin: stdin}).check()
}

// ferretDB finds the server, or builds it from its nested module.
func ferretDB() (string, error) {
	if path := os.Getenv("ASIDE_TEST_FERRETDB"); path != "" {
		return path, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, ".cache", "bin", "ferretdb")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	// Other test binaries may do the same at this moment: each builds a file of
	// its own, and the last rename wins.
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", err
	}
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	defer os.Remove(tmp)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", tmp, ".")
	build.Dir = filepath.Join(root, "tools", "ferretdb")
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w (go build in %s: %v\n%s)", errNoMongo, build.Dir, err, out)
	}
	return bin, os.Rename(tmp, bin)
}

// moduleRoot is the repository's root, whichever of its modules the test that
// runs belongs to.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/asidecache/aside\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is not below the root of aside")
		}
		dir = parent
	}
}
