package mongofeed_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// fakeServer implements the part of MongoDB's protocol that the driver needs. A test chooses
// its replies: the real ones return the interesting errors only in rare situations. What it
// shows holds for the rules of this package, not for MongoDB: tests/mongofeed has the
// tests on servers.
type fakeServer struct {
	uri    string
	addr   string
	router bool // it acts as a mongos

	mu    sync.Mutex
	sent  []bson.Raw // commands, except handshakes and heartbeats
	reply func(name string, cmd bson.Raw) bson.D
}

// newFakeServer returns a server that replies with the result of reply, or {ok: 1} if that
// is nil. It acts as the primary of a replica set, so that the driver repeats writes.
func newFakeServer(t *testing.T, reply func(name string, cmd bson.Raw) bson.D) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{reply: reply, addr: l.Addr().String(), uri: "mongodb://" + l.Addr().String() + "/?directConnection=true"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				if err := f.serve(c); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Logf("fake server: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return f
}

// count returns how many commands of that name were sent.
func (f *fakeServer) count(name string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cmd := range f.sent {
		if cmd.Index(0).Key() == name {
			n++
		}
	}
	return n
}

func (f *fakeServer) answer(cmd bson.Raw) bson.D {
	switch name := cmd.Index(0).Key(); name {
	case "hello", "isMaster", "ismaster":
		if f.router {
			return bson.D{
				{Key: "ismaster", Value: true}, {Key: "msg", Value: "isdbgrid"}, {Key: "minWireVersion", Value: 0},
				{Key: "maxWireVersion", Value: 21}, {Key: "logicalSessionTimeoutMinutes", Value: 30}, {Key: "ok", Value: 1},
			}
		}
		return bson.D{
			{Key: "helloOk", Value: true}, {Key: "ismaster", Value: true}, {Key: "isWritablePrimary", Value: true},
			{Key: "maxBsonObjectSize", Value: 16 << 20}, {Key: "maxMessageSizeBytes", Value: 48_000_000}, {Key: "maxWriteBatchSize", Value: 100_000},
			{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21}, {Key: "logicalSessionTimeoutMinutes", Value: 30},
			{Key: "setName", Value: "rs0"}, {Key: "hosts", Value: bson.A{"127.0.0.1:1"}}, {Key: "primary", Value: "127.0.0.1:1"}, {Key: "me", Value: "127.0.0.1:1"},
			{Key: "ok", Value: 1},
		}
	case "endSessions":
		return bson.D{{Key: "ok", Value: 1}}
	default:
		f.mu.Lock()
		f.sent = append(f.sent, cmd)
		f.mu.Unlock()
		if d := f.reply(name, cmd); d != nil {
			return d
		}
		return bson.D{{Key: "ok", Value: 1}}
	}
}

const (
	opQuery = 2004
	opMsg   = 2013
)

func (f *fakeServer) serve(c net.Conn) error {
	for {
		var h [16]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		body := make([]byte, binary.LittleEndian.Uint32(h[:])-16)
		if _, err := io.ReadFull(c, body); err != nil {
			return err
		}
		var before []byte // the reply's document
		op := binary.LittleEndian.Uint32(h[12:])
		switch op {
		case opMsg: // flags, then a section with the command, then others
			before, body = make([]byte, 5), body[5:]
		case opQuery: // flags, collection, two numbers, the command; answered by OP_REPLY
			before = append(make([]byte, 16), 1, 0, 0, 0)
			before[0] = 8
			n := 4
			for body[n] != 0 {
				n++
			}
			op, body = 1, body[n+9:]
		default:
			return errors.New("unknown operation")
		}
		reply, err := bson.Marshal(f.answer(bson.Raw(body[:binary.LittleEndian.Uint32(body)])))
		if err != nil {
			return err
		}
		out := binary.LittleEndian.AppendUint32(nil, uint32(16+len(before)+len(reply)))
		out = append(out, 0, 0, 0, 0)
		out = append(out, h[4:8]...)
		out = binary.LittleEndian.AppendUint32(out, op)
		if _, err := c.Write(append(append(out, before...), reply...)); err != nil {
			return err
		}
	}
}
