package plainjson_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/asidecache/aside/internal/plainjson"
)

// The promises, on types, values and texts of all sorts:
//
//   - what Decode reads, json.Unmarshal reads as the same, and without an error;
//   - only values and texts that are out of the ordinary are left to encoding/json.
//
// Caught: fields taken in any order, a number with a leading zero, an unknown name that is
// skipped, text that is not UTF-8, escapes beyond those that json.Marshal writes.
func TestAsEncodingJSON(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		f.Value.Set("1000") // these are quick
		defer f.Value.Set(f.DefValue)
	}
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 3)
		plan := plainjson.For(typ)
		if plan == nil {
			t.Fatalf("%s is not plain", typ)
		}
		d := draw(t, typ)
		text, err := json.Marshal(d.v.Interface())
		if err != nil {
			return
		}
		if !reads(t, plan, typ, text) && !d.unread {
			t.Fatalf("%s: not read: %s", typ, text)
		}
		for range 4 {
			reads(t, plan, typ, broken(t, text))
		}
	})
}

type reporter interface {
	Helper()
	Fatalf(string, ...any)
}

// reads tells if Decode reads text.
func reads(t reporter, plan *plainjson.Type, typ reflect.Type, text []byte) bool {
	t.Helper()
	given := bytes.Clone(text)
	got := reflect.New(typ)
	ok := plan.Decode(text, got.Elem())
	if !bytes.Equal(text, given) {
		t.Fatalf("%s: reading changed %s to %s", typ, given, text)
	}
	if !ok {
		return false
	}
	want := reflect.New(typ)
	if err := json.Unmarshal(text, want.Interface()); err != nil {
		t.Fatalf("%s: %q is read, and encoding/json says: %v", typ, text, err)
	}
	clear(text) // what was read must not be a part of it
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Fatalf("%s: %q is read as\n%#v, by encoding/json as\n%#v", typ, given, got.Elem(), want.Elem())
	}
	return true
}

type inner struct {
	Inner int `json:"inner,omitempty"`
	Both  string
}

type outer struct {
	First int
	inner
	Last int
}

type everything struct {
	ID      string             `json:"id"`
	Name    name               `json:"name,omitempty"`
	N       int64              `json:"n"`
	Small   int8               `json:"small"`
	U       uint64             `json:"u"`
	Byte    byte               `json:"byte"`
	F       float64            `json:"f"`
	F32     float32            `json:"f32"`
	Yes     bool               `json:"yes"`
	Raw     []byte             `json:"raw"`
	At      time.Time          `json:"at,omitzero"`
	Maybe   *string            `json:"maybe"`
	Tags    []string           `json:"tags"`
	Sum     [2]int             `json:"sum"`
	ByName  map[string]float64 `json:"by_name"`
	Mark    tag                `json:"mark"`
	Inside  *outer             `json:"inside,omitempty"`
	Insides []outer            `json:"insides"`
	outer
}

func FuzzDecode(f *testing.F) {
	note := "a \"note\"\n<b>é\u2028</b>"
	for _, v := range []everything{{}, {
		ID: "x", Name: name(note), N: -5, Small: 100, U: 1 << 60, F: 1.5e-9, F32: 0.1, Yes: true, Raw: []byte("hi"), At: time.Unix(1e9, 5).UTC(),
		Maybe: &note, Tags: []string{"", note}, Sum: [2]int{1, -1}, ByName: map[string]float64{"a": 0, note: 1e22}, Mark: tag{1},
		Inside: &outer{inner: inner{Inner: 1}}, Insides: []outer{{}, {First: 2}}, outer: outer{Last: 3},
	}} {
		text, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	typ := reflect.TypeFor[everything]()
	plan := plainjson.For(typ)
	f.Fuzz(func(t *testing.T, text []byte) {
		reads(t, plan, typ, text)
	})
}

// Texts that Decode leaves to encoding/json: most have a meaning, which it must not
// guess.
func TestLeavesToEncodingJSON(t *testing.T) {
	for _, text := range []string{
		``, ` `, `null`, `{`, `{"id"`, `{"id":`, `{"id":"`, `{"id":"a`, `{"id":"a\`, `{"id":"a\u00`, `{"id":"a"`, `{"id":"a",`,
		`{"id":"a",}`, `{"id":"a"}x`, `{"id":"a"} `, ` {"id":"a"}`, `{"id": "a"}`, `{"id" :"a"}`, `{"id":"a" }`, `{"id":"a"}{}`, "{}\x00",
		`{"ID":"a"}`, `{"\u0069d":"a"}`, `{"unknown":1}`, `{"id":"a","unknown":1}`, `{"id":"a","id":"b"}`, `{"n":1,"id":"a"}`,
		`{"id":null}`, `{"n":null}`, `{"yes":null}`, `{"at":null}`, `{"mark":null}`, `{"sum":null}`,
		`{"id":"\ud83d\ude00"}`, `{"id":"\ud800"}`, "{\"id\":\"\xff\"}", "{\"id\":\"\xc3\\n\xa9\"}", "{\"id\":\"\n\"}", `{"id":"\a"}`, `{"id":'a'}`, `{"id":1}`,
		`{"n":"1"}`, `{"n":1.0}`, `{"n":1e3}`, `{"n":01}`, `{"n":-0}`, `{"n":-}`, `{"n":+1}`, `{"n":9223372036854775808}`, `{"n":99999999999999999999}`,
		`{"small":128}`, `{"small":-129}`, `{"u":-1}`, `{"byte":256}`, `{"u":18446744073709551616}`, `{"f":1.}`, `{"f":.5}`, `{"f":01}`, `{"f":1e}`, `{"f":1e400}`,
		`{"f":0x1p2}`, `{"f":1_0}`, `{"f":NaN}`, `{"f":Inf}`, `{"f32":1e39}`, `{"yes":1}`, `{"yes":True}`, `{"yes":truefalse}`,
		`{"raw":"aGk"}`, `{"raw":"aGk\n="}`, `{"raw":"aG=k"}`, `{"raw":[1]}`, `{"raw":"aG\/r"}`,
		`{"at":"2020-01-01"}`, `{"at":"2020-01-01T00:00:00\u005a"}`, `{"at":1}`, `{"mark":"x"}`, `{"mark":1}`,
		`{"tags":["a",]}`, `{"tags":["a"`, `{"tags":[,]}`, `{"tags":{}}`, `{"tags":[null]}`, `{"sum":[1]}`, `{"sum":[1,2,3]}`, `{"sum":[1,2,]}`, `{"sum":[]}`, `{"sum":[1-1]}`,
		`{"by_name":{"a":1,"a":2}}`, `{"by_name":{"a":1,"a":2}`, `{"by_name":{"a":1,}}`, `{"by_name":{"a"}}`, `{"by_name":{a:1}}`, `{"by_name":[]}`,
	} {
		var v everything
		if plainjson.For(reflect.TypeFor[everything]()).Decode([]byte(text), reflect.ValueOf(&v).Elem()) {
			t.Errorf("read: %s", text)
		}
	}
}

type (
	asText   struct{ A string }
	asJSON   struct{ A string }
	also     struct{ B string }
	alsoText struct{ B string }
	fromTwo  struct{ A string }
	onlyPtr  struct{ A string }
	nested   struct{ Next *nested }
	byteish  []colour
	number   = json.Number
)

func (asText) MarshalText() ([]byte, error)        { return nil, nil }
func (also) MarshalJSON() ([]byte, error)          { return nil, nil }
func (alsoText) MarshalText() ([]byte, error)      { return nil, nil }
func (asJSON) MarshalJSON() ([]byte, error)        { return nil, nil }
func (*fromTwo) UnmarshalJSONFrom(*struct{}) error { return nil }
func (*onlyPtr) MarshalText() ([]byte, error)      { return nil, nil }
func (*onlyPtr) UnmarshalText([]byte) error        { return nil }
func plain[T any]() bool                           { return plainjson.For(reflect.TypeFor[T]()) != nil }

// made tells if a struct is plain that vet would not let stand here.
func made(fields ...reflect.StructField) bool { return plainjson.For(reflect.StructOf(fields)) != nil }

func field(name string, tag reflect.StructTag) reflect.StructField {
	return reflect.StructField{Name: name, Type: reflect.TypeFor[int](), Tag: tag}
}

var hidden = reflect.StructField{Name: "b", PkgPath: "hidden", Type: reflect.TypeFor[int](), Tag: `json:"b"`}

// What is not plain, each for a reason of its own.
func TestNotPlain(t *testing.T) {
	for what, is := range map[string]bool{
		"any":                     plain[any](),
		"a field of type any":     plain[struct{ A any }](),
		"an interface":            plain[struct{ A error }](),
		"json.Number":             plain[struct{ A number }](),
		"keys of json.Number":     plain[map[number]int](),
		"json.RawMessage":         plain[struct{ A json.RawMessage }](),
		"MarshalJSON":             plain[asJSON](),
		"MarshalJSON of *big.Int": plain[*big.Int](),
		"MarshalJSON, embedded":   plain[struct{ asJSON }](),
		"UnmarshalJSONFrom":       plain[fromTwo](),
		"MarshalText alone":       plain[asText](),
		"MarshalText of *T":       plain[onlyPtr](),
		"MarshalText, embedded": plain[struct {
			B int
			asText
		}](),
		"time.Time, embedded": plain[struct {
			B int
			time.Time
		}](),
		"MarshalJSON, embedded twice": plain[struct {
			asJSON
			also
		}](),
		"MarshalText, embedded twice": plain[struct {
			asText
			alsoText
		}](),
		"keys with methods":     plain[map[netip.Addr]int](),
		"keys of int":           plain[map[int]string](),
		"named bytes":           plain[byteish](),
		"a type in itself":      plain[nested](),
		"a function":            plain[func()](),
		"complex":               plain[complex64](),
		"uintptr":               plain[uintptr](),
		"no fields":             plain[struct{}](),
		"unexported fields":     plain[struct{ a int }](),
		"unexported field, tag": made(field("A", ""), hidden),
		"the option string": plain[struct {
			A int `json:",string"`
		}](),
		"an option of json/v2": plain[struct {
			A int `json:",case:ignore"`
		}](),
		"a name with a quote": plain[struct {
			A int `json:"'a'"`
		}](),
		"a name with a letter é": plain[struct {
			A int `json:"é"`
		}](),
		"a name that is escaped": plain[struct {
			A int `json:"a<b"`
		}](),
		"a name that is a dash": made(field("A", `json:"-,"`)),
		"embedded pointer":      plain[struct{ *inner }](),
		"embedded, with a tag": plain[struct {
			inner `json:"inner"`
		}](),
		"embedded string":        plain[struct{ name }](),
		"two fields of one name": made(field("A", `json:"b"`), field("B", `json:"b"`)),
		"a name once more, embedded": plain[struct {
			inner
			Both int
		}](),
	} {
		if is {
			t.Errorf("plain: %s", what)
		}
	}
}

// What records are made of is plain: else it would be slow, and no other test would tell.
func TestPlain(t *testing.T) {
	for what, is := range map[string]bool{
		"everything":          plain[everything](),
		"*everything":         plain[*everything](),
		"[]everything":        plain[[]everything](),
		"map[name]everything": plain[map[name]everything](),
		"string":              plain[string](),
		"*time.Time":          plain[*time.Time](),
		"netip.Addr":          plain[*netip.Addr](),
		"a type twice":        plain[struct{ A, B outer }](),
		"left out": plain[struct {
			A int
			B func() `json:"-"`
			c any
		}](),
	} {
		if !is {
			t.Errorf("not plain: %s", what)
		}
	}
}

// Runs of ordinary bytes end where they should, wherever in a word of eight bytes.
func TestEveryByteAtEveryPlace(t *testing.T) {
	typ := reflect.TypeFor[string]()
	plan := plainjson.For(typ)
	for c := range 256 {
		for at := range 20 {
			for _, after := range []int{0, 1, 7, 9} {
				s := strings.Repeat("a", at) + string([]byte{byte(c)}) + strings.Repeat("z", after)
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				if !reads(t, plan, typ, text) {
					t.Fatalf("not read: %q", text)
				}
				reads(t, plan, typ, []byte(`"`+s+`"`))
			}
		}
	}
}
