package mongofeed

import (
	"fmt"
	"runtime/debug"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// guard returns fn, an option, without its panics: it then knows of no key.
func (f *Feed) guard(option string, fn func(bson.RawValue) (string, bool)) func(bson.RawValue) (string, bool) {
	return func(v bson.RawValue) (key string, ok bool) {
		defer func() {
			if p := recover(); p != nil {
				f.panicked(option, p)
			}
		}()
		return fn(v)
	}
}

const panicLogEvery = 10 * time.Second

func (f *Feed) panicked(option string, p any) {
	now := time.Now().UnixNano()
	if last := f.panicLogged.Load(); now-last < int64(panicLogEvery) || !f.panicLogged.CompareAndSwap(last, now) {
		return
	}
	f.opts.Logger.Error("mongofeed: a function of Options panicked, which counts as a key that it does not know",
		"option", option, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}
