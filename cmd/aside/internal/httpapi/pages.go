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

// A page or batch is read in pieces. So neither the response nor the records read for it
// are much larger than MaxPage, even if records are large. The size of a piece depends
// on the largest recent record. With records of usual size, a page is one piece.

const (
	// recordBytes is the maximum size of a record in JSON without its texts.
	recordBytes = 200
	// The maximum number of records in a piece, and the minimum in the first one: a
	// single large record must not make all pages slow.
	mostPiece, leastPiece = 100, 8
	// likelyRecord is the assumed size of a record before the first was read.
	likelyRecord = 8 << 10
)

// sizeOf returns the maximum size of t in JSON, in bytes.
func sizeOf(t *todo.Todo) int64 {
	n := recordBytes + jsonBytes(t.ID) + jsonBytes(t.Name)
	if t.Description != nil {
		n += jsonBytes(*t.Description)
	}
	return n
}

// jsonBytes returns the maximum size of a string in JSON, in bytes.
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

// budget is the space that a response has left for records.
type budget struct {
	left    int64
	largest int64 // of the records that were read
}

// piece returns how many of want records to read next.
func (b *budget) piece(want int) int {
	return int(min(int64(want), mostPiece, max(b.left/max(b.largest, recordBytes), 1)))
}

// take reports whether a record fits, or is the first.
func (b *budget) take(t *todo.Todo, first bool) bool {
	size := sizeOf(t)
	b.largest = max(b.largest, size)
	b.left -= size
	return first || b.left >= 0
}

// budget begins a response of want records. The first piece has n records.
func (s *Server) budget(want int) (room budget, n int) {
	usual := budget{left: s.maxPage, largest: s.largest.Load()}
	return budget{left: s.maxPage}, min(want, max(usual.piece(want), leastPiece))
}

// seen records the size of the largest record. It forgets a large size after some pages
// without large records.
func (s *Server) seen(largest int64) {
	before := s.largest.Load()
	s.largest.Store(max(largest, before-before/4))
}

// page reads one page of at most limit records.
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

// many reads ids until their records fill the response. rest are the ids that do not fit.
func (s *Server) many(ctx context.Context, ids []string, level aside.Mode) (found todo.FoundMany, rest []string, err error) {
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

// begin takes a slot for a page or batch. The slot is released when the response has been
// sent.
func (s *Server) begin(ex *exchange, r *http.Request) *Problem {
	if foreign(r) {
		return crossSite()
	}
	if !s.lists.take() {
		p := newProblem(http.StatusServiceUnavailable, "busy",
			fmt.Sprintf("This server already answers %d pages and batches, which is its maximum. Try again later.", s.lists.max))
		p.retryAfter = time.Second
		return p
	}
	ex.after = s.lists.give
	return nil
}
