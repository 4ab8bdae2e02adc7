// Package browsertest opens pages in a real Chromium, for tests. It collects what the
// browser complains about and which addresses the page asks for.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/asidecache/aside/tests/testserver"
)

// Tab is a tab of a browser.
type Tab struct {
	// Ctx is the context for actions of chromedp.
	Ctx context.Context

	mu         sync.Mutex
	complaints []string
	asked      []string
}

// Open starts a browser with one tab for the test. It skips the test if there is no
// Chromium on PATH, or fails it where servers are required. Only addresses on 127.0.0.1 can be
// reached: pages must need nothing else.
func Open(t testing.TB) *Tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		testserver.Missing(t, "no Chromium on PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1240, 1600),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	return newTab(t, ctx)
}

func newTab(t testing.TB, ctx context.Context) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Tab{Ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			b.complaints = append(b.complaints, string(e.Entry.Level)+": "+e.Entry.Text+" "+e.Entry.URL)
		case *runtime.EventExceptionThrown:
			text := e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				text += " " + x.Description
			}
			b.complaints = append(b.complaints, text)
		case *runtime.EventConsoleAPICalled:
			b.complaints = append(b.complaints, "console."+string(e.Type))
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "data:") {
				b.asked = append(b.asked, u)
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
	return b
}

// Show selects light or dark colors, and the size of the window.
func (b *Tab) Show(t testing.TB, scheme string, width, height int64) {
	t.Helper()
	_, err := chromedp.Call(b.Ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err == nil {
		err = chromedp.Do(b.Ctx, chromedp.EmulateViewport(width, height))
	}
	b.must(t, err)
}

// Visit opens a URL and waits until it shows a heading.
func (b *Tab) Visit(t testing.TB, url string) {
	t.Helper()
	b.must(t, chromedp.Do(b.Ctx, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("h1"))))
}

func (b *Tab) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.Fatalf("%v; the browser says %q", err, b.complaints)
	}
}

// Evaluate returns the value of a JavaScript expression. It waits for a promise.
func Evaluate[T any](t testing.TB, b *Tab, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.must(t, &failed{expression, err})
	}
	return v
}

type failed struct {
	expression string
	err        error
}

func (f *failed) Error() string { return f.err.Error() + " in " + f.expression }
func (f *failed) Unwrap() error { return f.err }

// patience is how long a page may take to show something: a browser on a busy machine is slow.
const patience = 40 * time.Second

// Until waits until a JavaScript expression is true, and fails the test if that does not
// come.
func (b *Tab) Until(t testing.TB, expression string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !Evaluate[bool](t, b, "!!("+expression+")") {
		if time.Now().After(deadline) {
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("after %v this is not true: %s; the browser says %q", patience, expression, b.complaints)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Complaints returns the messages of the console, and the exceptions, since the last call.
func (b *Tab) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.complaints
	b.complaints = nil
	return c
}

// Asked returns the addresses that were requested since the last call.
func (b *Tab) Asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.asked
	b.asked = nil
	return a
}

// Quiet fails the test if the browser complained, or the page asked for an address that does
// not begin with one of these.
func (b *Tab) Quiet(t testing.TB, allowed ...string) {
	t.Helper()
	for _, c := range b.Complaints() {
		t.Errorf("the browser says %s", c)
	}
	asked := b.Asked()
	for _, u := range asked {
		if !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(u, prefix) }) {
			t.Errorf("the page asks for %s", u)
		}
	}
	if len(asked) == 0 {
		t.Error("the browser reports no request, not even for the page")
	}
}

// Picture writes a picture of the whole page to the directory in ASIDE_TEST_PICTURES, if set.
func (b *Tab) Picture(t testing.TB, name string) {
	t.Helper()
	dir := os.Getenv("ASIDE_TEST_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.Ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	b.must(t, err)
}
