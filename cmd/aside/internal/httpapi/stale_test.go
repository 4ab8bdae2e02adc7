package httpapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// A stale answer says so: a hit for how long it has been stale, and one in place of a
// store that failed that it was forwarded.
func TestCacheStatusOfStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := todotest.New(legacy("1", "one"))
		h := handlerOver(t, store, aside.Options[string, todo.Todo]{
			TTL: time.Minute, Jitter: -1, StaleWhileRevalidate: 10 * time.Second, StaleFor: time.Hour,
		})
		want := func(status string, headers ...string) {
			t.Helper()
			a, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/todos/1", nil)
			if len(headers) > 0 {
				r.Header.Set("Cache-Control", headers[0])
			}
			h.ServeHTTP(a, r)
			if got := a.Header().Get("Cache-Status"); a.Code != 200 || got != status {
				t.Errorf("%d, Cache-Status = %q, want %q", a.Code, got, status)
			}
			synctest.Wait()
		}
		want("aside; fwd=miss; detail=load")
		time.Sleep(63500 * time.Millisecond)
		want("aside; hit; ttl=-3; detail=L1/stale")
		want("aside; hit; detail=L1")
		store.Before(func(context.Context, string, string) error { time.Sleep(time.Millisecond); return errors.New("down") })
		time.Sleep(63500 * time.Millisecond)
		want("aside; hit; ttl=-3; detail=L1/stale")
		time.Sleep(10 * time.Second)
		want("aside; fwd=stale; detail=L1/stale")
		store.Before(nil)
		want("aside; fwd=stale; detail=load")
		time.Sleep(80 * time.Second)
		want("aside; fwd=request; detail=load", "no-cache")
	})
}
