package plainjson_test

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"
)

type (
	name   string
	colour uint8
	tag    [4]byte // has methods for text, as UUIDs do
	bare   struct{ X, Y int16 }
)

func (t tag) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "<%x>", t[:]), nil }

func (t *tag) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "<%x>", &b)
	copy(t[:], b)
	return err
}

var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[name](), reflect.TypeFor[[]byte](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[colour](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](),
	reflect.TypeFor[tag](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[bare](),
}

// drawType draws a plain type.
func drawType(t *rapid.T, depth int) reflect.Type {
	if depth == 0 {
		return rapid.SampledFrom(leaves).Draw(t, "leaf")
	}
	switch rapid.IntRange(0, 7).Draw(t, "type") {
	case 0:
		return reflect.PointerTo(drawType(t, depth-1))
	case 1:
		if e := drawType(t, depth-1); e.Kind() != reflect.Uint8 {
			return reflect.SliceOf(e)
		}
		return reflect.TypeFor[[]byte]()
	case 2:
		return reflect.ArrayOf(rapid.IntRange(0, 3).Draw(t, "length"), drawType(t, depth-1))
	case 3:
		key := rapid.SampledFrom([]reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[name]()}).Draw(t, "key")
		return reflect.MapOf(key, drawType(t, depth-1))
	case 4:
		return rapid.SampledFrom(leaves).Draw(t, "leaf")
	}
	fields := make([]reflect.StructField, rapid.IntRange(1, 6).Draw(t, "fields"))
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprint("F", i), Type: drawType(t, depth-1)}
		names := []string{"-", "", fmt.Sprint("f", i), fmt.Sprint("the-field.", i), fmt.Sprint("f", i, "_")}
		if i == 0 {
			names = names[1:] // one field is left
		}
		tag := rapid.SampledFrom(names).Draw(t, "name")
		if tag != "-" {
			tag += rapid.SampledFrom([]string{"", "", ",omitempty", ",omitzero", ",omitzero,omitempty"}).Draw(t, "options")
		}
		if _, odd := reflect.PointerTo(fields[i].Type).MethodByName("IsZero"); odd || fields[i].Type.Kind() == reflect.Pointer {
			tag = strings.ReplaceAll(tag, ",omitzero", "")
		}
		if tag != "" {
			fields[i].Tag = reflect.StructTag(`json:"` + tag + `"`)
		}
	}
	return reflect.StructOf(fields)
}

var (
	runes = []rune("aZ09 _-<>&'\"\\/\b\f\n\r\t\x00\x1f\x7f\u0080\u2027\u2028\u2029\u202aé日😀\ufffd\uffff")
	texts = rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom(runes)), rapid.StringN(20, 40, -1),
		rapid.Custom(func(t *rapid.T) string {
			long := strings.Repeat("x", rapid.IntRange(0, 20).Draw(t, "before"))
			return long + string(rapid.SampledFrom(runes).Draw(t, "rune")) + long
		}))
	floats = rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) }),
		rapid.Map(rapid.IntRange(-99, 99), func(i int) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), 1e-6, 9.99e-7, 1e-7, 1e-10, 1e20, 1e21, 1e22, 1e-100, 123456789012345680000,
			float64(float32(1e-6)), float64(float32(1e21)), math.SmallestNonzeroFloat64, math.MaxFloat32,
		}))
)

// drawn is a value, with what Decode may leave to encoding/json.
type drawn struct {
	t      *rapid.T
	v      reflect.Value
	unread bool // Decode may
}

func draw(t *rapid.T, typ reflect.Type) drawn {
	d := drawn{t: t, v: reflect.New(typ).Elem()}
	d.fill(d.v)
	return d
}

func (d *drawn) one(n int) bool { return rapid.IntRange(0, n).Draw(d.t, "one of") == 1 }

func (d *drawn) text() string {
	s := texts.Draw(d.t, "text")
	for _, r := range s {
		d.unread = d.unread || r == 0xfffd && strings.ContainsRune(s, r) && s != strings.ToValidUTF8(s, "")
	}
	if d.one(40) {
		d.unread = true
		s += "\xff" + s
	}
	return s
}

func (d *drawn) fill(v reflect.Value) {
	if d.one(4) {
		return // zero, nil
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(rapid.Int64Range(-6e10, 2.5e11).Draw(d.t, "time"), rapid.Int64Range(0, 999_999_999).Draw(d.t, "ns")).UTC()
		if d.one(3) {
			*p = p.In(time.FixedZone("", 60*rapid.IntRange(-1500, 1500).Draw(d.t, "zone")))
		}
		if text, err := p.MarshalText(); err != nil || p.UnmarshalText(text) != nil {
			d.unread = true // a year or a zone beyond what RFC 3339 has
		}
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(d.t, "address")})
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(d.text())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64Range(-1<<(v.Type().Bits()-1), 1<<(v.Type().Bits()-1)-1).Draw(d.t, "int"))
		d.unread = d.unread || v.Int() == math.MinInt64
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 1<<v.Type().Bits()-1).Draw(d.t, "uint"))
		d.unread = d.unread || v.Uint() >= 1e19
	case reflect.Float32, reflect.Float64:
		v.SetFloat(floats.Draw(d.t, "float"))
		if d.one(30) {
			v.SetFloat(rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(d.t, "no number"))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 4).Draw(d.t, "length"), 4))
		d.fillAll(v)
	case reflect.Array:
		d.fillAll(v)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 4).Draw(d.t, "length") {
			value := reflect.New(v.Type().Elem()).Elem()
			d.fill(value)
			v.SetMapIndex(reflect.ValueOf(d.text()).Convert(v.Type().Key()), value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			d.fill(v.Field(i))
		}
	}
}

func (d *drawn) fillAll(v reflect.Value) {
	for i := range v.Len() {
		d.fill(v.Index(i))
	}
}

// pieces are what a text is broken with.
var pieces = []string{
	"null", "true", "false", `"`, `\`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\ud800`, `\udc00`, `\u`, `\x`, `\n`, `\/`, " ", "\n", "\t",
	"-0", "-", "0", "01", "1e5", "1E+5", "1.0", "1.", ".5", "9", "99999999999999999999", ",", ":", "{", "}", "[", "]", "{}", "[]", `""`,
	"\xff", "\xc3", "\xa9", "é", "\u2028", "\x00", "\x1f", "=", "T", "Z", `,"F0":1`, `"f0":`, `"` + "\x7f",
}

// broken draws what comes of a text by a few changes.
func broken(t *rapid.T, text []byte) []byte {
	s := string(text)
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		at := rapid.IntRange(0, len(s)).Draw(t, "at")
		end := min(len(s), at+rapid.IntRange(0, 12).Draw(t, "length"))
		switch rapid.IntRange(0, 5).Draw(t, "change") {
		case 0:
			s = s[:at] + s[end:]
		case 1:
			s = s[:at] + rapid.SampledFrom(pieces).Draw(t, "piece") + s[at:]
		case 2:
			s = s[:at] + rapid.SampledFrom(pieces).Draw(t, "piece") + s[min(len(s), at+1):]
		case 3:
			s = s[:at] + s[at:end] + s[at:end] + s[end:]
		case 4:
			s = s[:at] + strings.ToUpper(s[at:end]) + s[end:]
		case 5:
			to := rapid.IntRange(0, at).Draw(t, "to")
			s = s[:to] + s[at:end] + s[to:at] + s[end:]
		}
	}
	return []byte(s)
}
