package e2e

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Nodes are talked to seldom, and come and go.
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	// A toxiproxy that is stopped with bytes on their way leaves who holds them.
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
