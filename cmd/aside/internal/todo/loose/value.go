package loose

import (
	"math"
	"math/big"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Kind is the type of a Value.
type Kind uint8

const (
	Null      Kind = iota
	Text           // in Value.Text
	Bool           // in Value.Bool
	Int            // in Value.Int
	Double         // in Value.Float
	Decimal        // in Value.Decimal
	Date           // in Value.Int, in milliseconds since 1970
	Timestamp      // in Value.Int, in seconds since 1970
	Other          // Value.Text is how a person would write it
	Unusable       // Value.Text says why it cannot even be written down
)

// Value is one field of a record, in BSON or in JSON.
type Value struct {
	Kind    Kind
	Bool    bool
	Int     int64
	Float   float64
	Decimal bson.Decimal128
	Text    string
}

const (
	// maxNesting is the maximum depth of documents. MongoDB stores 100 levels. Without
	// a limit, a malicious document takes minutes to format: the driver's time grows
	// with the square of the depth.
	maxNesting = 200
	// maxWritten is the maximum size of a BSON document that is formatted as text.
	maxWritten = 4 * todo.MaxRecordBytes
)

// FromBSON returns the Value of a well-formed BSON value, such as one of a document that
// passed Validate.
func FromBSON(v bson.RawValue) Value {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return Value{}
	case bson.TypeString:
		s, _ := v.StringValueOK()
		return Value{Kind: Text, Text: s}
	case bson.TypeSymbol:
		s, _ := v.SymbolOK()
		return Value{Kind: Text, Text: s}
	case bson.TypeBoolean:
		b, _ := v.BooleanOK()
		return Value{Kind: Bool, Bool: b}
	case bson.TypeInt32, bson.TypeInt64:
		n, _ := v.AsInt64OK()
		return Value{Kind: Int, Int: n}
	case bson.TypeDouble:
		f, _ := v.DoubleOK()
		return Value{Kind: Double, Float: f}
	case bson.TypeDecimal128:
		d, _ := v.Decimal128OK()
		return Value{Kind: Decimal, Decimal: d}
	case bson.TypeDateTime:
		ms, _ := v.DateTimeOK()
		return Value{Kind: Date, Int: ms}
	case bson.TypeTimestamp:
		s, _, _ := v.TimestampOK()
		return Value{Kind: Timestamp, Int: int64(s)}
	case bson.TypeObjectID:
		id, _ := v.ObjectIDOK()
		return Value{Kind: Other, Text: id.Hex()}
	}
	switch {
	case len(v.Value) > maxWritten:
		return Value{Kind: Unusable, Text: "too large to show as text, ignored"}
	case !shallow(v):
		return Value{Kind: Unusable, Text: "nested too deeply to show as text, ignored"}
	}
	return Value{Kind: Other, Text: v.String()}
}

// shallow reports whether v is nested at most maxNesting deep, and well-formed on all
// levels: Validate checks only the first level.
func shallow(v bson.RawValue) bool { return shallowValue(v, 0) }

func shallowValue(v bson.RawValue, depth int) bool {
	var inner bson.Raw
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		inner, _ = v.DocumentOK()
	case bson.TypeArray:
		array, _ := v.ArrayOK()
		inner = bson.Raw(array)
	case bson.TypeCodeWithScope:
		_, inner, _ = v.CodeWithScopeOK()
	default:
		return true
	}
	if depth == maxNesting || inner.Validate() != nil {
		return false
	}
	elements, err := inner.Elements()
	if err != nil {
		return false
	}
	for _, e := range elements {
		if !shallowValue(e.Value(), depth+1) {
			return false
		}
	}
	return true
}

// time returns the date that v is.
func (v Value) time() (at time.Time, ok bool) {
	switch v.Kind {
	case Date:
		return time.UnixMilli(v.Int).UTC(), true
	case Timestamp:
		return time.Unix(v.Int, 0).UTC(), true
	case Text:
		return ParseTime(v.Text)
	}
	return time.Time{}, false
}

// ParseTime reads a date in the form of RFC 3339. The offset may lack its colon, as in
// the output of MongoDB's older tools.
func ParseTime(s string) (at time.Time, ok bool) {
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// integer returns the whole number that v is.
func (v Value) integer() (int64, bool) {
	switch v.Kind {
	case Int:
		return v.Int, true
	case Double:
		// The mongo shell writes numbers in this form too.
		return int64(v.Float), v.Float == math.Trunc(v.Float) && math.Abs(v.Float) < 1<<53
	case Decimal:
		return wholeDecimal(v.Decimal)
	case Text:
		n, err := strconv.ParseInt(v.Text, 10, 64)
		return n, err == nil
	}
	return 0, false
}

func wholeDecimal(d bson.Decimal128) (int64, bool) {
	n, exp, err := d.BigInt()
	if err != nil || exp < -40 || exp > 20 { // infinite, no number, or none that fits
		return 0, n != nil && err == nil && n.Sign() == 0
	}
	ten := big.NewInt(10)
	for ; exp > 0; exp-- {
		n.Mul(n, ten)
	}
	for rest := new(big.Int); exp < 0; exp++ {
		if n.QuoRem(n, ten, rest); rest.Sign() != 0 {
			return 0, false
		}
	}
	return n.Int64(), n.IsInt64()
}

// truth returns whether v is true. ok is false if v is not a boolean.
func (v Value) truth() (b, ok bool) {
	switch v.Kind {
	case Bool:
		return v.Bool, true
	case Int:
		return v.Int != 0, true
	case Double:
		number := !math.IsNaN(v.Float)
		return number && v.Float != 0, number
	case Decimal:
		n, _, err := v.Decimal.BigInt()
		return err == nil && n.Sign() != 0, err == nil
	case Text:
		b, err := strconv.ParseBool(v.Text)
		return b, err == nil
	}
	return false, false
}

// text returns v as a person would write it.
func (v Value) text() string {
	switch v.Kind {
	case Text, Other:
		return v.Text
	case Bool:
		return strconv.FormatBool(v.Bool)
	case Int:
		return strconv.FormatInt(v.Int, 10)
	case Double:
		return strconv.FormatFloat(v.Float, 'g', -1, 64)
	case Decimal:
		return v.Decimal.String()
	case Date, Timestamp:
		at, _ := v.time()
		return at.Format(time.RFC3339Nano)
	}
	return ""
}
