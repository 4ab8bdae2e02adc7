package aside_test

import (
	"context"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// BenchmarkTaggedHit compares a hit in L1 of an entry with two tags with one of an entry
// without, in turns, alone and with L2.
func BenchmarkTaggedHit(b *testing.B) {
	keys, loader := benchData()
	ctx := context.Background()
	var tagged aside.Loader[string, *todo] = aside.EntryLoaderFunc[string, *todo](func(ctx context.Context, k string, _ aside.Previous[*todo]) (aside.Loaded[*todo], error) {
		v, err := loader.Load(ctx, k)
		return aside.Loaded[*todo]{Value: v, Tags: []string{"all", "of " + k[:1]}}, err
	})
	for _, tier := range []string{"L1 only", "L1 over L2"} {
		b.Run(tier, func(b *testing.B) {
			var get [2]func(k string)
			for i, l := range []aside.Loader[string, *todo]{loader, tagged} {
				o := aside.Options[string, *todo]{L1Size: 2 * benchKeys, TTL: time.Hour, L1TTL: time.Hour, Jitter: -1}
				if tier != "L1 only" {
					o.Name, o.L2 = "bench", new(asidetest.Server).NewClient()
				}
				cache, err := aside.New(o)
				if err != nil {
					b.Fatal(err)
				}
				defer cache.Close(ctx)
				for _, k := range keys {
					if _, err := cache.Get(ctx, k, l); err != nil {
						b.Fatal(err)
					}
				}
				get[i] = func(k string) {
					if _, err := cache.Get(ctx, k, l); err != nil {
						b.Fatal(err)
					}
				}
			}
			takeTurns(b, keys, [2]string{"untagged", "tagged"}, get)
		})
	}
}
