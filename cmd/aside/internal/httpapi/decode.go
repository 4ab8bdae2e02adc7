package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// This file decodes bodies without struct tags. encoding/json ignores the case of names,
// takes the last of two equal names, replaces invalid UTF-8 silently and stops at the
// first wrong type. Each of these loses data of a client without an error.

// newTodo documents the body of POST; see decodeDraft.
type newTodo struct {
	ID          *string `json:"id,omitempty" minLength:"1" maxLength:"256" doc:"Chosen by the client. If it is left out, the server creates a UUIDv7. At most 256 bytes. It must not be . or .. and must not contain control characters, invisible characters (such as a zero-width space, a soft hyphen or a tag character) or characters that change the direction of text."`
	Name        string  `json:"name" minLength:"1" maxLength:"1024" doc:"At most 1024 bytes, not blank." example:"Water the plants"`
	Description *string `json:"description,omitempty" nullable:"true" maxLength:"65536" doc:"At most 64 KiB. Can be null." example:"The fern, too"`
	Completed   bool    `json:"completed,omitempty" default:"false"`
}

// replacement documents the body of PUT; see decodeReplacement.
type replacement struct {
	ID          *string `json:"id,omitempty" doc:"Can be left out. Otherwise it must be the id in the path."`
	Name        string  `json:"name" minLength:"1" maxLength:"1024" doc:"At most 1024 bytes, not blank." example:"Water the plants"`
	Description *string `json:"description,omitempty" nullable:"true" maxLength:"65536" doc:"At most 64 KiB. If it is null or left out, it is removed." example:"The fern, too"`
	Completed   bool    `json:"completed,omitempty" default:"false"`
}

// mergePatch documents the body of PATCH; see decodePatch.
type mergePatch struct {
	ID          *string `json:"id,omitempty" doc:"Can be left out. Otherwise it must be the id in the path."`
	Name        *string `json:"name,omitempty" minLength:"1" maxLength:"1024" doc:"At most 1024 bytes, not blank."`
	Description *string `json:"description,omitempty" nullable:"true" maxLength:"65536" doc:"At most 64 KiB. null removes it."`
	Completed   *bool   `json:"completed,omitempty" nullable:"true" doc:"null sets it to false."`
}

const (
	fieldID          = "id"
	fieldName        = "name"
	fieldDescription = "description"
	fieldCompleted   = "completed"
)

// readOnly fields are set by the server. A request with one is refused: a client that
// sends a version might believe that the server compares it.
var readOnly = map[string]bool{"created_at": true, "updated_at": true, "version": true}

// fields is a decoded body. A nil pointer means that the member was absent.
type fields struct {
	id, name    *string
	description **string
	completed   *bool
	faults      []Fault
}

// These limits keep error responses small: longer names are cut, and further faults are
// not listed.
const (
	maxFaults     = 20
	maxFaultyName = 64
)

func (f *fields) fault(field, format string, args ...any) {
	if len(f.faults) == maxFaults {
		return
	}
	f.faults = append(f.faults, bodyFault(cut(field), fmt.Sprintf(format, args...)))
}

func cut(name string) string {
	if len(name) <= maxFaultyName {
		return name
	}
	return strings.ToValidUTF8(name[:maxFaultyName], "") + "..."
}

func (f *fields) problem() *Problem {
	if len(f.faults) == 0 {
		return nil
	}
	return newProblem(http.StatusUnprocessableEntity, "invalid", "The request has invalid fields; see errors.", f.faults...)
}

// decodeDraft decodes the body of a POST.
func decodeDraft(body []byte) (todo.Draft, *Problem) {
	f, p := decodeFields(body, false)
	if p != nil {
		return todo.Draft{}, p
	}
	if f.id != nil {
		if err := todo.CheckNewID(*f.id); err != nil {
			f.fault(fieldID, "%v", err)
		}
	}
	r := f.replacement()
	d := todo.Draft{Name: r.Name, Description: r.Description, Completed: r.Completed}
	if f.id != nil {
		d.ID = *f.id
	}
	return d, f.problem()
}

// decodeReplacement decodes the body of a PUT of the record id.
func decodeReplacement(body []byte, id string) (todo.Replacement, *Problem) {
	f, p := decodeFields(body, false)
	if p != nil {
		return todo.Replacement{}, p
	}
	f.sameID(id)
	return f.replacement(), f.problem()
}

// decodePatch decodes a merge patch (RFC 7396) of the record id. Records have no nested
// objects, so a member sets its field, and null removes it.
func decodePatch(body []byte, id string) (todo.Patch, *Problem) {
	f, p := decodeFields(body, true)
	if p != nil {
		return todo.Patch{}, p
	}
	f.sameID(id)
	return todo.Patch{Name: f.name, Description: f.description, Completed: f.completed}, f.problem()
}

func (f *fields) sameID(id string) {
	if f.id != nil && *f.id != id {
		f.fault(fieldID, "must be the id in the path: an id cannot change")
	}
}

func (f *fields) replacement() todo.Replacement {
	var r todo.Replacement
	switch {
	case f.name != nil:
		r.Name = *f.name
	case !f.faulty(fieldName):
		f.fault(fieldName, "is required")
	}
	if f.description != nil {
		r.Description = *f.description
	}
	if f.completed != nil {
		r.Completed = *f.completed
	}
	return r
}

func (f *fields) faulty(field string) bool {
	for _, one := range f.faults {
		if one.Location == "body."+field {
			return true
		}
	}
	return false
}

// decodeFields decodes the members that a client may send, and collects the faults of
// all of them. It returns a Problem if the body is not a JSON object.
func decodeFields(body []byte, patch bool) (*fields, *Problem) {
	members, p := decodeObject(body)
	if p != nil {
		return nil, p
	}
	f := &fields{}
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if seen[m.name] {
			f.fault(m.name, "is given more than once")
			continue
		}
		seen[m.name] = true
		null := string(m.value) == "null"
		switch m.name {
		case fieldID:
			f.id = f.text(m)
		case fieldName:
			if null && patch {
				f.fault(fieldName, "cannot be removed")
				break
			}
			f.name = f.text(m)
		case fieldDescription:
			if null {
				f.description = new(*string)
			} else if s := f.text(m); s != nil {
				f.description = &s
			}
		case fieldCompleted:
			var b bool
			switch {
			case string(m.value) == "true":
				b = true
				f.completed = &b
			case string(m.value) == "false", null && patch:
				f.completed = &b
			default:
				f.fault(fieldCompleted, "must be true or false, not %s", kindOf(m.value))
			}
		default:
			if readOnly[m.name] {
				f.fault(m.name, "is set by the server; leave it out (to change only a certain version, send its ETag in If-Match)")
			} else {
				f.fault(m.name, "is an unknown field; the known fields are id, name, description and completed")
			}
		}
	}
	return f, nil
}

// text decodes a JSON string, or adds a fault.
func (f *fields) text(m member) *string {
	if m.value[0] != '"' {
		f.fault(m.name, "must be a string, not %s", kindOf(m.value))
		return nil
	}
	if loneSurrogate(m.value) {
		f.fault(m.name, `must be valid Unicode: it contains only one half of a \u surrogate pair`)
		return nil
	}
	var s string
	if err := json.Unmarshal(m.value, &s); err != nil {
		f.fault(m.name, "must be a string")
		return nil
	}
	return &s
}

func kindOf(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

type member struct {
	name  string
	value json.RawMessage
}

// decodeObject splits a body, which must be exactly one JSON object, into its members,
// in order and with duplicates.
func decodeObject(body []byte) ([]member, *Problem) {
	bad := func(format string, args ...any) *Problem {
		return newProblem(http.StatusBadRequest, "bad_json", "The request body is not valid JSON; see errors.",
			bodyFault("", fmt.Sprintf(format, args...)))
	}
	if !utf8.Valid(body) {
		at := 0
		for at < len(body) {
			r, n := utf8.DecodeRune(body[at:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			at += n
		}
		return nil, bad("invalid UTF-8 at byte %d", at)
	}
	if len(bytes.Trim(body, " \t\r\n")) == 0 {
		return nil, bad("the body is empty; send a JSON object")
	}

	dec := json.NewDecoder(bytes.NewReader(body))
	explain := func(err error) *Problem {
		var syntax *json.SyntaxError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return bad("the JSON is incomplete: the body ends at byte %d", len(body))
		case errors.As(err, &syntax):
			return bad("at byte %d: %s", syntax.Offset, syntax.Error())
		}
		return bad("near byte %d: not valid JSON", dec.InputOffset())
	}
	var whole json.RawMessage
	if err := dec.Decode(&whole); err != nil {
		return nil, explain(err)
	}
	end := dec.InputOffset()
	if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) > 0 {
		return nil, bad("data after the JSON object, at byte %d", len(body)-len(rest))
	}
	if whole[0] != '{' {
		return nil, newProblem(http.StatusUnprocessableEntity, "invalid", "The request has invalid fields; see errors.",
			bodyFault("", "must be a JSON object, not "+kindOf(whole)))
	}

	dec = json.NewDecoder(bytes.NewReader(whole))
	if _, err := dec.Token(); err != nil {
		return nil, explain(err)
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, explain(err)
		}
		m := member{name: name.(string)}
		if err := dec.Decode(&m.value); err != nil {
			return nil, explain(err)
		}
		members = append(members, m)
	}
	return members, nil
}

// loneSurrogate reports whether a JSON string has a \u escape that is one half of a
// surrogate pair. encoding/json would replace it by U+FFFD without an error.
func loneSurrogate(s []byte) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if s[i] != 'u' {
			continue
		}
		r := hex4(s[i+1 : i+5])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if i+6 >= len(s) || s[i+1] != '\\' || s[i+2] != 'u' ||
			utf16.DecodeRune(r, hex4(s[i+3:i+7])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// hex4 reads four hexadecimal digits. The JSON scanner has already checked them.
func hex4(s []byte) rune {
	r, _ := strconv.ParseUint(string(s), 16, 16)
	return rune(r)
}
