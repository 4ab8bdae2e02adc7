package aside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// user is what callbacks trip over: a nil one.
type user struct {
	Name    string
	Version uint64
}

type userCodec struct {
	aside.JSON[*user]
	encode, decode func()
}

func (c userCodec) Encode(v *user) ([]byte, error) { c.encode(); return c.JSON.Encode(v) }
func (c userCodec) Decode(b []byte) (*user, error) { c.decode(); return c.JSON.Decode(b) }

// A panic of a callback is an error of its key, or of nothing; it is counted and
// logged, and the next read of the key works.
// Caught: each of the callbacks called without a guard, which ends the process.
func TestBoundsCallbackPanics(t *testing.T) {
	type opts = aside.Options[string, *user]
	loader := aside.LoaderFunc[string, *user](func(context.Context, string) (*user, error) { return &user{Name: "x"}, nil })
	bulk := aside.BulkLoaderFunc[string, *user](func(_ context.Context, keys []string) (map[string]*user, error) {
		out := map[string]*user{}
		for _, k := range keys {
			out[k] = &user{Name: "x"}
		}
		return out, nil
	})
	get := func(c *aside.Cache[string, *user]) error {
		_, err := c.Get(context.Background(), "k", loader)
		return err
	}
	getMany := func(c *aside.Cache[string, *user]) error {
		_, err := c.GetMany(context.Background(), []string{"k", "l"}, bulk)
		return err
	}
	write := func(c *aside.Cache[string, *user]) error {
		return c.Write(context.Background(), "k", func(_ context.Context, w *aside.WriteTx[string, *user]) error {
			w.Publish("k", &user{})
			return nil
		})
	}
	ident := func(s string) (string, error) { return s, nil }
	for _, c := range []struct {
		name  string
		armed func(o *opts, bad func())
		do    func(c *aside.Cache[string, *user]) error
		fails bool // the caller is told
	}{
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, get, true},
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, getMany, true},
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, write, true},
		{"ParseKey", func(o *opts, bad func()) {
			o.Key, o.ParseKey = strings.ToUpper, func(s string) (string, error) { bad(); return strings.ToLower(s), nil }
		}, get, false},
		{"Codec.Encode", func(o *opts, bad func()) { o.Codec = userCodec{encode: bad, decode: func() {}} }, get, false},
		{"Codec.Encode", func(o *opts, bad func()) { o.Codec = userCodec{encode: bad, decode: func() {}} }, write, false},
		{"Codec.Decode", func(o *opts, bad func()) { o.Codec = userCodec{encode: func() {}, decode: bad}; o.L1Size = -1 }, get, false},
		{"Codec.Decode", func(o *opts, bad func()) { o.Codec = userCodec{encode: func() {}, decode: bad}; o.L1Size = -1 }, getMany, false},
		{"Validate", func(o *opts, bad func()) {
			o.Validate, o.L1Size = func(string, *user) error { bad(); return nil }, -1
		}, get, false},
		{"Validate", func(o *opts, bad func()) {
			o.Validate, o.L1Size = func(string, *user) error { bad(); return nil }, -1
		}, getMany, false},
		{"Version", func(o *opts, bad func()) { o.Version = func(*user) uint64 { bad(); return 1 } }, get, false},
		{"Version", func(o *opts, bad func()) { o.Version = func(*user) uint64 { bad(); return 1 } }, write, false},
		{"L1Cost", func(o *opts, bad func()) {
			o.L1MaxCost, o.L1Cost = 1000, func(string, *user) uint32 { bad(); return 1 }
		}, get, false},
		{"L1Cost", func(o *opts, bad func()) {
			o.L1MaxCost, o.L1Cost = 1000, func(string, *user) uint32 { bad(); return 1 }
		}, write, false},
		{"OnLoad", func(o *opts, bad func()) { o.OnLoad = func(time.Duration, error) { bad() } }, get, false},
		{"OnL2", func(o *opts, bad func()) { o.OnL2 = func(string, time.Duration, error) { bad() } }, get, false},
		{"OnL2", func(o *opts, bad func()) { o.OnL2 = func(string, time.Duration, error) { bad() } }, write, false},
		{"DefiniteError", func(o *opts, bad func()) { o.DefiniteError = func(error) bool { bad(); return true } }, func(c *aside.Cache[string, *user]) error {
			_ = c.Write(context.Background(), "other", func(context.Context, *aside.WriteTx[string, *user]) error { return errDown })
			return nil
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var armed atomic.Bool
				bad := func() {
					if armed.Load() {
						var u *user
						_ = u.Name
					}
				}
				var log bytes.Buffer
				o := opts{Name: "u", L2: (&asidetest.Server{}).NewClient(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
				c.armed(&o, bad)
				cache, err := aside.New(o)
				if err != nil {
					t.Fatal(err)
				}
				if c.name == "Codec.Decode" || c.name == "Validate" {
					if err := getMany(cache); err != nil { // so that there is something to decode
						t.Fatal(err)
					}
					synctest.Wait()
				}
				armed.Store(true)
				err = c.do(cache)
				synctest.Wait()
				var p *aside.PanicError
				switch {
				case c.fails && (!errors.As(err, &p) || p.Callback != c.name || errors.Is(err, aside.ErrLoadPanicked) || len(p.Stack) == 0):
					t.Errorf("got %v", err)
				case !c.fails && err != nil:
					t.Errorf("got %v, want none", err)
				case strings.Contains(fmt.Sprint(err), "goroutine"):
					t.Errorf("the error shows the stack: %v", err)
				}
				if cache.Stats().Panics == 0 || strings.Count(log.String(), "a callback panicked") != 1 || !strings.Contains(log.String(), c.name) {
					t.Errorf("%d counted; log: %s", cache.Stats().Panics, log.String())
				}
				armed.Store(false)
				for range 2 {
					if err := get(cache); err != nil {
						t.Errorf("afterwards: %v", err)
					}
				}
				if err := cache.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// dbError is an error of an application. A nil *dbError panics when it is asked what it is.
type dbError struct{ code int }

func (e *dbError) Error() string        { return fmt.Sprint("code ", e.code) }
func (e *dbError) Is(target error) bool { return e.code == 7 && target == aside.ErrNotFound }

// An error whose methods panic is an error of its key. Caught: it ended the process, or left
// a write that never ended.
func TestErrorsThatPanic(t *testing.T) {
	var bad *dbError
	for _, s := range []*asidetest.Server{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, newPrimary("k", "w"), s)
			defer closeAll(n)
			var ld aside.Loader[string, rec] = aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return rec{}, bad })
			joined := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return rec{}, errors.Join(aside.ErrNotFound, bad) })
			panics := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { panic(bad) })
			many := aside.BulkLoaderFunc[string, rec](func(context.Context, []string) (map[string]rec, error) {
				return nil, aside.KeyErrors[string]{"k": bad}
			})
			get := func(l aside.Loader[string, rec], m aside.Mode) error {
				_, err := n.Read(t.Context(), "k", l, m)
				return err
			}
			unavailable := false
			if s != nil {
				n.conn.Intercept(func(context.Context, string, string) error {
					if unavailable {
						return errors.New("away")
					}
					return nil
				})
			}
			for name, call := range map[string]func() error{
				"load":    func() error { return get(ld, aside.Default) },
				"strong":  func() error { return get(ld, aside.Strong) },
				"refresh": func() error { return get(ld, aside.Refresh) },
				"joined":  func() error { return get(joined, aside.Default) },
				"panics":  func() error { return get(panics, aside.Default) },
				"many": func() error {
					_, err := n.GetMany(t.Context(), []string{"k"}, many)
					return err.(aside.KeyErrors[string])["k"]
				},
				"write": func() error {
					return n.Write(t.Context(), "w", func(context.Context, *aside.WriteTx[string, rec]) error { return bad })
				},
				"update": func() error {
					_, err := n.Update(t.Context(), "w", func(context.Context) (rec, error) { return rec{}, bad })
					return err
				},
				"delete": func() error { return n.Delete(t.Context(), "w", func(context.Context) error { return bad }) },
				"away": func() error {
					unavailable = true
					defer func() { unavailable = false }()
					return n.Write(t.Context(), "w", func(context.Context, *aside.WriteTx[string, rec]) error { return bad })
				},
			} {
				if p := (*aside.PanicError)(nil); !errors.As(call(), &p) {
					t.Errorf("%s: no PanicError", name)
				}
				synctest.Wait()
			}
			time.Sleep(time.Hour)
			if st := n.Stats(); st.Pending != 0 || st.Degraded {
				t.Errorf("pending %d, %s", st.Pending, st.DegradedReason)
			}
		})
	}
}
