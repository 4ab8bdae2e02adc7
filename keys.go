package aside

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// keys puts the default key functions in, for strings and integers.
func (o *Options[K, V]) keys() error {
	if o.Key != nil {
		if o.ParseKey == nil && o.L2 != nil && o.hasL1() {
			return errors.New("option Key without its inverse, ParseKey: L1 could not be told what changed (set L1Size to -1 to go without L1)")
		}
		return nil
	}
	if o.ParseKey != nil {
		return errors.New("option ParseKey without Key")
	}
	t := reflect.TypeFor[K]()
	switch t.Kind() {
	case reflect.String:
		if t == reflect.TypeFor[string]() {
			o.Key = func(k K) string { return any(k).(string) }
			o.ParseKey = func(s string) (K, error) { return any(s).(K), nil }
			return nil
		}
		o.Key = func(k K) string { return reflect.ValueOf(k).String() }
		o.ParseKey = func(s string) (k K, err error) {
			reflect.ValueOf(&k).Elem().SetString(s)
			return k, nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		o.Key = func(k K) string { return strconv.FormatInt(reflect.ValueOf(k).Int(), 10) }
		o.ParseKey = func(s string) (k K, err error) {
			n, err := strconv.ParseInt(s, 10, t.Bits())
			reflect.ValueOf(&k).Elem().SetInt(n)
			return k, err
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		o.Key = func(k K) string { return strconv.FormatUint(reflect.ValueOf(k).Uint(), 10) }
		o.ParseKey = func(s string) (k K, err error) {
			n, err := strconv.ParseUint(s, 10, t.Bits())
			reflect.ValueOf(&k).Elem().SetUint(n)
			return k, err
		}
	default:
		if o.L2 != nil {
			return fmt.Errorf("keys of type %v need the functions Key and ParseKey", t)
		}
	}
	return nil
}

func (o *Options[K, V]) hasL1() bool { return o.L1Size > 0 || o.L1MaxCost > 0 }

// l2key returns the key's name in L2.
func (c *Cache[K, V]) l2key(k K) (string, error) {
	s, err := c.key(k)
	return c.prefix + s, err
}

// l2keys returns the names of several keys.
func (c *Cache[K, V]) l2keys(keys []K) ([]string, error) {
	names := make([]string, len(keys))
	for i, k := range keys {
		var err error
		if names[i], err = c.l2key(k); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// checkKeys refuses keys that are not equal to themselves: nothing that is kept for
// such a key would ever be found again.
func checkKeys[K comparable](keys ...K) error {
	for _, k := range keys {
		if k != k { // NaN
			return fmt.Errorf("%w: %v", ErrKey, k)
		}
	}
	return nil
}

// invertible reports whether an invalidation that names the key would find k.
// Where Key and ParseKey do not fit together it would not, and k must stay out
// of L1.
func (c *Cache[K, V]) invertible(k K, l2key string) bool {
	if !c.customKeys || c.l2 == nil {
		return true
	}
	if c.opts.ParseKey == nil {
		return false // there is no L1
	}
	back, err := c.parseKey(l2key[len(c.prefix):])
	if err == nil && back == k {
		return true
	}
	c.warn.do("ParseKey", func() {
		c.log.Error("ParseKey is not the inverse of Key, so L1 is not used for such keys (log level debug shows one)", c.keyAttr(l2key), "error", err)
		c.log.Debug("the key that ParseKey and Key do not agree on", "key", k, "l2_key", l2key, "parsed", back)
	})
	return false
}
