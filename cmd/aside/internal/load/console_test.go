package load_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/load"
)

func progress(seconds int, settled, done, total int64) load.Progress {
	return load.Progress{Settled: settled, Elapsed: time.Duration(seconds) * time.Second,
		Extent: load.Extent{Done: done, Total: total, Unit: load.Bytes}}
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	c := load.NewLines(&out, 5*time.Second)
	c.Progress(progress(0, 0, 0, 1000))
	c.Progress(progress(4, 400, 40, 1000))
	c.Println("skipped: something")
	c.Progress(progress(5, 500, 50, 1000))
	c.Progress(progress(9, 900, 90, 1000))
	c.Progress(progress(12, 1200, 250, 1000))
	c.Progress(progress(20, 2000, 300, 0))
	c.Close()
	want := `skipped: something
500 records, 5 %, 100/s, 1m35s left
1200 records, 25 %, 100/s, 36s left
2000 records, 100/s
`
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestBar checks the output of a bar, not its drawing: printed lines are complete, and the
// output ends with a newline.
func TestBar(t *testing.T) {
	for name, total := range map[string]int64{"known total": 1000, "unknown total": 0} {
		var out bytes.Buffer
		c := load.NewBar(&out)
		c.Progress(progress(0, 0, 0, total))
		c.Println("skipped: something")
		c.Progress(progress(4, 400, 500, total))
		c.Progress(progress(8, 800, 1000, total))
		c.Close()
		got := out.String()
		if !strings.Contains(got, "\rskipped: something\n") {
			t.Errorf("%s: the line is not alone: %q", name, got)
		}
		if total > 0 && !strings.Contains(got, "100%") {
			t.Errorf("%s: it does not reach 100%%: %q", name, got)
		}
		if !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: it does not end a line: %q", name, got)
		}
	}
}
