package plainjson

import (
	"encoding"
	"encoding/base64"
	"reflect"
	"strconv"
	"time"
)

// Decode sets v, the zero value of the type, to what data is the JSON of. If it returns
// false it may have set a part of v: ask json.Unmarshal, with another v.
func (t *Type) Decode(data []byte, v reflect.Value) bool {
	d := decoder{in: data}
	return d.value(t, v) && d.at == len(data)
}

type decoder struct {
	in      []byte
	at      int    // of the next byte of in
	scratch []byte // of strings with escapes
}

// next returns the next byte, which it does not take; 0 at the end.
func (d *decoder) next() byte {
	if d.at < len(d.in) {
		return d.in[d.at]
	}
	return 0
}

// skip takes the next byte if it is c.
func (d *decoder) skip(c byte) bool {
	if d.next() != c {
		return false
	}
	d.at++
	return true
}

// skipAll takes the bytes of s if they come next.
func (d *decoder) skipAll(s string) bool {
	if rest := d.in[d.at:]; len(rest) < len(s) || string(rest[:len(s)]) != s {
		return false
	}
	d.at += len(s)
	return true
}

func (d *decoder) value(t *Type, v reflect.Value) bool {
	switch t.kind {
	case boolean:
		if d.skipAll("true") {
			v.SetBool(true)
			return true
		}
		return d.skipAll("false")
	case signed:
		return d.signed(v)
	case unsigned:
		n, ok := d.digits()
		if !ok || v.OverflowUint(n) {
			return false
		}
		v.SetUint(n)
		return true
	case float:
		f, err := strconv.ParseFloat(string(d.number()), t.bits)
		v.SetFloat(f)
		return err == nil
	case text:
		s, ok := d.text()
		v.SetString(string(s))
		return ok
	case encoded:
		return d.skipAll("null") || d.bytes(v)
	case moment:
		// An escape would be read by some releases of Go and refused by others.
		at := d.at
		s, ok := d.text()
		return ok && d.at-at == len(s)+2 && v.Addr().Interface().(*time.Time).UnmarshalText(s) == nil
	case speaks:
		s, ok := d.text()
		return ok && v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(s) == nil
	case pointer:
		if d.skipAll("null") {
			return true
		}
		v.Set(reflect.New(t.elem.typ))
		return d.value(t.elem, v.Elem())
	case slice:
		return d.skipAll("null") || d.list(t, v)
	case array:
		return d.array(t, v)
	case mapping:
		return d.skipAll("null") || d.mapping(t, v)
	}
	return d.object(t, v)
}

// object reads fields in their order. So none comes twice.
func (d *decoder) object(t *Type, v reflect.Value) bool {
	if !d.skip('{') {
		return false
	}
	if d.skip('}') {
		return true
	}
	for i := range t.fields {
		f := &t.fields[i]
		if !d.skipAll(f.name) {
			continue // left out by the writer
		}
		if !d.value(f.typ, f.of(v)) {
			return false
		}
		if !d.skip(',') {
			return d.skip('}')
		}
	}
	return false
}

func (d *decoder) list(t *Type, v reflect.Value) bool {
	if !d.skip('[') {
		return false
	}
	if d.skip(']') {
		v.Set(reflect.MakeSlice(t.typ, 0, 0))
		return true
	}
	for n := 0; ; n++ {
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		if !d.value(t.elem, v.Index(n)) {
			return false
		}
		if !d.skip(',') {
			return d.skip(']')
		}
	}
}

func (d *decoder) array(t *Type, v reflect.Value) bool {
	if !d.skip('[') {
		return false
	}
	for i := range v.Len() {
		if i > 0 && !d.skip(',') || !d.value(t.elem, v.Index(i)) {
			return false
		}
	}
	return d.skip(']')
}

func (d *decoder) mapping(t *Type, v reflect.Value) bool {
	if !d.skip('{') {
		return false
	}
	v.Set(reflect.MakeMap(t.typ))
	if d.skip('}') {
		return true
	}
	key := reflect.New(t.typ.Key()).Elem()
	value := reflect.New(t.elem.typ).Elem()
	for n := 1; ; n++ {
		s, ok := d.text()
		key.SetString(string(s))
		value.SetZero()
		if !ok || !d.skip(':') || !d.value(t.elem, value) {
			return false
		}
		if v.SetMapIndex(key, value); v.Len() != n {
			return false // the key came before
		}
		if !d.skip(',') {
			return d.skip('}')
		}
	}
}

// bytes reads base64. Decoding would skip line ends, which come as escapes.
func (d *decoder) bytes(v reflect.Value) bool {
	at := d.at
	s, ok := d.text()
	if !ok || d.at-at != len(s)+2 {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(out, s)
	v.SetBytes(out[:n])
	return err == nil
}

// digits reads a whole number below 10^19. What comes after it is the caller's matter:
// only a comma, a bracket or the end can.
func (d *decoder) digits() (n uint64, ok bool) {
	start := d.at
	for ; d.at < len(d.in) && d.at-start < 19; d.at++ {
		c := d.in[d.at] - '0'
		if c > 9 {
			break
		}
		n = n*10 + uint64(c)
	}
	return n, d.at > start && (d.in[start] != '0' || d.at == start+1)
}

func (d *decoder) signed(v reflect.Value) bool {
	minus := d.skip('-')
	u, ok := d.digits()
	n := int64(u)
	if minus {
		n = -n
	}
	// -0 and the smallest of all are left to encoding/json.
	if !ok || u > 1<<63-1 || minus && u == 0 || v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

// number reads a number, whole or not; nil if there is none.
func (d *decoder) number() []byte {
	start := d.at
	d.skip('-')
	if !d.skip('0') && !d.some() {
		return nil
	}
	if d.skip('.') && !d.some() {
		return nil
	}
	if d.skip('e') || d.skip('E') {
		_ = d.skip('+') || d.skip('-')
		if !d.some() {
			return nil
		}
	}
	return d.in[start:d.at]
}

// some takes digits, and tells if there was one.
func (d *decoder) some() bool {
	start := d.at
	for c := d.next(); '0' <= c && c <= '9'; c = d.next() {
		d.at++
	}
	return d.at > start
}
