package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The well-known tutorial of this pattern (FastAPI, pymongo, redis-py) has the defects below.
// Its clients must work unchanged. Its defects must not come back. Its defects in the use of
// Redis and MongoDB are tested elsewhere.

// Its load test sends GET /todos/<id>, and its programs rely on three field names.
func TestTutorialClientIsServed(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("123", "name")})
	a := f.want(f.do("GET", "/todos/123", ""), 200)
	if !strings.HasPrefix(string(a.body), `{"id":"123","name":"name","description":"d",`) {
		t.Errorf("body: %s", a.body)
	}
	if a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", a.Header.Get("Content-Type"))
	}
	f.want(f.do("POST", "/todos/", `{"id":"9","name":"n","description":"d"}`), 201)
}

func TestTutorialDefectMissingIDAnswered500(t *testing.T) {
	f := serve(t, nil)
	for range 3 {
		a := f.want(f.do("GET", "/todos/404", ""), 404)
		if !strings.Contains(string(a.body), `"detail":"Item not found"`) {
			t.Errorf("body: %s", a.body)
		}
	}
	f.warm("404") // the absence is cached
	before := f.store.Calls("get")
	f.want(f.do("GET", "/todos/404", ""), 404)
	if n := f.store.Calls("get"); n != before {
		t.Errorf("the store was asked again for a known absence")
	}
}

func TestTutorialDefectRecordWithoutDescriptionAnswered500(t *testing.T) {
	f := serve(t, []todo.Todo{{ID: "1", Name: "n"}})
	for range 2 {
		a := f.want(f.do("GET", "/todos/1", ""), 200)
		if !strings.HasPrefix(string(a.body), `{"id":"1","name":"n","description":null,`) {
			t.Errorf("body: %s", a.body)
		}
	}
	f.want(f.do("POST", "/todos", `{"id":"2","name":"n","description":null}`), 201)
	f.want(f.do("GET", "/todos/2", ""), 200)
}

func TestTutorialDefectStaleAfterUpdate(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "old")})
	f.warm("1")
	f.want(f.do("PUT", "/todos/1", `{"name":"new"}`), 200)
	if a := f.do("GET", "/todos/1", ""); !strings.Contains(string(a.body), `"name":"new"`) {
		t.Errorf("after PUT: %s", a.body)
	}
	f.want(f.do("PATCH", "/todos/1", `{"name":"newer"}`), 200)
	if a := f.do("GET", "/todos/1", ""); !strings.Contains(string(a.body), `"name":"newer"`) {
		t.Errorf("after PATCH: %s", a.body)
	}
}

func TestTutorialDefectDeletedRecordServed(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "n")})
	f.warm("1")
	f.want(f.do("DELETE", "/todos/1", ""), 204)
	f.want(f.do("GET", "/todos/1", ""), 404)
}

func TestTutorialDefectCreatedRecordNotFound(t *testing.T) {
	f := serve(t, nil)
	f.want(f.do("GET", "/todos/1", ""), 404)
	f.warm("1") // the absence
	f.want(f.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	f.want(f.do("GET", "/todos/1", ""), 200)
}

func TestTutorialDefectDuplicateIDStoredTwice(t *testing.T) {
	f := serve(t, nil)
	f.want(f.do("POST", "/todos/", `{"id":"1","name":"a"}`), 201)
	f.want(f.do("POST", "/todos/", `{"id":"1","name":"b"}`), 409)
	if a := f.do("GET", "/todos/1", ""); !strings.Contains(string(a.body), `"name":"a"`) {
		t.Errorf("body: %s", a.body)
	}
}

func TestTutorialDefectUnreadableIDsStored(t *testing.T) {
	f := serve(t, nil)
	f.want(f.do("POST", "/todos/", `{"id":"","name":"a"}`), 422)
	a := f.want(f.do("POST", "/todos/", `{"id":"a/b","name":"a"}`), 201)
	f.want(f.do("GET", a.Header.Get("Location"), ""), 200)
}

func TestTutorialDefectRedirectToTheOtherSlash(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "n")})
	f.want(f.do("GET", "/todos/1/", ""), 200)
	f.want(f.do("POST", "/todos", `{"name":"n"}`), 201)
	f.want(f.do("POST", "/todos/", `{"name":"n"}`), 201)
}

func TestTutorialDefectExtraFieldsDropped(t *testing.T) {
	f := serve(t, nil)
	a := f.want(f.do("POST", "/todos/", `{"name":"n","due":"today"}`), 422)
	if !strings.Contains(string(a.body), "body.due") {
		t.Errorf("body: %s", a.body)
	}
}

func TestTutorialDefectNoLimitOnSize(t *testing.T) {
	f := serve(t, nil)
	f.want(f.do("POST", "/todos/", `{"name":"n","description":"`+strings.Repeat("x", 2<<20)+`"}`), 413)
}

func TestTutorialDefectBodyEchoedInError(t *testing.T) {
	f := serve(t, nil)
	for _, body := range []string{`{"name":"hunter2","name2":1}`, `{"name":["hunter2"]}`, `["hunter2"]`, `{"name":"hunter2"`} {
		if a := f.do("POST", "/todos/", body); a.StatusCode < 400 || strings.Contains(string(a.body), "hunter2") {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
}

func TestTutorialDefectTenLoadsForOneKey(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "n")})
	gate, entered := make(chan struct{}), make(chan struct{}, 100)
	f.store.Before(func(context.Context, string, string) error {
		entered <- struct{}{}
		<-gate
		return nil
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if a := f.do("GET", "/todos/1", ""); a.StatusCode != http.StatusOK {
				t.Errorf("status %d", a.StatusCode)
			}
		})
	}
	<-entered
	eventually(t, "all 100 requests are being served", func() bool {
		return strings.Contains(string(f.do("GET", "/metrics", "").body), "aside_http_requests_in_flight 101\n")
	})
	close(gate)
	wg.Wait()
	if n := f.store.Calls("get"); n != 1 {
		t.Errorf("%d loads for one cold key", n)
	}
}

func TestTutorialDefectStoreDownHangsThen500(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "n")})
	f.warm("1")
	f.store.FailWith(todo.ErrUnavailable)
	f.want(f.do("GET", "/todos/1", ""), 200)
	if a := f.want(f.do("GET", "/todos/2", ""), 503); a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
