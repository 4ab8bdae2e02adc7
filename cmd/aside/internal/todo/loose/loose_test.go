package loose

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func decimal(t *testing.T, s string) bson.Decimal128 {
	t.Helper()
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustRaw(t *testing.T, v any) bson.Raw {
	t.Helper()
	raw, err := bson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// deep returns a document with this number of levels.
func deep(levels int) bson.Raw {
	b := make([]byte, 0, 8*levels+5)
	for i := range levels {
		b = binary.LittleEndian.AppendUint32(b, uint32(5+8*(levels-i)))
		b = append(b, byte(bson.TypeEmbeddedDocument), 'n', 0)
	}
	b = append(b, 5, 0, 0, 0, 0)
	return append(b, make([]byte, levels)...)
}

// Every BSON type in every field gives a todo that can be shown, and unusual values are
// reported. Caught: dates after the year 9999; versions as Decimal128; NaN read as true; a
// description nested twenty thousand levels deep, which took seconds to format, since the
// time grew faster than the depth.
func TestDecode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	text := func(s string) *string { return &s }
	for _, tc := range []struct {
		name string
		doc  bson.D // after the id
		want todo.Todo
		odd  string
	}{
		{"as the service writes it", bson.D{{Key: "name", Value: "n"}, {Key: "description", Value: "d"}, {Key: "completed", Value: true}, {Key: "created_at", Value: at}, {Key: "updated_at", Value: at}, {Key: "version", Value: int64(3)}},
			todo.Todo{Name: "n", Description: text("d"), Completed: true, CreatedAt: at, UpdatedAt: at, Version: 3}, ""},
		{"null", bson.D{{Key: "name", Value: "n"}, {Key: "description", Value: nil}, {Key: "completed", Value: nil}, {Key: "created_at", Value: nil}, {Key: "version", Value: nil}}, todo.Todo{Name: "n"}, ""},
		{"no name", bson.D{}, todo.Todo{}, "name: missing, read as empty"},
		{"null as name", bson.D{{Key: "name", Value: nil}}, todo.Todo{}, "name: null, read as empty"},
		{"a number as name", bson.D{{Key: "name", Value: 42}}, todo.Todo{Name: "42"}, "name: not a text, read as text"},
		{"a document as name", bson.D{{Key: "name", Value: bson.D{{Key: "en", Value: "n"}}}}, todo.Todo{Name: `{"en": "n"}`}, "name: not a text, read as text"},
		{"broken UTF-8", bson.D{{Key: "name", Value: "a\xffb"}}, todo.Todo{Name: "a\ufffdb"}, "name: not valid UTF-8, invalid bytes are replaced"},
		{"name twice", bson.D{{Key: "name", Value: "one"}, {Key: "name", Value: "two"}}, todo.Todo{Name: "one"}, "name: given more than once, the first value is used"},
		{"deep description", bson.D{{Key: "name", Value: "n"}, {Key: "description", Value: deep(20_000)}}, todo.Todo{Name: "n"}, "description: nested too deeply to show as text, ignored"},
		{"large description", bson.D{{Key: "name", Value: "n"}, {Key: "description", Value: bson.A{strings.Repeat("x", 1<<20)}}}, todo.Todo{Name: "n"}, "description: too large to show as text, ignored"},
		{"1 as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: 1}}, todo.Todo{Name: "n", Completed: true}, "completed: a number, read as true or false"},
		{"0.0 as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: 0.0}}, todo.Todo{Name: "n"}, "completed: a number, read as true or false"},
		{"a decimal as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: decimal(t, "0.1")}}, todo.Todo{Name: "n", Completed: true}, "completed: a number, read as true or false"},
		{"NaN as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: math.NaN()}}, todo.Todo{Name: "n"}, "completed: not a boolean, read as false"},
		{"text as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: "true"}}, todo.Todo{Name: "n", Completed: true}, "completed: text, read as true or false"},
		{"yes as completed", bson.D{{Key: "name", Value: "n"}, {Key: "completed", Value: "yes"}}, todo.Todo{Name: "n"}, "completed: not a boolean, read as false"},
		{"text as date", bson.D{{Key: "name", Value: "n"}, {Key: "created_at", Value: "2026-01-02T03:04:05.006Z"}}, todo.Todo{Name: "n", CreatedAt: at}, "created_at: not a BSON date, read as a date"},
		{"a timestamp as date", bson.D{{Key: "name", Value: "n"}, {Key: "created_at", Value: bson.Timestamp{T: uint32(at.Unix())}}}, todo.Todo{Name: "n", CreatedAt: at.Truncate(time.Second)}, "created_at: not a BSON date, read as a date"},
		{"no date", bson.D{{Key: "name", Value: "n"}, {Key: "created_at", Value: "now"}, {Key: "updated_at", Value: int64(1)}}, todo.Todo{Name: "n"}, "created_at: not a date, ignored|updated_at: not a date, ignored"},
		{"the year 10000", bson.D{{Key: "name", Value: "n"}, {Key: "created_at", Value: bson.DateTime(253402300800000)}}, todo.Todo{Name: "n"}, "created_at: a date outside of the years 1 to 9999, ignored"},
		{"the last moment", bson.D{{Key: "name", Value: "n"}, {Key: "created_at", Value: bson.DateTime(253402300799999)}}, todo.Todo{Name: "n", CreatedAt: time.UnixMilli(253402300799999).UTC()}, ""},
		{"the year 0", bson.D{{Key: "name", Value: "n"}, {Key: "updated_at", Value: bson.DateTime(-62135596800001)}}, todo.Todo{Name: "n"}, "updated_at: a date outside of the years 1 to 9999, ignored"},
		{"the last date of BSON", bson.D{{Key: "name", Value: "n"}, {Key: "updated_at", Value: bson.DateTime(math.MaxInt64)}}, todo.Todo{Name: "n"}, "updated_at: a date outside of the years 1 to 9999, ignored"},
		{"the first date of BSON", bson.D{{Key: "name", Value: "n"}, {Key: "updated_at", Value: bson.DateTime(math.MinInt64)}}, todo.Todo{Name: "n"}, "updated_at: a date outside of the years 1 to 9999, ignored"},
		{"late by its offset", bson.D{{Key: "name", Value: "n"}, {Key: "updated_at", Value: "9999-12-31T23:59:59-01:00"}}, todo.Todo{Name: "n"}, "updated_at: a date outside of the years 1 to 9999, ignored"},
		{"a double as version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: 4.0}}, todo.Todo{Name: "n", Version: 4}, ""},
		{"a decimal as version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: decimal(t, "5E+3")}}, todo.Todo{Name: "n", Version: 5000}, ""},
		{"a decimal with noughts", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: decimal(t, "5.00")}}, todo.Todo{Name: "n", Version: 5}, ""},
		{"a huge decimal", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: decimal(t, "1E+6000")}}, todo.Todo{Name: "n"}, "version: not an integer from 0, ignored"},
		{"half a version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: decimal(t, "0.5")}}, todo.Todo{Name: "n"}, "version: not an integer from 0, ignored"},
		{"infinite version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: decimal(t, "Infinity")}}, todo.Todo{Name: "n"}, "version: not an integer from 0, ignored"},
		{"a negative version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: -1}}, todo.Todo{Name: "n"}, "version: not an integer from 0, ignored"},
		{"text as version", bson.D{{Key: "name", Value: "n"}, {Key: "version", Value: "2"}}, todo.Todo{Name: "n", Version: 2}, "version: text, read as a number"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var odd, other []string
			raw := mustRaw(t, append(bson.D{{Key: "_id", Value: 1}, {Key: "id", Value: "1"}}, tc.doc...))
			got, err := Decode(raw, func(field, what string) { odd = append(odd, field+": "+what) }, func(field string) { other = append(other, field) })
			if err != nil {
				t.Fatal(err)
			}
			tc.want.ID = "1"
			if !reflect.DeepEqual(got, tc.want) || strings.Join(odd, "|") != tc.odd || strings.Join(other, "|") != "_id" {
				t.Errorf("got %+v, odd %q, other %q", got, odd, other)
			}
			if again, err := Decode(raw, nil, nil); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("with nobody to tell: %+v, %v", again, err)
			}
		})
	}
}

func TestNotATodo(t *testing.T) {
	for _, tc := range []struct {
		doc  bson.D
		want string
	}{
		{bson.D{{Key: "name", Value: "n"}}, "id: is missing"},
		{bson.D{{Key: "id", Value: 7}}, "id: must be a string, is a number"},
		{bson.D{{Key: "id", Value: nil}}, "id: must be a string, is null"},
		{bson.D{{Key: "id", Value: bson.D{}}}, "id: must be a string, is not a text or a number"},
		{bson.D{{Key: "id", Value: ""}}, "id: must not be empty"},
		{bson.D{{Key: "id", Value: "a\x1b"}}, "id: must not contain control characters"},
		{bson.D{{Key: "id", Value: "1"}, {Key: "id", Value: "2"}}, "id: is given twice"},
	} {
		_, err := Decode(mustRaw(t, tc.doc), nil, nil)
		if !errors.Is(err, todo.ErrInvalid) || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.doc, err, tc.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2020, 12, 12, 2, 1, 0, 0, time.UTC)
	for s, ok := range map[string]bool{
		"2020-12-12T02:01:00.000Z": true, "2020-12-12T02:01:00Z": true, "2020-12-12T04:01:00+02:00": true,
		"2020-12-11T21:01:00.000-0500": true, "2020-12-12T02:01:00.000+0000": true,
		"2020-12-12": false, "now": false, "": false, "2020-12-12T02:01:00": false,
	} {
		if got, is := ParseTime(s); is != ok || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, is)
		}
	}
}

// FuzzDecode: everything that can be decoded can be shown, unless it is too large.
func FuzzDecode(f *testing.F) {
	for _, d := range []bson.D{
		{{Key: "id", Value: "1"}, {Key: "name", Value: bson.A{bson.D{{Key: "x", Value: bson.Regex{Pattern: "a"}}}}}, {Key: "created_at", Value: bson.DateTime(1 << 60)}},
		{{Key: "id", Value: "1"}, {Key: "description", Value: bson.CodeWithScope{Code: "f", Scope: bson.D{{Key: "a", Value: bson.D{}}}}}, {Key: "version", Value: 1e300}},
	} {
		raw, err := bson.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(raw[4 : len(raw)-1]))
	}
	f.Fuzz(func(t *testing.T, elements []byte) {
		raw := binary.LittleEndian.AppendUint32(nil, uint32(len(elements)+5))
		raw = append(append(raw, elements...), 0)
		if bson.Raw(raw).Validate() != nil {
			return
		}
		got, err := Decode(raw, nil, nil)
		if err != nil {
			return
		}
		if err := got.Check(); err != nil && got.CheckSize() == nil {
			t.Errorf("%+v: %v", got, err)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
}
