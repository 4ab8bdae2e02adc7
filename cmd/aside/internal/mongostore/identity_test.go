package mongostore

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

func TestIdentity(t *testing.T) {
	storetest.Identity(t, true, func(t *testing.T) func() todo.Store {
		m := testserver.Mongo(t)
		return func() todo.Store {
			s, err := Open(t.Context(), m.URI(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
	// Each collection of a database is a separate store. Its documents are only todos.
	m := testserver.Mongo(t)
	seen := map[string]bool{}
	for _, name := range []string{"todos", "other"} {
		s := mustOpen(t, m.URI(), Options{Collection: name})
		id, err := s.Identity(t.Context())
		if err != nil || seen[id] {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		seen[id] = true
		if n, err := s.Count(t.Context()); err != nil || n != 0 {
			t.Errorf("%s holds %d records, %v", name, n, err)
		}
	}
}

// The dump of a database contains the document of the identity. Restored under another name
// it is another store, and both can use the same Redis.
func TestIdentityOfARestoredCopy(t *testing.T) {
	original, copied := testserver.Mongo(t), testserver.Mongo(t)
	a, b := mustOpen(t, original.URI(), Options{}), mustOpen(t, copied.URI(), Options{})
	first, err := a.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.identities().FindOne(t.Context(), bson.D{}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.identities().InsertOne(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	if second, err := b.Identity(t.Context()); err != nil || second == first || !todo.IsIdentity(second) {
		t.Errorf("the copy is %q, %v; the original %q", second, err, first)
	}
}

// If several nodes create the identity at the same time, one succeeds and the others use the
// stored one. Caught: a node used the identity that it had sent, although another node had
// been first.
func TestIdentityRaces(t *testing.T) {
	kept := ""
	f := newFakeServer(t, func(name string, cmd bson.Raw) bson.D {
		switch name {
		case "find":
			batch := bson.A{}
			if kept != "" {
				batch = append(batch, bson.D{{Key: "_id", Value: "todos"}, {Key: "identity", Value: kept}})
			}
			return bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "test.aside_identity"}, {Key: "firstBatch", Value: batch}}}, {Key: "ok", Value: 1}}
		case "update":
			// The first time, the majority does not have the other node's document yet.
			if kept == "" && cmd.Lookup("txnNumber").Int64() > 1 {
				kept = "OTHERWASFIRST1234567"
			}
			return bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 0}, {Key: "writeErrors", Value: bson.A{bson.D{{Key: "index", Value: 0}, {Key: "code", Value: codeDuplicateKey}, {Key: "errmsg", Value: "E11000"}}}}}
		}
		return nil
	})
	s := mustOpen(t, f.uri, Options{Existing: true})
	if id, err := s.Identity(t.Context()); err != nil || id != s.identityOf("OTHERWASFIRST1234567") {
		t.Errorf("%q, %v", id, err)
	}
	kept = "{$ne: null}"
	if id, err := s.Identity(t.Context()); !errors.Is(err, todo.ErrNoIdentity) || !strings.Contains(err.Error(), "delete this document") {
		t.Errorf("what is no identity: %q, %v", id, err)
	}
}

// A user without write permission gets ErrNoIdentity, until another user has created the
// identity.
func TestIdentityWithoutRights(t *testing.T) {
	unauthorized := serverError(codeUnauthorized)
	for name, tc := range map[string]struct{ find, update bson.D }{
		"read":  {unauthorized, nil},
		"write": {bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "test.aside_identity"}, {Key: "firstBatch", Value: bson.A{}}}}, {Key: "ok", Value: 1}}, unauthorized},
	} {
		f := newFakeServer(t, func(name string, _ bson.Raw) bson.D {
			return map[string]bson.D{"find": tc.find, "update": tc.update}[name]
		})
		s := mustOpen(t, f.uri, Options{Existing: true})
		_, err := s.Identity(t.Context())
		if !errors.Is(err, todo.ErrNoIdentity) || !strings.Contains(err.Error(), "may not "+name+" in the collection test.aside_identity") || f.count("find")+f.count("update") > 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := newFakeServer(t, func(string, bson.Raw) bson.D { return serverError(2) })
	s := mustOpen(t, f.uri, Options{Existing: true})
	if _, err := s.Identity(t.Context()); !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrNoIdentity) {
		t.Errorf("another error: %v", err)
	}
}
