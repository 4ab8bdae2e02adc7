package loadtest

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/asidecache/aside/internal/wire"
)

// newConn returns the connection of one user.
func newConn(e wire.Endpoint, timeout time.Duration) *wire.Conn {
	c := wire.NewConn(e, "aside-bench", timeout)
	c.Request.Header.SetMethod(fasthttp.MethodGet)
	c.Request.Header.Set("Accept", "application/json")
	return c
}
