package aside_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
)

type (
	embedded struct {
		X int `json:"x,omitempty"`
		Y string
	}
	pointed struct{ Z string }
	quoted  struct{ A int }
	spoken  struct{ A int }
	level   int
	tree    struct {
		Name string
		Kids []*tree
	}

	// odds has what only encoding/json knows to read and write.
	odds struct {
		embedded
		*pointed
		Quoted  quoted
		Spoken  map[spoken]*quoted
		Number  json.Number
		Raw     json.RawMessage
		Any     any
		Anys    []any
		Str     int `json:"str,string"`
		ByInt   map[int]string
		Big     *big.Int
		Str2    string
		private int
	}

	// evens is plain.
	evens struct {
		embedded
		ID     string            `json:"id"`
		Note   *string           `json:"note"`
		Spoken spoken            `json:"spoken"`
		Addr   netip.Addr        `json:"addr"`
		At     time.Time         `json:"at,omitzero"`
		For    time.Duration     `json:"for,omitempty"`
		Level  level             `json:"level"`
		Raw    []byte            `json:"raw"`
		Score  float64           `json:"score"`
		Less   float32           `json:"less,omitempty"`
		Tags   []string          `json:"tags,omitempty"`
		Attrs  map[string]string `json:"attrs"`
		Hash   [3]byte           `json:"hash"`
		Skip   string            `json:"-"`
		Next   *pointed          `json:"next,omitempty"`
	}
)

func (q *quoted) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{ "<quoted>": %d }`, q.A), nil
}
func (q *quoted) UnmarshalJSON(b []byte) error { q.A = len(b); return nil }
func (s spoken) MarshalText() ([]byte, error)  { return fmt.Appendf(nil, "<%d>", s.A), nil }
func (s *spoken) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "<%d>", &s.A)
	return err
}

// before is the default codec of the releases before the fast path: entries of theirs
// must be read, and ours must be read by them.
type before[V any] struct{}

func (before[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

func (c before[V]) Decode(data []byte) (v V, err error) {
	if err = json.Unmarshal(data, &v); err == nil && string(bytes.TrimSpace(data)) == "null" {
		if back, err := c.Encode(v); err != nil || string(bytes.TrimSpace(back)) != "null" {
			return v, errors.New("aside: null is no value of this type")
		}
	}
	return v, err
}

// same holds JSON[V] to the codec of before: values are encoded to the same bytes, and
// those, and texts that are not theirs, are decoded to the same value, or with the same
// error.
func same[V any](t *testing.T, values ...V) {
	t.Helper()
	texts := strangeTexts
	for _, v := range values {
		want, wantErr := before[V]{}.Encode(v)
		got, err := aside.JSON[V]{}.Encode(v)
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%T: encoded as\n%s, %v; before as\n%s, %v", v, got, err, want, wantErr)
		}
		texts = append(texts, string(want), " "+string(want)+"\n", string(want)+"x", string(want)+string(want), strings.ToUpper(string(want)),
			strings.ReplaceAll(string(want), ",", ", "), strings.Replace(string(want), "{", `{"since":{"later":[1]},`, 1))
		for i := range want {
			texts = append(texts, string(want[:i]), string(want[:i])+"!"+string(want[i+1:]), string(want[:i])+string(want[i+1:]))
		}
	}
	for _, text := range texts {
		want, wantErr := before[V]{}.Decode([]byte(text))
		got, err := aside.JSON[V]{}.Decode([]byte(text))
		if !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%T: %q is decoded as\n%#v, %v; before as\n%#v, %v", want, text, got, err, want, wantErr)
		}
	}
}

var strangeTexts = []string{
	``, ` `, `null`, ` null `, `nul`, `{}`, `[]`, `""`, `0`, `true`, `"null"`, "\xef\xbb\xbf{}", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	`{"id":"a","ID":"b"}`, `{"id":"a","id":"b"}`, `{"ID":"a"}`, `{"i\u0064":"a"}`, `{"id":null}`, `{"id":"\ud83d\ude00\ud800x"}`, "{\"id\":\"a\xff\"}",
	`{"note":"a","note":null}`, `{"tags":["a"],"tags":["b",null]}`, `{"attrs":{"a":"1"},"attrs":{"b":"2"}}`, `{"attrs":{"a":"1","a":"2"}}`,
	`{"hash":[1]}`, `{"hash":[1,2,3,4]}`, `{"raw":[1,2]}`, `{"raw":"aG\nk="}`, `{"level":1.0}`, `{"level":1e2}`, `{"level":-0}`, `{"less":1e39}`,
	`{"at":"2020-01-01T0:00:00Z"}`, `{"at":"2020-01-01T00:00:00,5Z"}`, `{"at":null,"spoken":null}`, `{"unknown":` + strings.Repeat("[", 10_001) + `}`,
	`{"Number":"1"}`, `{"Number":"x"}`, `{"Number":1.50}`, `{"Any":1e400}`, `{"str":"1"}`, `{"str":1}`, `{"Spoken":{"<3>":1}}`,
	"{\"\u017ftr2\":\"a\"}", "{\"\u212a\":1}",
}

func TestJSONIsEncodingJSON(t *testing.T) {
	note := "<b>\"caf\u00e9\"</b> & \u2028 \\ \x00\x1f\x7f\b\f\n\r\t \U0001f600"
	full := evens{
		embedded: embedded{1, "y"}, ID: "x", Note: &note, Spoken: spoken{2}, Addr: netip.MustParseAddr("10.0.0.1"),
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), For: time.Second, Level: -3, Raw: []byte("raw"), Score: 1e21, Less: 1e-7,
		Tags: []string{"", note}, Attrs: map[string]string{"z": "1", "a": note, note: ""}, Hash: [3]byte{1, 2, 3}, Skip: "skip", Next: &pointed{"z"},
	}
	same(t, evens{}, full, evens{ID: "broken \xff"}, evens{Score: math.NaN()}, evens{Score: math.Inf(1)}, evens{Attrs: map[string]string{"\xff": "1", "\xfe": "2"}},
		evens{At: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}, evens{At: time.Date(2020, 1, 1, 0, 0, 0, 0, time.FixedZone("", 90_000))},
		evens{Raw: []byte{}, Tags: []string{}, Attrs: map[string]string{}}, evens{Score: math.Copysign(0, -1), For: math.MinInt64})
	same(t, &full, nil, &evens{})
	same(t, []evens{full, {}}, nil, []evens{})
	same(t, map[string]*evens{"a": &full, "b": nil})
	same(t, odds{}, odds{
		embedded: embedded{Y: "y"}, pointed: &pointed{"z"}, Spoken: map[spoken]*quoted{{1}: {2}, {0}: nil}, Number: "1.50", Raw: json.RawMessage(`{"a" : "<"}`),
		Any: map[string]any{"b": 1, "a": "<"}, Anys: []any{nil, 1.5, "x"}, Str: 7, ByInt: map[int]string{10: "a", 2: "b"}, Big: big.NewInt(5), private: 1,
	}, odds{Number: "x"}, odds{Raw: json.RawMessage("{")}, odds{Any: func() {}})
	same(t, &odds{Quoted: quoted{1}}) // has an address, so MarshalJSON of *quoted is called
	same(t, tree{"a", []*tree{{"b", nil}, nil}})
	same[any](t, 1, "x", nil, map[string]any{"a": []any{}})
	same(t, "x", note, "\xff")
	same(t, 0, -1, math.MaxInt64, math.MinInt64)
	same[uint64](t, 0, math.MaxUint64)
	same(t, 0.1, 1e20, 1e21, 1e-6, 9.9e-7, 123456789e-20)
	same[float32](t, 0.1, 1e20, 1e21, 1e-6, 9.9e-7, 3.4e38)
	same(t, true)
	same(t, time.Time{}, full.At)
	same(t, &full.At, nil)
	same(t, []byte(nil), []byte{}, []byte("raw"))
	same(t, [2]byte{1, 2})
	same(t, spoken{1})
	same(t, &quoted{1}, nil)
	same(t, quoted{1})
	same(t, json.Number("1"), "", "x")
	same(t, json.RawMessage(" 1 "), nil)
	same(t, []level{1}, nil)
}

// The bytes in Redis of any release: they never change.
func TestJSONGolden(t *testing.T) {
	note := "<b>\"caf\u00e9\"</b> & \u2028 \\ \x00\n"
	v := evens{
		embedded: embedded{1, "y"}, ID: "x", Note: &note, Spoken: spoken{2}, Addr: netip.MustParseAddr("10.0.0.1"),
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Level: -3, Raw: []byte("raw"), Score: 1e21, Less: 1e-7,
		Tags: []string{"a", ""}, Attrs: map[string]string{"z": "1", "a": "2"}, Hash: [3]byte{1, 2, 3},
	}
	const want = `{"x":1,"Y":"y","id":"x","note":"\u003cb\u003e\"café\"\u003c/b\u003e \u0026 \u2028 \\ \u0000\n","spoken":"\u003c2\u003e",` +
		`"addr":"10.0.0.1","at":"2026-01-02T03:04:05.000000006Z","level":-3,"raw":"cmF3","score":1e+21,"less":1e-7,"tags":["a",""],` +
		`"attrs":{"a":"2","z":"1"},"hash":[1,2,3]}`
	got, err := aside.JSON[evens]{}.Encode(v)
	if err != nil || string(got) != want {
		t.Errorf("encoded as\n%s, %v; want\n%s", got, err, want)
	}
	back, err := aside.JSON[evens]{}.Decode([]byte(want))
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("decoded as\n%#v, %v; want\n%#v", back, err, v)
	}
}

// A value that was decoded has nothing in common with the bytes, and encoded bytes not
// with the next ones.
func TestJSONKeepsNothing(t *testing.T) {
	data := []byte(`{"id":"abc","raw":"cmF3","attrs":{"a":"b\n"}}`)
	v, err := aside.JSON[evens]{}.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if v.ID != "abc" || string(v.Raw) != "raw" || v.Attrs["a"] != "b\n" {
		t.Errorf("changed with the bytes: %+v", v)
	}
	first, _ := aside.JSON[string]{}.Encode("first")
	if _, err := (aside.JSON[string]{}).Encode("other"); err != nil || string(first) != `"first"` {
		t.Errorf("changed with the next: %s, %v", first, err)
	}
}

// What makes it fast: of the record of scripts/peers.sh, decoding allocates the record
// and its three strings.
func TestJSONAllocations(t *testing.T) {
	data, err := aside.JSON[listed]{}.Encode(benchListed(1))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = aside.JSON[listed]{}.Decode(data) }); n > 4 {
		t.Errorf("decoding allocates %v times", n)
	}
}
