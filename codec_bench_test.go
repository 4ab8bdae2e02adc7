package aside_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside"
)

// written is a record with what most records have: 201 bytes of JSON.
type written struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Notes     *string   `json:"notes"`
	Done      bool      `json:"done"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Tags      []string  `json:"tags,omitempty"`
	Version   int64     `json:"version"`
}

// listed is the record of scripts/peers.sh, made longer: 201 bytes.
type listed struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Completed   bool   `json:"completed"`
	Version     int64  `json:"version"`
}

func benchWritten(i int) written {
	notes := fmt.Sprintf("call before noon; see also %05d", i)
	return written{
		ID: fmt.Sprintf("0190b3f2-%012d", i), Name: fmt.Sprintf("buy what is on list %05d", i), Notes: &notes,
		CreatedAt: time.Unix(1_750_000_000+int64(i), 0).UTC(), Tags: []string{"home", "shop"}, Version: int64(i),
	}
}

func benchListed(i int) listed {
	return listed{
		ID: fmt.Sprintf("todo:%07d", i), Name: fmt.Sprintf("buy what is on list todo:%07d", i), Version: int64(i),
		Description: fmt.Sprintf("two of each, then ask if they have any, and come home before %05d o'clock", i),
	}
}

// BenchmarkJSON compares the default codec with encoding/json, in one run: the ratio of
// the two is the figure. 1,000 records, since encoding/json of Go 1.27 keeps strings
// that come again and again.
func BenchmarkJSON(b *testing.B) {
	b.Run("listed", func(b *testing.B) { benchJSON(b, benchListed) })
	b.Run("written", func(b *testing.B) { benchJSON(b, benchWritten) })
}

func benchJSON[V any](b *testing.B, record func(int) V) {
	records := make([]V, 1000)
	texts := make([][]byte, len(records))
	for i := range records {
		records[i] = record(i)
		texts[i], _ = json.Marshal(records[i])
	}
	b.Run("decode/aside", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := (aside.JSON[V]{}).Decode(texts[i%len(texts)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/std", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			var v V
			if err := json.Unmarshal(texts[i%len(texts)], &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode/aside", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := (aside.JSON[V]{}).Encode(records[i%len(records)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode/std", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := json.Marshal(records[i%len(records)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
