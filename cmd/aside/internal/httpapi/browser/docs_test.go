package browser

import (
	"context"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
	"github.com/asidecache/aside/tests/testserver"
)

// chromium returns the path of a browser, or skips or fails the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if testserver.RequireServers() {
		t.Fatal("no Chromium on PATH, and ASIDE_TEST_REQUIRE_SERVERS is 1")
	}
	t.Skip("no Chromium on PATH")
	return ""
}

// The page works under its own policy, asks nobody but this server, and its
// form reads a todo. Caught by a script-src without 'self', and by a script
// from a CDN.
func TestDocumentationPage(t *testing.T) {
	path := chromium(t)
	cache, err := aside.New(aside.Options[string, todo.Todo]{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	store := todotest.New(todo.Todo{ID: "123", Name: "found by the browser"})
	handler, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: store, Cache: cache})})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root
		chromedp.UserDataDir(t.TempDir()),
		// Nothing but this server can be reached: the page must not need it.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()

	var mu sync.Mutex
	var complaints, foreign []string
	err = chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			complaints = append(complaints, string(e.Entry.Level)+": "+e.Entry.Text)
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Text)
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, server.URL) && !strings.HasPrefix(u, "data:") {
				foreign = append(foreign, u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable} {
		if _, err := chromedp.Call(ctx, enable, cdp.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}

	const (
		operation = "#operations-todos-get-todo"
		input     = chromedp.CSS(operation + ` input[placeholder="id"]`)
		answer    = operation + " .live-responses-table .response"
	)
	err = chromedp.Do(ctx,
		chromedp.Navigate(server.URL+"/docs"),
		chromedp.WaitVisible(chromedp.CSS(".info .title")),
		chromedp.Click(chromedp.CSS(operation+" .opblock-summary-control")),
		chromedp.WaitVisible(input), // it has the example from the document, 123
		chromedp.Click(chromedp.CSS(operation+" button.execute")),
		chromedp.WaitVisible(chromedp.CSS(answer+" .response-col_status")),
	)
	text := func(selector chromedp.CSS) (s string) {
		if err == nil {
			s, err = chromedp.Run(ctx, chromedp.Text(selector))
		}
		return s
	}
	title := text(".info .title")
	status, body := text(answer+" .response-col_status"), text(answer+" .response-col_description")
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		t.Fatalf("%v; the browser says %q", err, complaints)
	}
	if !strings.Contains(title, "aside todo service") {
		t.Errorf("title %q", title)
	}
	if !strings.HasPrefix(status, "200") || !strings.Contains(body, "found by the browser") || !strings.Contains(body, "aside; ") {
		t.Errorf("the form shows %q %q", status, body)
	}
	for _, c := range complaints {
		t.Errorf("the browser says %s", c)
	}
	for _, u := range foreign {
		t.Errorf("the page asks %s", u)
	}
}
