package browser

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/asidecache/aside/cmd/aside/internal/browsertest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// One tab serves all tests: to open one takes longer than each of them.
func TestPage(t *testing.T) {
	b := browsertest.Open(t)
	for _, one := range []struct {
		name string
		test func(*testing.T, *browsertest.Tab, *service)
	}{
		{"todos", testTodos}, {"conflict", testConflict}, {"deleted", testDeleted}, {"search", testSearch}, {"burst", testBurst}, {"failures", testFailures},
		{"dashboard", testDashboard}, {"stream", testStream}, {"key", testKey}, {"watch", testWatch}, {"token", testToken}, {"closed", testClosed},
		{"story", testStory}, {"waiting", testWaiting}, {"keyboard", testKeyboard}, {"policy", testPolicy}, {"look", testLook},
	} {
		t.Run(one.name, func(t *testing.T) {
			s := serve(t)
			b.Complaints()
			b.Asked()
			b.Show(t, "light", 1240, 900)
			one.test(t, b, s)
			if title := text(t, b, "document.title"); title == "harm" {
				t.Error("a text of a record ran as a script")
			}
			b.Quiet(t, s.URL)
			if err := chromedp.Do(b.Ctx, chromedp.Navigate("about:blank")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func text(t *testing.T, b *browsertest.Tab, expression string) string {
	t.Helper()
	return browsertest.Evaluate[string](t, b, expression)
}

// do runs statements.
func do(t *testing.T, b *browsertest.Tab, format string, args ...any) {
	t.Helper()
	browsertest.Evaluate[bool](t, b, "(() => {"+fmt.Sprintf(format, args...)+"; return true; })()")
}

// click clicks on what a selector finds; if that has several, on the one with the text.
func click(t *testing.T, b *browsertest.Tab, selector string, label ...string) {
	t.Helper()
	found := fmt.Sprintf("[...document.querySelectorAll(%q)].find((e) => e.checkVisibility() && (%q === '' || e.textContent.trim() === %q))", selector, strings.Join(label, ""), strings.Join(label, ""))
	b.Until(t, found)
	do(t, b, "const e = %s; e.focus(); e.click()", found)
}

// enter types a text into a field and submits its form, if it has one.
func enter(t *testing.T, b *browsertest.Tab, selector, value string) {
	t.Helper()
	b.Until(t, fmt.Sprintf("document.querySelector(%q)?.checkVisibility()", selector))
	do(t, b, "const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event('input', { bubbles: true }))", selector, value)
}

func submit(t *testing.T, b *browsertest.Tab, selector string) {
	t.Helper()
	do(t, b, "document.querySelector(%q).closest('form').requestSubmit()", selector)
}

// expect waits until an element has a text in it.
func expect(t *testing.T, b *browsertest.Tab, selector, part string) {
	t.Helper()
	b.Until(t, fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, part))
}

// told removes a message that the browser writes for every answer of a status that is an
// error, and fails the test if there was none.
func told(t *testing.T, b *browsertest.Tab, status int) {
	t.Helper()
	var others []string
	n := 0
	for _, c := range b.Complaints() {
		if strings.Contains(c, fmt.Sprintf("status of %d", status)) {
			n++
		} else {
			others = append(others, c)
		}
	}
	for _, c := range others {
		t.Errorf("the browser says %s", c)
	}
	if n == 0 {
		t.Errorf("the browser has seen no answer with status %d", status)
	}
}

const newest = ".traces li:first-child"

// A person clicks through the todos, and sees of each request how it was answered. Caught: a
// fetch mode with which the browser itself asked for a strong read; an ETag of the list's
// record; a trace of the browser's cache instead of the server's.
func testTodos(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	expect(t, b, newest, "database")
	expect(t, b, ".sentence", "lists always are")

	name := `li[data-id="10"] .name`
	click(t, b, name)
	expect(t, b, newest, "GET /todos/10")
	expect(t, b, newest+" .chip", "load")
	expect(t, b, `li[data-id="10"] .answer`, "load")
	click(t, b, `li[data-id="10"] button`, "Read again")
	expect(t, b, newest+" .chip", "L1")
	expect(t, b, ".sentence", "memory of this server")
	expect(t, b, newest, `ETag "v1-`)
	click(t, b, `li[data-id="10"] button`, "Strong read")
	expect(t, b, newest+" .chip", "strong")
	expect(t, b, newest+" .chip", "L2")

	// Edit in place.
	click(t, b, `li[data-id="10"] button`, "Edit")
	b.Until(t, "document.activeElement.className === 'edit-name'")
	enter(t, b, `li[data-id="10"] .edit-name`, hostile)
	submit(t, b, `li[data-id="10"] .edit-name`)
	expect(t, b, `li[data-id="10"] .name`, hostile)
	expect(t, b, newest+" .chip", "write")
	expect(t, b, newest, `ETag "v2-`)
	b.Until(t, "document.activeElement.textContent === 'Edit'")

	// Complete, without having opened it: the ETag is fetched first.
	click(t, b, `li[data-id="1"] input[type=checkbox]`)
	b.Until(t, `document.querySelector('li[data-id="1"]').classList.contains('done')`)
	expect(t, b, newest, "PATCH /todos/1")
	if got, err := s.store.Get(t.Context(), "1"); err != nil || !got.Completed || got.Version != 2 {
		t.Errorf("the store has %+v, %v", got, err)
	}

	// Create, with a fault first.
	click(t, b, "button", "New todo")
	enter(t, b, "#new-name", "made here")
	enter(t, b, "#new-description", "with a text")
	enter(t, b, "#new-id", "1")
	submit(t, b, "#new-name")
	expect(t, b, "#create [role=alert]", "already exists")
	told(t, b, 409)
	enter(t, b, "#new-id", "mine")
	submit(t, b, "#new-name")
	expect(t, b, `li[data-id="mine"] .name`, "made here")
	expect(t, b, newest+" .chip", "write")

	// Delete, after a question.
	click(t, b, `li[data-id="mine"] .name`)
	click(t, b, `li[data-id="mine"] button`, "Delete")
	click(t, b, `li[data-id="mine"] button`, "Keep")
	click(t, b, `li[data-id="mine"] button`, "Delete")
	click(t, b, `li[data-id="mine"] button.confirm`)
	b.Until(t, `!document.querySelector('li[data-id="mine"]')`)
	if _, err := s.store.Get(t.Context(), "mine"); err == nil {
		t.Error("it is still in the store")
	}

	// What does not exist is remembered too.
	enter(t, b, "#open-id", "mine")
	submit(t, b, "#open-id")
	expect(t, b, "[role=status]", "There is no todo mine.")
	expect(t, b, newest+" .chip", "negative")
	expect(t, b, ".sentence", "There is no such todo")
	told(t, b, 404)

	// Pages.
	if n := browsertest.Evaluate[int](t, b, "document.querySelectorAll('.todo').length"); n != 20 {
		t.Errorf("the page has %d todos", n)
	}
	click(t, b, "button", "Next")
	expect(t, b, ".pager", "Page 2")
	click(t, b, "button", "Next")
	expect(t, b, ".pager", "Page 3")
	b.Until(t, "document.querySelectorAll('.todo').length === 6") // 45 and hostile
	expect(t, b, `li[data-id="hostile"] .name`, hostile)
	click(t, b, "button", "Previous")
	expect(t, b, ".pager", "Page 2")
	// Twenty traces are kept, not more.
	browsertest.Evaluate[bool](t, b, `import("/page/todos.js").then((m) => Promise.all(Array.from({ length: 25 }, (_, i) => m.send("GET", "/todos/" + (i + 2))))).then(() => true)`)
	if n := browsertest.Evaluate[int](t, b, "document.querySelectorAll('.traces li').length"); n != 20 {
		t.Errorf("%d traces are shown", n)
	}
}

// change is the work of another user, on another server.
func (s *service) change(t *testing.T, id, name string, version int64) {
	t.Helper()
	text := "text of another"
	s.store.Put(todo.Todo{ID: id, Name: name, Description: &text, Version: version, CreatedAt: time.Now(), UpdatedAt: time.Now()})
	if err := s.cache.Invalidate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// Another user changes the record first: the page shows both versions, and lets the user
// choose. Caught: a change from the list, which has no ETags, that overwrote the other's.
func testConflict(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	click(t, b, `li[data-id="10"] .name`)
	expect(t, b, newest, "GET /todos/10")
	click(t, b, `li[data-id="10"] button`, "Edit")
	enter(t, b, `li[data-id="10"] .edit-name`, "mine")
	s.change(t, "10", "theirs "+hostile, 2)
	submit(t, b, `li[data-id="10"] .edit-name`)
	expect(t, b, ".conflict h2", "Somebody else changed this todo first")
	told(t, b, 412)
	expect(t, b, ".versions > div:nth-child(1) mark", "mine")
	expect(t, b, ".versions > div:nth-child(2) mark", "theirs "+hostile)
	expect(t, b, ".versions > div:nth-child(2) mark", "text of another")
	expect(t, b, ".versions > div:nth-child(2)", "version 2")
	expect(t, b, ".traces", "conflict")
	// Keep the stored one.
	click(t, b, "button.theirs")
	expect(t, b, `li[data-id="10"] .name`, "theirs")
	if got, _ := s.store.Get(t.Context(), "10"); got.Version != 2 {
		t.Errorf("the store has %+v", got)
	}
	// Again, and save mine over it: my field only.
	click(t, b, `li[data-id="10"] button`, "Edit")
	enter(t, b, `li[data-id="10"] .edit-name`, "mine again")
	s.change(t, "10", "theirs again", 3)
	submit(t, b, `li[data-id="10"] .edit-name`)
	click(t, b, "button.mine")
	expect(t, b, `li[data-id="10"] .name`, "mine again")
	told(t, b, 412)
	if got, _ := s.store.Get(t.Context(), "10"); got.Version != 4 || got.Name != "mine again" || *got.Description != "text of another" {
		t.Errorf("the store has %+v", got)
	}
	// From the list, which is older than the store.
	s.change(t, "11", "changed since", 2)
	click(t, b, `li[data-id="11"] input[type=checkbox]`)
	expect(t, b, ".conflict", "based on version 1")
	expect(t, b, ".versions > div:nth-child(1) mark", "yes")
	click(t, b, "button.theirs")
	expect(t, b, `li[data-id="11"] .name`, "changed since")
	// Deleting is refused as well.
	click(t, b, `li[data-id="12"] .name`)
	expect(t, b, newest, "GET /todos/12")
	s.change(t, "12", "still wanted", 2)
	click(t, b, `li[data-id="12"] button`, "Delete")
	click(t, b, `li[data-id="12"] button.confirm`)
	expect(t, b, ".conflict .versions", "Delete it.")
	told(t, b, 412)
	click(t, b, "button.mine")
	b.Until(t, `!document.querySelector('li[data-id="12"]')`)
}

// Another user deletes the record first.
func testDeleted(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	for _, id := range []string{"10", "11"} {
		click(t, b, `li[data-id="`+id+`"] .name`)
		expect(t, b, newest, "GET /todos/"+id)
		if err := s.store.Delete(t.Context(), id, func(todo.Todo) error { return nil }); err != nil {
			t.Fatal(err)
		}
		click(t, b, `li[data-id="`+id+`"] button`, "Edit")
		enter(t, b, `li[data-id="`+id+`"] .edit-name`, "changed")
		submit(t, b, `li[data-id="`+id+`"] .edit-name`)
		expect(t, b, ".conflict h2", "Somebody else deleted this todo")
		told(t, b, 404)
		if id == "10" {
			click(t, b, "button.mine")
			expect(t, b, `li[data-id="10"] .name`, "changed")
			if got, err := s.store.Get(t.Context(), "10"); err != nil || got.Name != "changed" || *got.Description != "Text of 10" {
				t.Errorf("the store has %+v, %v", got, err)
			}
			continue
		}
		click(t, b, "button", "Remove it from the list")
		b.Until(t, `!document.querySelector('li[data-id="11"]')`)
	}
}

// The search reads page after page, and says of how many records it speaks.
func testSearch(t *testing.T, b *browsertest.Tab, s *service) {
	for i := range 2500 {
		s.store.Put(todo.Todo{ID: fmt.Sprintf("b%04d", i), Name: fmt.Sprintf("bulk %d", i), Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now()})
	}
	b.Visit(t, s.URL+"/")
	enter(t, b, "#search", "NUMBER 4 todo")
	expect(t, b, "[role=status]", "10 matches among 2,000 todos so far.") // 4, 14, 24, 34, 40 to 45
	click(t, b, "button", "Search on")
	expect(t, b, "[role=status]", "10 matches among 2,546 todos.")
	b.Until(t, "document.querySelectorAll('.todo').length === 10")
	expect(t, b, ".traces code", "/todos ×")
	enter(t, b, "#search", "bulk")
	expect(t, b, "[role=status]", "matches among")
	b.Until(t, "document.querySelectorAll('.todo').length === 100")
	enter(t, b, "#search", "<img")
	click(t, b, "button", "Search on")
	expect(t, b, ".todo .name", hostile)
	enter(t, b, "#search", "")
	expect(t, b, ".pager", "Page 1")
	b.Until(t, "document.querySelectorAll('.todo').length === 20")
}

// Twenty requests for a record that was dropped: one load, the others share it or hit.
func testBurst(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	click(t, b, `li[data-id="10"] .name`)
	expect(t, b, newest, "GET /todos/10")
	loads := func() int { return s.store.Calls("get") + s.store.Calls("get_many") }
	before := loads()
	click(t, b, `li[data-id="10"] button`, "Forget, then read 20 times at once")
	b.Until(t, `[...document.querySelectorAll(".traces li")].filter((e) => e.textContent.includes("/todos/10")).map((e) => Number(/×(\d+)/.exec(e.textContent)?.[1] ?? 1)).reduce((a, b) => a + b) === 21`)
	if n := loads() - before; n != 1 {
		t.Errorf("%d loads", n)
	}
}

// Faults of the server are told in words, and the page stays usable.
func testFailures(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	expect(t, b, newest, "database")
	s.store.FailWith(todo.ErrUnavailable)
	click(t, b, `li[data-id="13"] .name`)
	expect(t, b, `li[data-id="13"] [role=alert]`, "The store is unreachable.")
	expect(t, b, newest+" .chip", "failed")
	click(t, b, `li[data-id="14"] input[type=checkbox]`)
	expect(t, b, `li[data-id="14"] [role=alert]`, "The store is unreachable.")
	b.Until(t, `!document.querySelector('li[data-id="14"] input').checked`)
	click(t, b, "button", "Next")
	expect(t, b, ".todos-status", "The store is unreachable.")
	s.store.FailWith(nil)
	told(t, b, 503)
	click(t, b, "button", "Previous")
	expect(t, b, ".pager", "Page 1")
	b.Until(t, "document.querySelectorAll('.todo').length === 20")
}

// The charts have fifteen minutes at once, and go on each second. Caught: a chart of zero
// width, since it was drawn while the view was hidden.
func testDashboard(t *testing.T, b *browsertest.Tab, s *service) {
	s.nodes = 3
	b.Visit(t, s.URL+"/#/dashboard")
	b.Until(t, "document.querySelectorAll('.nodes tbody tr').length === 3")
	expect(t, b, ".nodes tbody tr:first-child", "(this one)")
	expect(t, b, ".nodes tbody tr:first-child .state", "serving")
	expect(t, b, ".nodes tbody tr:first-child", "fed, lag")
	expect(t, b, ".nodes tbody tr:first-child", "1 h 2 min")
	// Other nodes have a link to their page, if they have announced an address and not a script.
	b.Until(t, "document.querySelector('.nodes tbody tr:nth-child(2) a')?.href === 'http://127.0.0.1:8000/'")
	if n := browsertest.Evaluate[int](t, b, "document.querySelectorAll('.nodes a').length"); n != 1 {
		t.Errorf("%d nodes have a link", n)
	}
	charts := browsertest.Evaluate[int](t, b, "document.querySelectorAll('figure:not([hidden]) canvas').length")
	if charts != 15 {
		t.Errorf("%d charts are drawn", charts)
	}
	if empty := browsertest.Evaluate[[]string](t, b, `[...document.querySelectorAll("figure:not([hidden])")].filter((f) => {
		const c = f.querySelector("canvas");
		if (!c || c.clientWidth < 200) return true;
		const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		let drawn = 0; // pixels that are not gray
		for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 60 && Math.abs(data[i] - data[i + 2]) > 30) drawn++;
		return drawn < 50;
	}).map((f) => f.dataset.chart)`); len(empty) > 0 {
		t.Errorf("these charts are empty: %v", empty)
	}
	requests := `document.querySelector("[data-chart=requests] .numbers b").textContent`
	// Three nodes together have about 2,700 requests each second, one about 900.
	b.Until(t, "Number("+requests+".replace(',', '')) > 1800")
	do(t, b, "const e = document.querySelector('#node'); e.value = 'node-2'; e.dispatchEvent(new Event('change'))")
	b.Until(t, "Number("+requests+".replace(',', '')) < 1200")
	do(t, b, "const e = document.querySelector('#window'); e.value = '60'; e.dispatchEvent(new Event('change'))")
	before := text(t, b, requests)
	b.Until(t, requests+" !== "+fmt.Sprintf("%q", before)) // a new second
	expect(t, b, "[data-chart=requests] [aria-label]", "")
	if label := text(t, b, "document.querySelector('[data-chart=requests] [role=img]').getAttribute('aria-label')"); !strings.Contains(label, "requests: now") || !strings.Contains(label, "highest") {
		t.Errorf("the chart says of itself %q", label)
	}
	// Trouble stands in words.
	s.set(func() {
		s.trouble = map[string]any{"degraded": "Redis does not answer: " + hostile, "breaker": "open", "errors": 3, "feed": "not fed", "feed_reason": "it is behind"}
	})
	expect(t, b, ".nodes .state.bad", "degraded: Redis does not answer: "+hostile)
	expect(t, b, ".nodes tbody tr:first-child", "open")
	expect(t, b, ".tile.bad", "errors/s")
	s.set(func() { s.trouble = map[string]any{"feed": "not fed", "feed_reason": "it is behind"} })
	expect(t, b, ".nodes .state.warn", "not fed: it is behind")
	s.set(func() { s.trouble = map[string]any{"feed": "off", "breaker": "none"} })
	b.Until(t, "document.querySelector('[data-chart=feed-lag]').hidden")
	s.set(func() { s.trouble = nil })
	b.Until(t, "document.querySelector('[data-chart=feed-lag] canvas')?.clientWidth > 200")
}

// The stream is open only while a view shows it, a refusal is told, and it comes back.
func testStream(t *testing.T, b *browsertest.Tab, s *service) {
	s.refuse = http.StatusServiceUnavailable
	b.Visit(t, s.URL+"/#/todos")
	expect(t, b, newest, "database")
	for _, u := range b.Asked() {
		if strings.Contains(u, "/page/events") {
			t.Errorf("the todos ask for %s", u)
		}
	}
	click(t, b, "nav a", "Dashboard")
	expect(t, b, ".banner", "already sends 32 such streams")
	s.set(func() { s.refuse = 0 })
	b.Until(t, "document.querySelector('.nodes .state.good') && document.querySelector('main .banner').hidden")
	told(t, b, 503)
}

const entryOf = `{"kind":"value","value":{"id":"7","name":%[1]s,"description":null,"completed":false,"version":%[2]d},"error":"","version":%[2]d,"stored":"2026-11-28T18:00:00Z","age_ms":61000,"left_ms":239000,"stale":false,"tags":["created:2026-11-29"],"schema":"1","codec":"json","format":"1","size":171,"node":"0123456789ab","node_name":"node-1","writers":null}`

// inspected is an answer of /ops/inspect for key 7.
func inspected(verdict, explain, l1, l2 string, version int) string {
	return fmt.Sprintf(`{"key":"7","l2_key":"aside:todos:1:7","l1":%s,"l2":%s,"l2_error":"","primary":{"found":true,"record":{"id":"7","name":%s,"description":null,"completed":false,"version":%d},"version":%d,"took_ms":1.2,"error":""},"verdict":%q,"explain":%q}`,
		l1, l2, quoted(hostile), version, version, verdict, explain)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// The key shows both tiers and the database beside each other, with a verdict.
func testKey(t *testing.T, b *browsertest.Tab, s *service) {
	now := fmt.Sprintf(entryOf, quoted(hostile), 3)
	old := fmt.Sprintf(entryOf, quoted("an older name"), 2)
	fence := `{"kind":"fence","value":null,"error":"","version":0,"stored":"0001-01-01T00:00:00Z","age_ms":0,"left_ms":8000,"stale":false,"schema":"","codec":"","format":"2","size":60,"node":"","node_name":"","writers":[{"node":"aaaaaaaaaaaa","node_name":"node-2","left_ms":8000},{"node":"bbbbbbbbbbbb","node_name":"","left_ms":2000}]}`
	lease := `{"kind":"lease","value":null,"error":"","version":0,"stored":"0001-01-01T00:00:00Z","age_ms":0,"left_ms":900,"stale":false,"schema":"","codec":"","format":"1","size":17,"node":"aaaaaaaaaaaa","node_name":"node-2","writers":null}`
	for verdict, c := range map[string]struct{ l1, l2, heading, has string }{
		"same":          {now, now, "The cache has what the database has", "Value (as in the database)"},
		"older":         {old, now, "The cache is older than the database", "an older name"},
		"newer":         {now, "null", "The cache is newer", "Nothing."},
		"being-written": {"null", fence, "It is being written", "node node bbbbbbbbbbbb, holds for 2 s"},
		"being-loaded":  {"null", lease, "It is being loaded", "node-2"},
		"not-cached":    {"null", "null", "It is not cached", "Nothing."},
		"unknown":       {"null", "null", "It cannot be told", "Nothing."},
	} {
		s.set(func() { s.entries[verdict] = inspected(verdict, "Because "+hostile, c.l1, c.l2, 3) })
		b.Visit(t, s.URL+"/#/key/"+verdict)
		expect(t, b, ".verdict h2", c.heading)
		expect(t, b, ".verdict p", "Because "+hostile)
		if verdict == "being-written" {
			expect(t, b, ".places li", "node-2, holds for 8 s")
			expect(t, b, ".places li", "node bbbbbbbbbbbb, holds for 2 s")
		} else {
			expect(t, b, ".places", c.has)
		}
		if verdict == "same" {
			for _, fact := range []string{"1 min 1 s", "3 min 59 s", "171 B", "json", "node-1", "1.2 ms", "<img src=/x onerror"} {
				expect(t, b, ".places", fact)
			}
		}
		if verdict == "older" {
			expect(t, b, ".places mark", "an older name")
		}
	}
	// From the form, and then each button.
	b.Visit(t, s.URL+"/#/key")
	enter(t, b, "#key-id", "a/b?c")
	submit(t, b, "#key-id")
	expect(t, b, ".verdict h2", "There is no such record")
	if hash := text(t, b, "location.hash"); hash != "#/key/a%2Fb%3Fc" {
		t.Errorf("the address has %s", hash)
	}
	s.set(func() { s.entries["7"] = inspected("same", "As it is.", now, now, 3) })
	enter(t, b, "#key-id", "7")
	submit(t, b, "#key-id")
	expect(t, b, ".verdict h2", "The cache has what the database has")
	expect(t, b, ".facts", "created:2026-11-29") // its tag
	click(t, b, "button", "Strong read")
	expect(t, b, ".said", "Strong read: version 1, from the database in")
	click(t, b, "button", "Drop it from the cache")
	expect(t, b, ".said", "Dropped from this node")
	s.set(func() { s.entries["7"] = inspected("not-cached", "It was dropped.", "null", "null", 3) })
	click(t, b, "button", "Look again")
	expect(t, b, ".verdict h2", "It is not cached")
	s.set(func() { s.alone = true })
	click(t, b, "button", "Drop it from the cache")
	expect(t, b, ".said", "Dropped on this server alone.")
	s.set(func() { s.alone = false })
	b.Complaints() // of the 503
	// From the todo's row.
	b.Visit(t, s.URL+"/#/todos")
	click(t, b, `li[data-id="10"] .name`)
	click(t, b, `li[data-id="10"] a`, "Where is it cached?")
	expect(t, b, "h1", "Key")
	expect(t, b, ".verdict h2", "There is no such record")
}

// The events of a key come as they happen, until the user stops that.
func testWatch(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/#/key/7")
	click(t, b, "button", "Watch it live")
	expect(t, b, "[role=status]", "Watching what happens")
	s.watched <- `{"t":1764354000000,"kind":"load","text":"load: loaded from the database","missed":2,"took_ms":4.2,"version":3,"error":"","source":"load"}`
	s.watched <- `{"t":1764354001000,"kind":"fence","text":` + quoted(hostile) + `,"took_ms":0,"version":0,"error":"refused","source":""}`
	expect(t, b, ".events li:nth-child(2)", "load loaded from the database · 2 before it left out · 4.2 ms · version 3")
	expect(t, b, ".events li:nth-child(1)", hostile+" · refused")
	click(t, b, "button", "Stop watching")
	expect(t, b, "[role=status]", "Stopped.")
	expect(t, b, "button", "Watch it live")
}

// With a token the operators' calls work after it was entered, and the story says where it is.
func testToken(t *testing.T, b *browsertest.Tab, s *service) {
	s.config["ops"], s.config["story"] = "token", false
	b.Visit(t, s.URL+"/#/key/7")
	expect(t, b, "[role=alert]", "Enter the operators' token.")
	told(t, b, 401)
	enter(t, b, "#token", "secret")
	submit(t, b, "#token")
	expect(t, b, ".verdict h2", "There is no such record")
	click(t, b, "button", "Watch it live")
	expect(t, b, "[role=status]", "Watching what happens")
	b.Visit(t, s.URL+"/#/story")
	expect(t, b, "main", "The story runs in aside demo only")
}

// Without access the key says how to get it.
func testClosed(t *testing.T, b *browsertest.Tab, s *service) {
	s.config["ops"] = "none"
	b.Visit(t, s.URL+"/#/key/7")
	expect(t, b, "main", "aside inspect ID --admin URL")
	b.Visit(t, s.URL+"/#/todos")
	click(t, b, `li[data-id="10"] .name`)
	expect(t, b, newest, "GET /todos/10")
	if strings.Contains(text(t, b, "document.body.textContent"), "Forget, then read") {
		t.Error("a button needs what nobody may do")
	}
}

// Each chapter can be run; what happens and how it ended is told.
func testStory(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/#/story")
	click(t, b, "[data-story=burst]")
	expect(t, b, ".final", "100 requests, 1 load")
	expect(t, b, ".steps li.bad", "<b>none</b> failed")
	expect(t, b, ".steps li.good", "All were answered.")
	expect(t, b, ".outcome dd", "99")
	click(t, b, "[data-story=broken]")
	expect(t, b, ".outcome .bad", "An internal error occurred.")
	told(t, b, 500)
	if !browsertest.Evaluate[bool](t, b, "document.querySelector('[data-story=redis-down]').disabled") {
		t.Error("a chapter that is not available can be run")
	}
	expect(t, b, ".chapter", "Not here: this demo has no Redis")
	b.Until(t, "document.querySelectorAll('figure canvas').length === 3")
}

// While the server waits for its database it has no page; one that is open says so, and
// begins when it can.
func testWaiting(t *testing.T, b *browsertest.Tab, s *service) {
	config := s.config
	s.config = nil
	if err := chromedp.Do(b.Ctx, chromedp.Navigate(s.URL+"/")); err != nil {
		t.Fatal(err)
	}
	expect(t, b, "#banner", "it waits for its database")
	s.set(func() { s.config = config })
	expect(t, b, "h1", "Todos")
	told(t, b, 404)
	b.Until(t, "document.querySelector('#banner').hidden")
}

// Everything can be done with the keyboard, and the focus is never lost. Caught: an answer
// that came while the user typed, made the form anew, and threw away what was typed.
func testKeyboard(t *testing.T, b *browsertest.Tab, s *service) {
	press := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			if err := chromedp.Do(b.Ctx, chromedp.KeyEvent(k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	focus := func(want string) {
		t.Helper()
		b.Until(t, fmt.Sprintf("[document.activeElement.id, document.activeElement.className].includes(%q)", want))
	}
	b.Visit(t, s.URL+"/")
	expect(t, b, newest, "database")
	press(kb.Tab)
	focus("skip")
	press(kb.Enter)
	b.Until(t, "document.activeElement.tagName === 'H1'")
	press(kb.Tab)
	focus("search")
	press(kb.Tab, kb.Tab, kb.Tab)
	focus("main") // the button "New todo"
	press(kb.Enter)
	focus("new-name")
	press(kb.Escape)
	b.Until(t, "document.activeElement.textContent === 'New todo' && document.querySelector('#create').hidden")
	press(kb.Tab, " ")
	b.Until(t, "document.querySelector('.todo').classList.contains('done')")
	press(kb.Tab, kb.Enter)
	b.Until(t, "document.querySelector('.todo .body').checkVisibility() && document.activeElement.className === 'name'")
	press(kb.Tab, kb.Tab)
	expect(t, b, newest, "GET /todos/1")
	press(kb.Enter) // strong read
	expect(t, b, newest, "strong")
	b.Until(t, "document.activeElement.textContent === 'Strong read'")
	press(kb.Tab) // forget, then read 20 times at once
	press(kb.Tab)
	focus("edit")
	press(kb.Enter)
	focus("edit-name")
	press(kb.Escape)
	focus("edit")
	press(kb.Enter)
	focus("edit-name")
	press("!", kb.Enter)
	b.Until(t, "document.querySelector('.todo .name').textContent.includes('!')")
	focus("edit")
	press(kb.Tab, kb.Enter)
	b.Until(t, "document.activeElement.classList.contains('confirm')")
	press(kb.Tab, kb.Enter)
	focus("edit")
	// A view that the user has chosen has the focus at its heading.
	click(t, b, "nav a", "Key")
	b.Until(t, "document.activeElement.textContent === 'Key' && document.activeElement.tagName === 'H1' && document.title === 'Key · aside'")
	b.Until(t, "document.querySelector('nav [aria-current=page]').textContent === 'Key'")
}

// The browser enforces the policy: no script and no HTML from a text, and no other server.
func testPolicy(t *testing.T, b *browsertest.Tab, s *service) {
	b.Visit(t, s.URL+"/")
	expect(t, b, newest, "database")
	for _, attempt := range []string{
		"document.body.innerHTML = '<b>x</b>'",
		"document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
		"document.createElement('script').textContent = '1'",
		"document.createElement('a').setAttribute('onclick', '1')",
		"trustedTypes.createPolicy('mine', { createHTML: (s) => s })",
	} {
		if refused := browsertest.Evaluate[bool](t, b, "(() => { try { "+attempt+"; return false } catch { return true } })()"); !refused {
			t.Errorf("the policy allows %s", attempt)
		}
	}
	do(t, b, `window.violated = []; document.addEventListener("securitypolicyviolation", (e) => violated.push(e.effectiveDirective));
		const i = document.createElement("img"); i.src = "http://127.0.0.1:1/x.png"; document.body.append(i);
		const l = document.createElement("p"); l.setAttribute("style", "color: red"); document.body.append(l);
		fetch("http://127.0.0.1:1/").catch(() => {})`)
	b.Until(t, `["img-src", "style-src-attr", "connect-src"].every((d) => violated.includes(d))`)
	b.Complaints() // of the violations
	b.Asked()      // and what was asked for, and refused
	b.Visit(t, s.URL+"/")
}

// Each view at two widths, in light and dark: nothing is wider than the window, and axe
// finds no fault. Caught: a contrast of 4.2 to 1; a scrollable region that the keyboard did
// not reach; a list with other children than items.
func testLook(t *testing.T, b *browsertest.Tab, s *service) {
	s.nodes = 3
	s.entries["7"] = inspected("older", "The entry in L1 has version 2, the database has version 3.", fmt.Sprintf(entryOf, quoted("Buy milk"), 2), fmt.Sprintf(entryOf, quoted("Buy oat milk"), 3), 3)
	b.Visit(t, s.URL+"/")
	type view struct {
		name  string
		reach func()
	}
	views := []view{
		{"todos", func() {
			click(t, b, `li[data-id="1"] .name`)
			expect(t, b, `li[data-id="1"] .answer`, "load")
			for _, label := range []string{"Read again", "Strong read"} {
				click(t, b, `li[data-id="1"] button`, label)
			}
			expect(t, b, newest, "strong")
		}},
		{"todos-forms", func() {
			click(t, b, "button", "New todo")
			click(t, b, `li[data-id="10"] .name`)
			click(t, b, `li[data-id="10"] button`, "Edit")
			s.change(t, "11", "Changed by somebody else", 2)
			click(t, b, `li[data-id="11"] input`)
			expect(t, b, ".conflict", "based on version 1")
		}},
		{"dashboard", func() { b.Until(t, "document.querySelectorAll('.nodes tbody tr').length === 3") }},
		{"key", func() {
			enter(t, b, "#key-id", "7")
			submit(t, b, "#key-id")
			expect(t, b, ".verdict h2", "older")
		}},
		{"story", func() {
			click(t, b, "[data-story=burst]")
			expect(t, b, ".final", "1 load")
		}},
	}
	axe := loadAxe(t)
	browsertest.Evaluate[bool](t, b, axe+"; true")
	for _, v := range views {
		if view, _, _ := strings.Cut(v.name, "-"); view != v.name || view == "todos" {
			do(t, b, "location.hash = '#/%s'", view)
		} else {
			click(t, b, fmt.Sprintf(`nav a[href="#/%s"]`, v.name))
		}
		v.reach()
		for _, width := range []int64{1240, 400} {
			for _, scheme := range []string{"light", "dark"} {
				b.Show(t, scheme, width, 900)
				name := fmt.Sprintf("%s-%s-%d", v.name, scheme, width)
				if wide := browsertest.Evaluate[[]string](t, b, `[...document.querySelectorAll("body, body *")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, pre, .skip"))
					.map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 30))`); len(wide) > 0 {
					t.Errorf("%s: wider than the window: %q", name, wide)
				}
				b.Picture(t, "page-"+name)
				if width == 400 && scheme == "dark" {
					continue // the width changes no color
				}
				options := `{ resultTypes: ["violations"] }`
				if scheme == "dark" {
					options = `{ resultTypes: ["violations"], runOnly: ["color-contrast"] }`
				}
				for _, fault := range browsertest.Evaluate[[]string](t, b, "axe.run(document, "+options+`).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary)))`) {
					t.Errorf("%s: %s", name, fault)
				}
			}
		}
		b.Show(t, "light", 1240, 900)
	}
}

// loadAxe returns axe-core, which finds faults of accessibility.
func loadAxe(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	source, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}
