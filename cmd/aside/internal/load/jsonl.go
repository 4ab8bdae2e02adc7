package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/loose"
)

// MaxLine is the longest line of a JSON-lines file, or element of an array, in
// bytes.
const MaxLine = 16 << 20

// JSONLines reads one JSON object a line, as the API or mongoexport writes it, or
// an array of objects (mongoexport --jsonArray), or objects of several lines each
// (mongoexport --pretty); plain or compressed with gzip. Blank lines count and are
// skipped.
type JSONLines struct {
	in    *bufio.Reader
	count *countingReader
	total int64
	form  form
	n     int64 // lines, or elements, begun
	buf   []byte
	extra extra
	odd   odds
}

// form is how the objects stand in the file.
type form uint8

const (
	oneALine form = iota
	inArray
	overLines // one after the other, with new lines in them
)

// OpenJSONLines reads in, which has size bytes (0 if that is not known).
func OpenJSONLines(in io.Reader, size int64) (*JSONLines, error) {
	count := &countingReader{in: in}
	plain, err := mongodump.Decompress(count)
	if err != nil {
		return nil, fmt.Errorf("cannot read the JSON lines: %w", err)
	}
	r := bufio.NewReaderSize(plain, 256<<10)
	if bom, err := r.Peek(3); err == nil && string(bom) == "\ufeff" {
		_, _ = r.Discard(3)
	}
	return &JSONLines{in: r, count: count, total: size, form: formOf(r), extra: extra{}}, nil
}

// formOf looks as far as the first line's second character that is no space.
func formOf(r *bufio.Reader) form {
	begun := false
	for i := 1; i < r.Size(); i++ {
		b, err := r.Peek(i)
		if err != nil {
			return oneALine
		}
		switch c := b[i-1]; {
		case c == '[' && !begun:
			return inArray
		case c == '{' && !begun:
			begun = true
		case c == '\n' && begun:
			return overLines
		case !isSpace(c):
			return oneALine
		}
	}
	return oneALine
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Extent counts bytes of the file.
func (j *JSONLines) Extent() Extent { return Extent{Done: j.count.n, Total: j.total, Unit: Bytes} }

// Extra counts fields that a Todo does not have, _id aside; no store keeps them.
func (j *JSONLines) Extra() map[string]int64 { return j.extra }

// Odd are the fields that were read otherwise than they are written.
func (j *JSONLines) Odd() []Odd { return j.odd }

// Next returns the next object's record.
func (j *JSONLines) Next() (todo.Record, error) {
	unit, read := "line", j.readLine
	if j.form != oneALine {
		unit, read = "element", j.readElement
	}
	for {
		text, tooLong, err := read()
		if err != nil {
			return todo.Record{}, err
		}
		r := reading{Fault: Fault{Unit: unit, At: j.n}}
		if tooLong {
			r.add("", "is longer than %d bytes", MaxLine)
			return todo.Record{}, &r.Fault
		}
		if len(text) == 0 {
			continue
		}
		t, err := decodeJSON(text, &r, j.extra, &j.odd)
		if err != nil {
			return todo.Record{}, err
		}
		return todo.Record{Todo: t}, nil
	}
}

// readLine returns the next line without white space around it. Of a line that
// is too long it keeps nothing, and reads on to its end.
func (j *JSONLines) readLine() (line []byte, tooLong bool, err error) {
	j.buf = j.buf[:0]
	j.n++
	for n := 0; ; {
		part, err := j.in.ReadSlice('\n')
		n += len(part)
		if n <= MaxLine {
			j.buf = append(j.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && n > 0: // the last line need not end in a newline
		case err == io.EOF:
			return nil, false, err
		case err != nil:
			return nil, false, fmt.Errorf("cannot read line %d: %w", j.n, err)
		}
		if n > MaxLine {
			return nil, true, nil
		}
		return bytes.TrimSpace(j.buf), false, nil
	}
}

// readElement returns the next element of the array, or the next object. Of one
// that is too long it keeps nothing. An array whose structure is broken has no
// next element, so that error is final.
func (j *JSONLines) readElement() (text []byte, tooLong bool, err error) {
	c, err := j.readByte(true)
	switch {
	case j.form == inArray && j.n == 0 && err == nil: // the bracket
		if c, err = j.readByte(true); err == nil && c == ']' {
			return nil, false, j.endOfArray()
		}
	case j.form == inArray && err == nil && c == ']':
		return nil, false, j.endOfArray()
	case j.form == inArray && err == nil && c == ',':
		c, err = j.readByte(true)
	case j.form == inArray && err == nil:
		return nil, false, fmt.Errorf("the JSON is broken: want , or ] after element %d, got %q", j.n, c)
	case err == io.EOF && j.form == overLines:
		return nil, false, io.EOF
	}
	j.n++
	j.buf = j.buf[:0]
	n, depth, quoted, escaped := 0, 0, false, false
	for ; err == nil; c, err = j.readByte(false) {
		end := false
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
			end = !quoted && depth == 0
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
			end = depth == 0
		case depth == 0 && (isSpace(c) || c == ',' || c == ']'):
			// A number, or a word, or nothing at all.
			if err := j.in.UnreadByte(); err != nil {
				return nil, false, err
			}
			if n == 0 {
				return nil, false, fmt.Errorf("the JSON is broken: there is no element %d, but %q", j.n, c)
			}
			return j.buf, n > MaxLine, nil
		}
		if n++; n <= MaxLine {
			j.buf = append(j.buf, c)
		}
		if end {
			return j.buf, n > MaxLine, nil
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, false, fmt.Errorf("cannot read element %d to its end: %w", j.n, err)
}

// endOfArray looks for what must not be behind it.
func (j *JSONLines) endOfArray() error {
	c, err := j.readByte(true)
	switch {
	case err == nil:
		return fmt.Errorf("there is something behind the JSON array of %d elements: %q", j.n, c)
	case err != io.EOF:
		return fmt.Errorf("cannot read behind the JSON array: %w", err)
	}
	return io.EOF
}

func (j *JSONLines) readByte(skipSpace bool) (byte, error) {
	for {
		c, err := j.in.ReadByte()
		if err != nil || !skipSpace || !isSpace(c) {
			return c, err
		}
	}
}

// decodeJSON reads a todo as the API or mongoexport writes it.
func decodeJSON(text []byte, r *reading, unknown extra, odd *odds) (todo.Todo, error) {
	fault := func(format string, args ...any) (todo.Todo, error) {
		r.add("", format, args...)
		return todo.Todo{}, &r.Fault
	}
	// The decoder would replace broken bytes without a word.
	if !utf8.Valid(text) {
		return fault("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fault("is not a JSON object")
	}
	b := loose.Builder{Odd: r.oddity, TextDates: true}
	for dec.More() {
		tok, err := dec.Token()
		key, _ := tok.(string)
		var v json.RawMessage
		if err == nil {
			err = dec.Decode(&v)
		}
		if err != nil {
			return fault("%s", badJSON(err, dec))
		}
		switch {
		case loose.Has(key):
			b.Set(key, jsonValue(v))
		case key != "_id": // mongoexport writes it
			unknown.add(key)
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return fault("%s", badJSON(err, dec))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault("has something after the object, at its byte %d", dec.InputOffset())
	}
	t, err := b.Todo()
	return t, r.end(t, err, odd)
}

func badJSON(err error, dec *json.Decoder) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "is not valid JSON: it ends inside the object"
	}
	return fmt.Sprintf("is not valid JSON: %v, near its byte %d", err, dec.InputOffset())
}
