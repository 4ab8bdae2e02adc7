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

// JSONLines reads one JSON object per line, as the API or mongoexport writes it, or an
// array of objects (mongoexport --jsonArray), or objects of several lines (mongoexport
// --pretty), plain or compressed with gzip. It skips blank lines, but counts them.
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

// form is the layout of the file.
type form uint8

const (
	oneALine form = iota
	inArray
	overLines // one after the other, each with several lines
)

// OpenJSONLines opens the file in. size is its size, 0 if unknown.
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

// formOf looks at the first two characters of the first line that are not spaces.
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

// Extra counts unknown fields, except _id. No store keeps them.
func (j *JSONLines) Extra() map[string]int64 { return j.extra }

// Odd are the unusual values.
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

// readLine returns the next line without white space at its ends. It skips a line that
// is too long, and returns an error for it.
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
		case err == io.EOF && n > 0: // the last line may lack its newline
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

// readElement returns the next element of the array, or the next object. It skips an
// element that is too long. If the structure of the array is broken, there is no next
// element, so this error is final.
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
		return nil, false, fmt.Errorf("the JSON is broken: expected , or ] after element %d, found %q", j.n, c)
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
				return nil, false, fmt.Errorf("the JSON is broken: expected element %d, found %q", j.n, c)
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
	return nil, false, fmt.Errorf("cannot read all of element %d: %w", j.n, err)
}

// endOfArray checks that nothing follows the array.
func (j *JSONLines) endOfArray() error {
	c, err := j.readByte(true)
	switch {
	case err == nil:
		return fmt.Errorf("unexpected data after the JSON array of %d elements: %q", j.n, c)
	case err != io.EOF:
		return fmt.Errorf("cannot read after the end of the JSON array: %w", err)
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
	// The decoder would replace invalid bytes silently.
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
		return fault("has unexpected data after the object, at its byte %d", dec.InputOffset())
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
