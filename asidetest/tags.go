package asidetest

import (
	"context"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/tags"
)

var _ driver.Tagging = (*Client)(nil)

// tableKept is how long a table of tags is kept that nobody changes.
const tableKept = 30 * 24 * time.Hour

// Tags implements driver.Tagging. The table is an entry of its own, so Restore brings an
// older one back, and SetEntry(key, nil, 0) loses it.
func (c *Client) Tags(ctx context.Context, req driver.TagRequest) (out driver.TagTable, err error) {
	if err := req.Check(); err != nil {
		return out, err
	}
	err = c.do(ctx, "Tags", req.Key, func() (push func()) {
		e, _ := c.s.getLocked(req.Key)
		t, _ := tags.Parse(e.b)
		before := t.TagStamp
		out = t.Do(req, time.Now())
		if t.TagStamp != before {
			push = c.s.setLocked(req.Key, t.Append(nil), tableKept)
		}
		c.tracked[req.Key] = true
		return push
	})
	return out, err
}
