package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// liveLine is the last line of a terminal, which shows the last second. Elsewhere it
// shows nothing.
type liveLine struct {
	mu    sync.Mutex
	w     io.Writer // nil: it shows nothing
	width func() int
	shown string // what is on the screen
}

func newLiveLine(out io.Writer) *liveLine {
	l := &liveLine{}
	if f := terminal(out); f != nil {
		l.w = f
		l.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	return l
}

const (
	liveEvery = time.Second
	clearLine = "\r\x1b[K"
)

// run shows a sample every second until ctx ends. The last one stays.
func (l *liveLine) run(ctx context.Context, sample func() dashboard.Sample) {
	if l.w == nil {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.show(liveText(sample()))
		case <-ctx.Done():
			l.mu.Lock()
			if l.shown != "" {
				fmt.Fprintln(l.w)
				l.shown = ""
			}
			l.mu.Unlock()
			return
		}
	}
}

func (l *liveLine) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if width := l.width(); width > 1 && len([]rune(text)) >= width {
		text = string([]rune(text)[:width-1]) // a line that wraps could not be cleared
	}
	l.shown = text
	fmt.Fprint(l.w, clearLine+text)
}

// liveText describes a second.
func liveText(s dashboard.Sample) string {
	if s.Requests == 0 && s.Degraded == "" {
		return "no requests in the last second"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests/s", s.Requests)
	if reads := s.L1 + s.L2 + s.Misses; reads > 0 {
		fmt.Fprintf(&b, "   L1 %.0f %%   L2 %.0f %%", 100*float64(s.L1)/float64(reads), 100*float64(s.L2)/float64(reads))
	}
	fmt.Fprintf(&b, "   loads %d/s   p99 %.1f ms", s.Loads, s.P99)
	if s.Errors > 0 {
		fmt.Fprintf(&b, "   errors %d/s", s.Errors)
	}
	if s.Degraded != "" {
		b.WriteString("   degraded: " + printable.Text(s.Degraded))
	}
	return b.String()
}

// handler returns h for a log that may be on the same terminal: the line makes room for
// each entry.
func (l *liveLine) handler(h slog.Handler) slog.Handler {
	if l.w == nil {
		return h
	}
	return lineHandler{h, l}
}

type lineHandler struct {
	slog.Handler
	line *liveLine
}

func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	if h.line.shown == "" {
		return h.Handler.Handle(ctx, r)
	}
	fmt.Fprint(h.line.w, clearLine)
	err := h.Handler.Handle(ctx, r)
	fmt.Fprint(h.line.w, h.line.shown)
	return err
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.line}
}

func (h lineHandler) WithGroup(name string) slog.Handler {
	return lineHandler{h.Handler.WithGroup(name), h.line}
}
