package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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

// browser is a tab, with its error messages and its requests.
type browser struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	asked      []string
}

// open starts a browser, or skips or fails the test.
func open(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if testserver.RequireServers() {
			t.Fatal("no Chromium on PATH, and ASIDE_TEST_REQUIRE_SERVERS is 1")
		}
		t.Skip("no Chromium on PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(1240, 1600),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), // the pages must need no network
	)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			b.complaints = append(b.complaints, string(e.Entry.Level)+": "+e.Entry.Text)
		case *runtime.EventExceptionThrown:
			b.complaints = append(b.complaints, e.ExceptionDetails.Text)
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

// visit opens a file in light or dark colors and waits until it is loaded.
func (b *browser) visit(t *testing.T, file, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err == nil {
		err = chromedp.Do(b.ctx, chromedp.Navigate("file://"+file), chromedp.WaitVisible(chromedp.CSS("h1")))
	}
	if err != nil {
		t.Fatalf("%v; the browser says %q", err, b.complaints)
	}
}

// evaluate returns the value of a JavaScript expression.
func evaluate[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%v in %s", err, expression)
	}
	return v
}

// quiet fails the test if the page logged errors or requested other resources.
func (b *browser) quiet(t *testing.T, file string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("the browser says %s", c)
	}
	for _, u := range b.asked {
		if u != "file://"+file {
			t.Errorf("the page asks for %s", u)
		}
	}
	if len(b.asked) == 0 {
		t.Error("the browser reports no request, not even for the page")
	}
}

// readable fails the test for text with a contrast below 4.5 to 1, the minimum of WCAG 2.
func (b *browser) readable(t *testing.T, scheme string) {
	t.Helper()
	for _, text := range evaluate[[]string](t, b, `(() => {
		const luminance = (c) => {
			const [r, g, b] = c.match(/[\d.]+/g).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
			return 0.2126 * r + 0.7152 * g + 0.0722 * b;
		};
		const behind = (e) => {
			for (; e; e = e.parentElement) {
				const c = getComputedStyle(e).backgroundColor;
				if (!/, 0\)$|transparent/.test(c)) return c;
			}
			return "rgb(255, 255, 255)";
		};
		const faint = [];
		for (const e of document.querySelectorAll("h1, h2, p, b, span, figcaption, small, th, td, dt, dd, svg text")) {
			if (!e.textContent.trim() || !e.getClientRects().length) continue;
			const style = getComputedStyle(e);
			const [x, y] = [luminance(e.closest("svg") ? style.fill : style.color), luminance(behind(e))].sort((a, b) => b - a);
			const ratio = (x + 0.05) / (y + 0.05);
			if (ratio < 4.5) faint.push(e.tagName + " " + e.textContent.trim().slice(0, 30) + ": " + ratio.toFixed(2));
		}
		return faint;
	})()`) {
		t.Errorf("%s: too faint: %s", scheme, text)
	}
}

// keep writes a picture of the page to the directory in ASIDE_TEST_PICTURES, if set.
func (b *browser) keep(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("ASIDE_TEST_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
