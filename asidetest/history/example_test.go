package history_test

import (
	"fmt"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// A write is acknowledged at 20 ms. A strong read that begins later must see it. This one
// does not.
func Example() {
	const ms = time.Millisecond
	key := history.NewKey("user 7")
	key.Record(history.Op{Client: 1, Node: 1, Kind: history.Write, Version: 1, Tag: 0xa, Call: 0, Return: 5 * ms})
	key.Record(history.Op{Client: 1, Node: 1, Kind: history.Write, Version: 2, Tag: 0xb, Call: 10 * ms, Return: 20 * ms})
	key.Record(history.Op{Client: 2, Node: 2, Kind: history.ReadStrong, Version: 1, Tag: 0xa, Call: 30 * ms, Return: 31 * ms})

	result := history.Check(key, history.Options{Promises: []history.Promise{history.StrongReads}})
	fmt.Println(result.Total(), "operations,", result.Violated(), "violation")
	for _, v := range result.Violations {
		fmt.Println(v.Promise, "on", v.Key)
		fmt.Println(v.Ops[len(v.Ops)-1].Kind, "saw version", v.Ops[len(v.Ops)-1].Version)
	}
	// Output:
	// 3 operations, 1 violation
	// P2 strong reads on user 7
	// strong read saw version 1
}

// Default reads may be stale, for as long as you allow.
func ExampleOptions() {
	const ms = time.Millisecond
	key := history.NewKey("user 7")
	key.Record(history.Op{Client: 1, Node: 1, Kind: history.Write, Version: 1, Tag: 0xa, Call: 0, Return: 5 * ms})
	key.Record(history.Op{Client: 2, Node: 2, Kind: history.ReadDefault, Version: 1, Tag: 0xa, Call: 6 * ms, Return: 7 * ms})
	key.Record(history.Op{Client: 1, Node: 1, Kind: history.Write, Version: 2, Tag: 0xb, Call: 10 * ms, Return: 20 * ms})
	key.Record(history.Op{Client: 2, Node: 2, Kind: history.ReadDefault, Version: 1, Tag: 0xa, Call: 50 * ms, Return: 51 * ms})

	for _, most := range []time.Duration{5 * time.Second, 10 * ms} {
		result := history.Check(key, history.Options{
			MaxStale: most,
			OnStale:  func(read history.Op, by time.Duration) { fmt.Println("stale by", by) },
		})
		fmt.Println("at most", most, "is allowed, violations:", result.Violated())
	}
	// Output:
	// stale by 30ms
	// at most 5s is allowed, violations: 0
	// stale by 30ms
	// at most 10ms is allowed, violations: 1
}
