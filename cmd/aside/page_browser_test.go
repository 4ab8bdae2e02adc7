package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/asidecache/aside/cmd/aside/internal/browsertest"
	"github.com/asidecache/aside/tests/testserver"
)

// The page of a real demo: a person sees a miss, a hit, a coalesced burst, the key in both
// tiers, the stories, and the charts. With ASIDE_TEST_IMAGES, the pictures for the docs are
// written to that directory, and the stories have their full length.
func TestPageOfTheDemo(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		testserver.Missing(t, "no redis-server on PATH")
	}
	b := browsertest.Open(t)
	images := os.Getenv("ASIDE_TEST_IMAGES")
	p := start(t, nil, "demo", "--count", "300", "--node", "node-1", "--store-latency", "200ms") // so that reads meet, on a busy machine too
	until := func(selector, part string) {
		t.Helper()
		b.Until(t, fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, part))
	}
	click := func(selector, label string) {
		t.Helper()
		found := fmt.Sprintf("[...document.querySelectorAll(%q)].find((e) => e.checkVisibility() && (%q === '' || e.textContent.trim() === %q))", selector, label, label)
		b.Until(t, found)
		browsertest.Evaluate[bool](t, b, found+".click() || true")
	}
	// picture writes a picture of what is in the window, small enough for the docs.
	picture := func(name string) {
		t.Helper()
		if images == "" {
			return
		}
		png, err := chromedp.Run(b.Ctx, chromedp.CaptureScreenshot())
		if err == nil {
			err = os.WriteFile(filepath.Join(images, name+".png"), png, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(png) > 150_000 {
			t.Errorf("the picture %s has %d bytes, more than 150000", name, len(png))
		}
	}

	b.Show(t, "light", 1180, 760)
	const newest = ".traces li:first-child .chip"
	for _, when := range []string{"a browser that just started", "the second time"} {
		if err := chromedp.Do(b.Ctx, chromedp.Navigate("about:blank")); err != nil {
			t.Fatal(err)
		}
		b.Visit(t, p.url+"/")
		until(newest, "database")
		t.Logf("%s: ready %s ms after the request for the page", when, browsertest.Evaluate[string](t, b, "document.documentElement.dataset.ready"))
	}
	click(`li[data-id="10"] .name`, "")
	until(newest, "load")
	click(`li[data-id="10"] button`, "Read again")
	until(newest, "L1")
	click(`li[data-id="10"] button`, "Strong read")
	until(newest, "L2")
	click(`li[data-id="10"] button`, "Forget, then read 20 times at once")
	until(".traces .chip", "coalesced")
	until(`li[data-id="10"] .answer`, "L1")
	picture("page-todos")
	click(`li[data-id="10"] button`, "Edit")
	b.Until(t, "document.activeElement.classList.contains('edit-name')")
	browsertest.Evaluate[bool](t, b, "document.activeElement.value = 'Bake bread'; document.activeElement.form.requestSubmit(); true")
	until(newest, "write")

	click(`li[data-id="10"] a`, "Where is it cached?")
	until(".verdict h2", "The cache has what the database has")
	click("button", "Watch it live")
	until("[role=status]", "Watching what happens")
	if r, err := http.Get(p.url + "/todos/10"); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	until(".events li", "read")
	picture("page-key")
	click("button", "Drop it from the cache")
	until(".verdict h2", "It is not cached")

	// A story, and what the dashboard has of it.
	click("nav a", "Story")
	click("[data-story=burst]", "")
	until(".final.good", "1 load")
	names := browsertest.Evaluate[[]string](t, b, "[...document.querySelectorAll('[data-story]')].map((e) => e.dataset.story)")
	if got := strings.Join(names, " "); got != "burst behind storm redis-down restart" {
		t.Errorf("the stories are %s", got)
	}
	if images == "" { // all of them, and shorter
		browsertest.Evaluate[bool](t, b, `(() => { const real = fetch; window.fetch = (path, o) => real(path, path.startsWith("/story/") ? { ...o, body: '{"seconds":1}' } : o); return true })()`)
	}
	for _, name := range names[1:] {
		click("[data-story="+name+"]", "")
		busy := fmt.Sprintf("document.querySelector('[data-story=%s]').getAttribute('aria-disabled') === 'true'", name)
		b.Until(t, busy)
		for deadline := time.Now().Add(time.Minute); browsertest.Evaluate[bool](t, b, busy) && time.Now().Before(deadline); {
			time.Sleep(100 * time.Millisecond)
		}
		if outcome := browsertest.Evaluate[string](t, b, fmt.Sprintf("document.querySelector('[data-story=%s]').closest('.chapter').querySelector('.final.good')?.textContent ?? document.querySelector('[data-story=%s]').closest('.chapter').innerText", name, name)); outcome == "" || strings.Contains(outcome, "\n") {
			t.Errorf("%s ended so: %s", name, outcome)
		} else {
			t.Logf("%s: %s", name, outcome)
		}
		if name == "redis-down" {
			b.Show(t, "light", 1100, 620) // a larger picture has more than 150 kB
			browsertest.Evaluate[bool](t, b, "document.querySelector('[data-story=redis-down]').closest('.chapter').scrollIntoView() === undefined")
			picture("page-story")
		}
	}
	click("nav a", "Dashboard")
	until(".nodes tbody tr .state", "serving")
	until(".nodes tbody tr", "fed, lag")
	b.Until(t, "document.querySelectorAll('figure:not([hidden]) canvas').length >= 13")
	if images != "" {
		browsertest.Evaluate[bool](t, b, "(() => { const e = document.querySelector('#window'); e.value = '60'; e.dispatchEvent(new Event('change')); return true })()")
		b.Show(t, "dark", 1180, 1000)
		b.Until(t, "document.querySelector('[data-chart=redis] canvas')?.clientWidth > 200")
		picture("page-dashboard")
		b.Show(t, "light", 1180, 1000)
		picture("page-dashboard-light")
	}
	b.Quiet(t, p.url)
	if images != "" {
		report := filepath.Join(t.TempDir(), "report.html")
		if code := run([]string{"bench", "--url", p.url + "/todos", "--users", "20", "--duration", "10s", "--html", report}, io.Discard, os.Stderr); code != 0 {
			t.Fatalf("aside bench ended with %d", code)
		}
		b.Show(t, "light", 1180, 860)
		b.Visit(t, "file://"+report)
		picture("bench-report")
	}
	if err := chromedp.Do(b.Ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	p.signal(os.Interrupt)
	p.wantExit(0)
}
