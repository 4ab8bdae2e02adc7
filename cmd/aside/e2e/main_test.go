package e2e

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Requests to nodes are rare, and nodes start and stop: keep no connections.
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	// A toxiproxy that is stopped during a transfer leaves a goroutine.
	holds := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run")
	reads := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read")
	goleak.VerifyTestMain(m, holds, reads, goleak.Cleanup(func(code int) {
		if dir := os.Getenv("ASIDE_E2E_RESULTS"); dir != "" {
			if err := table.write(dir); err != nil {
				fmt.Fprintln(os.Stderr, "the results cannot be written:", err)
				code = 1
			}
		}
		if builds != "" {
			_ = os.RemoveAll(builds)
		}
		os.Exit(code)
	}))
}
