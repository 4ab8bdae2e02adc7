package browser

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/browsertest"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// The page works under its own policy, asks nobody but this server, and its
// form reads a todo. Caught by a script-src without 'self', and by a script
// from a CDN.
func TestDocumentationPage(t *testing.T) {
	b := browsertest.Open(t)
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

	ctx := b.Ctx
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
	if err != nil {
		t.Fatalf("%v; the browser says %q", err, b.Complaints())
	}
	if !strings.Contains(title, "aside todo service") {
		t.Errorf("title %q", title)
	}
	if !strings.HasPrefix(status, "200") || !strings.Contains(body, "found by the browser") || !strings.Contains(body, "aside; ") {
		t.Errorf("the form shows %q %q", status, body)
	}
	b.Quiet(t, server.URL)
}
