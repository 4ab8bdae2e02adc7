package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// A page or batch is read in pieces, so that neither the answer nor what is read
// for it passes MaxPage by much, however large records are. How large they may
// be is judged by the largest of late: with records of usual size a page is one
// piece.

const (
	// recordBytes is what a record takes in JSON beside its texts, at most.
	recordBytes = 200
	// A piece is of so many records at most, and the first of so many at least:
	// a single giant must not make all pages slow.
	mostPiece, leastPiece = 100, 8
	// likelyRecord is what a record is taken to be before any was seen.
	likelyRecord = 8 << 10
)

// sizeOf is what t takes in JSON at most, in bytes.
func sizeOf(t *todo.Todo) int64 {
	n := recordBytes + jsonBytes(t.ID) + jsonBytes(t.Name)
	if t.Description != nil {
		n += jsonBytes(*t.Description)
	}
	return n
}

// jsonBytes is the same for a string.
func jsonBytes(s string) int64 {
	n := int64(0)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if i += size; r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
				size = len(`\u2028`)
			}
			n += int64(size)
			continue
		case c < ' ':
			n += int64(len(`\u0000`))
		case c == '"' || c == '\\':
			n += 2
		default:
			n++
		}
		i++
	}
	return n
}

// budget is the room that an answer has left for records.
type budget struct {
	left    int64
	largest int64 // of the records that were read
}

// piece is how many records to read next, of want.
func (b *budget) piece(want int) int {
	return int(min(int64(want), mostPiece, max(b.left/max(b.largest, recordBytes), 1)))
}

// take reports whether a record has room, or is the first.
func (b *budget) take(t *todo.Todo, first bool) bool {
	size := sizeOf(t)
	b.largest = max(b.largest, size)
	b.left -= size
	return first || b.left >= 0
}

// budget begins an answer of want records, of which the first piece is of n.
func (s *Server) budget(want int) (room budget, n int) {
	usual := budget{left: s.maxPage, largest: s.largest.Load()}
	return budget{left: s.maxPage}, min(want, max(usual.piece(want), leastPiece))
}

// seen remembers how large records are. What was large once is forgotten after
// some pages without.
func (s *Server) seen(largest int64) {
	before := s.largest.Load()
	s.largest.Store(max(largest, before-before/4))
}

// page is one page of at most limit records.
func (s *Server) page(ctx context.Context, after string, limit int) (todo.Page, error) {
	room, n := s.budget(limit)
	var page todo.Page
	for ; ; n = room.piece(limit - len(page.Todos) - len(page.Unreadable)) {
		piece, err := s.svc.List(ctx, after, n)
		if err != nil {
			return todo.Page{}, err
		}
		for i := range piece.Todos {
			if !room.take(&piece.Todos[i], len(page.Todos) == 0) {
				s.seen(room.largest)
				page.Next = page.Todos[len(page.Todos)-1].ID
				for _, u := range piece.Unreadable {
					if u.ID < page.Next {
						page.Unreadable = append(page.Unreadable, u)
					}
				}
				return page, nil
			}
			page.Todos = append(page.Todos, piece.Todos[i])
		}
		page.Unreadable = append(page.Unreadable, piece.Unreadable...)
		page.Next, after = piece.Next, piece.Next
		if piece.Next == "" || len(page.Todos)+len(page.Unreadable) >= limit {
			s.seen(room.largest)
			return page, nil
		}
	}
}

// many reads ids until their records fill the answer. rest are those that it has
// no room for.
func (s *Server) many(ctx context.Context, ids []string, level aside.Level) (found todo.FoundMany, rest []string, err error) {
	room, n := s.budget(len(ids))
	found.Results = make(map[string]aside.Result[todo.Todo], len(ids))
	records := 0
	for ; len(ids) > 0; n = room.piece(len(ids)) {
		piece, err := s.svc.GetMany(ctx, ids[:n], level)
		if err != nil {
			return found, nil, err
		}
		found.Bypassed = piece.Bypassed
		for i, id := range ids[:n] {
			r := piece.Results[id]
			if r.Err == nil {
				if !room.take(&r.Value, records == 0) {
					s.seen(room.largest)
					return found, ids[i:], nil
				}
				records++
			}
			found.Results[id] = r
		}
		ids = ids[n:]
	}
	s.seen(room.largest)
	return found, nil, nil
}

// begin takes a place among the pages and batches that are answered at one time;
// it is given back when the answer has been sent.
func (s *Server) begin(ex *exchange, r *http.Request) *Problem {
	if foreign(r) {
		return crossSite()
	}
	if !s.lists.take() {
		p := newProblem(http.StatusServiceUnavailable, "busy",
			fmt.Sprintf("This server answers %d pages and batches at one time, and is at it. Try again later.", s.lists.max))
		p.retryAfter = time.Second
		return p
	}
	ex.after = s.lists.give
	return nil
}
