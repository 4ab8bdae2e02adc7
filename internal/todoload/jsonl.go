package todoload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside/internal/mongodump"
	"github.com/asidecache/aside/internal/todo"
)

// MaxLine is the longest line of a JSON-lines file, in bytes.
const MaxLine = 16 << 20

// JSONLines reads one JSON object a line, plain or compressed with gzip. Blank
// lines count and are skipped.
type JSONLines struct {
	in    *bufio.Reader
	count *countingReader
	total int64
	line  int64
	buf   []byte
	extra extra
}

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
	return &JSONLines{in: r, count: count, total: size, extra: extra{}}, nil
}

// Extent counts bytes of the file.
func (j *JSONLines) Extent() Extent { return Extent{Done: j.count.n, Total: j.total, Unit: Bytes} }

// Extra counts fields that a Todo does not have, _id aside; no store keeps them.
func (j *JSONLines) Extra() map[string]int64 { return j.extra }

// Next returns the next line's record.
func (j *JSONLines) Next() (todo.Record, error) {
	for {
		line, tooLong, err := j.readLine()
		if err != nil {
			return todo.Record{}, err
		}
		f := &Fault{Unit: "line", At: j.line}
		if tooLong {
			f.add("", "is longer than %d bytes", MaxLine)
			return todo.Record{}, f
		}
		if len(line) == 0 {
			continue
		}
		t := decodeJSON(line, f, j.extra)
		if len(f.Fields) > 0 {
			return todo.Record{}, f
		}
		return todo.Record{Todo: t}, nil
	}
}

// readLine returns the next line without white space around it. Of a line that
// is too long it keeps nothing, and reads on to its end.
func (j *JSONLines) readLine() (line []byte, tooLong bool, err error) {
	j.buf = j.buf[:0]
	j.line++
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
			return nil, false, fmt.Errorf("cannot read line %d: %w", j.line, err)
		}
		if n > MaxLine {
			return nil, true, nil
		}
		return bytes.TrimSpace(j.buf), false, nil
	}
}

// decodeJSON reads a todo as the API writes it. It adds what is wrong to f.
func decodeJSON(line []byte, f *Fault, unknown extra) (t todo.Todo) {
	// The decoder would replace broken bytes without a word.
	if !utf8.Valid(line) {
		f.add("", "is not valid UTF-8")
		return t
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		f.add("", "is not a JSON object")
		return t
	}
	var seen seenFields
	for dec.More() {
		tok, err := dec.Token()
		key, _ := tok.(string)
		var v json.RawMessage
		if err == nil {
			err = dec.Decode(&v)
		}
		if err != nil {
			badJSON(f, err, dec)
			return t
		}
		if !seen.first(key) {
			f.add(key, "is there twice")
			continue
		}
		null := string(v) == "null"
		switch key {
		case "id":
			t.ID = jsonField[string](f, key, v, "a string")
		case "name":
			t.Name = jsonField[string](f, key, v, "a string")
		case "description":
			if !null {
				s := jsonField[string](f, key, v, "a string or null")
				t.Description = &s
			}
		case "completed":
			if !null {
				t.Completed = jsonField[bool](f, key, v, "a boolean")
			}
		case "created_at":
			if !null {
				t.CreatedAt = jsonField[time.Time](f, key, v, "a time as in RFC 3339").UTC()
			}
		case "updated_at":
			if !null {
				t.UpdatedAt = jsonField[time.Time](f, key, v, "a time as in RFC 3339").UTC()
			}
		case "version":
			if !null {
				if t.Version = jsonField[int64](f, key, v, "a whole number from 0"); t.Version < 0 {
					f.add(key, "must be a whole number from 0, is %d", t.Version)
				}
			}
		case "_id": // mongoexport writes it
		default:
			unknown.add(key)
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		badJSON(f, err, dec)
		return t
	}
	if _, err := dec.Token(); err != io.EOF {
		f.add("", "has something after the object, at its byte %d", dec.InputOffset())
		return t
	}
	check(f, t, &seen)
	return t
}

// jsonField decodes one value. null is no value of T here: the caller has dealt
// with it where it is allowed.
func jsonField[T any](f *Fault, key string, v json.RawMessage, want string) (out T) {
	if err := json.Unmarshal(v, &out); err != nil || string(v) == "null" {
		const shown = 40
		got := string(v)
		if len(got) > shown {
			got = string(bytes.ToValidUTF8(v[:shown], nil)) + "..."
		}
		f.add(key, "must be %s, is %s", want, got)
	}
	return out
}

func badJSON(f *Fault, err error, dec *json.Decoder) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		f.add("", "is not valid JSON: it ends inside the object")
		return
	}
	f.add("", "is not valid JSON: %v, near its byte %d", err, dec.InputOffset())
}
