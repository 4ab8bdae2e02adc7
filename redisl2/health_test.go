package redisl2

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/driver"
)

// The state tells since when the servers have not been well, whatever was wrong with them
// since. Caught: since the last look at them.
func TestStateSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{ctx: context.Background()}
		want := func(text string, since time.Time) {
			t.Helper()
			var o *driver.Outage
			if err := s.State(); !errors.As(err, &o) || o.Error() != text || !o.Since.Equal(since) {
				t.Errorf("%v, %+v, want %q since %v", err, o, text, since)
			}
		}
		for range 2 {
			if err := s.State(); err != nil {
				t.Errorf("well: %v", err)
			}
			began := time.Now()
			s.health.ill(&s.health.trouble, errors.New("READONLY"))
			time.Sleep(time.Minute)
			want("READONLY", began)
			s.health.ill(&s.health.trouble, errors.New("i/o timeout"))
			want("i/o timeout", began)
			if !s.health.ill(&s.health.down, ErrUnusable) || s.health.ill(&s.health.down, ErrUnusable) {
				t.Error("which was the first?")
			}
			want(ErrUnusable.Error(), began)
			s.health.well()
		}
	})
}
