package asidetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// A leader that asks in time goes on leading, and one that does not has ended to the
// millisecond. What it left is there for a week.
// Caught: a state that ends with the leadership.
func TestLeadInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &asidetest.Server{}
		one, two := server.NewClient(), server.NewClient()
		lead := func(c *asidetest.Client, token byte, state string) driver.Leadership {
			req := driver.LeadRequest{Key: "aside:t:feed:leader", Leader: driver.Token{token}, TTL: 2 * time.Second}
			if state != "" {
				req.State = []byte(state)
			}
			l, err := c.Lead(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		for range 10 {
			if l := lead(one, 1, "x"); !l.Leads {
				t.Fatalf("%+v", l)
			}
			time.Sleep(1999 * time.Millisecond)
			if l := lead(two, 2, "y"); l.Leads || !l.Led {
				t.Fatalf("the other, in time: %+v", l)
			}
		}
		time.Sleep(time.Millisecond)
		if l := lead(two, 2, ""); !l.Leads || string(l.State) != "x" {
			t.Fatalf("the other, after the end: %+v", l)
		}
		time.Sleep(7*24*time.Hour - time.Millisecond)
		if l := lead(one, 1, ""); !l.Leads || string(l.State) != "x" {
			t.Errorf("after a week, nearly: %+v", l)
		}
		time.Sleep(7 * 24 * time.Hour)
		if l := lead(one, 1, ""); !l.Leads || l.State != nil {
			t.Errorf("after a week: %+v", l)
		}
	})
}
