package plainjson

import (
	"reflect"
	"slices"
	"strings"
)

// field is a field of an object.
type field struct {
	name  string // with quotes and colon, as it is written
	index []int  // through embedded structs
	typ   *Type
}

func (f *field) of(v reflect.Value) reflect.Value {
	for _, i := range f.index {
		v = v.Field(i)
	}
	return v
}

// fields returns nil if one of them is not plain, or has a tag that is not.
func (p planner) fields(t reflect.Type, above []int) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(above), i)
		tag, tagged := f.Tag.Lookup("json")
		if f.Anonymous {
			// encoding/json would call no methods of an embedded struct. But whether one counts
			// may depend on its release.
			if tagged || f.Type.Kind() != reflect.Struct || writesItself(f.Type) || hasAny(f.Type, forText) {
				return nil
			}
			inner := p.fields(f.Type, index)
			if inner == nil {
				return nil
			}
			all = append(all, inner...)
			continue
		}
		if !f.IsExported() {
			if tagged {
				return nil
			}
			continue
		}
		if tag == "-" {
			continue
		}
		one := field{index: index, typ: p.plan(f.Type)}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if one.typ == nil || !usual(options) || !simple(name) {
			return nil
		}
		one.name = `"` + name + `":`
		all = append(all, one)
	}
	return all
}

// simple tells if a name is written as it is, is taken by all releases, and is not "-".
func simple(name string) bool {
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_') && (c != '-' && c != '.' || len(name) == 1) {
			return false
		}
	}
	return true
}

// repeated tells if two fields have one name: encoding/json may write neither, or one.
func repeated(fields []field) bool {
	names := map[string]bool{}
	for _, f := range fields {
		if names[f.name] {
			return true
		}
		names[f.name] = true
	}
	return false
}

// usual tells if all options of a tag are those that matter only to the writer.
func usual(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option != "" && option != "omitempty" && option != "omitzero" {
			return false
		}
	}
	return true
}
