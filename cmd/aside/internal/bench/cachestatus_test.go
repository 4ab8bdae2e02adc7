package bench

import "testing"

func TestParseCacheStatus(t *testing.T) {
	for header, want := range map[string]cacheStatus{
		"":                                     {},
		" ":                                    {},
		"aside":                                {},
		"aside; hit; detail=L1":                {tier: TierL1},
		"aside;hit;detail=L2":                  {tier: TierL2},
		"aside; hit; detail=L1/negative":       {tier: TierL1, negative: true},
		"aside; hit; detail=L2/negative/stale": {tier: TierL2, negative: true, stale: true},
		"aside; hit; detail=L1/stale":          {tier: TierL1, stale: true},
		"aside; fwd=miss; detail=load":         {tier: TierMiss},
		"aside; fwd=miss; collapsed; detail=load/negative": {tier: TierMiss, collapsed: true, negative: true},
		"aside; fwd=request; detail=load":                  {tier: TierMiss},
		"aside; fwd=request":                               {tier: TierMiss},
		"aside; fwd=bypass":                                {tier: TierBypass},
		// Headers of other caches.
		`ExampleCache; hit; ttl=376`:                    {tier: TierOtherHit},
		`"a; hit, b"; fwd=uri-miss; stored`:             {tier: TierMiss},
		`aside; hit; detail=L1, CDN; fwd=uri-miss`:      {tier: TierL1},
		`aside; fwd=miss; detail=load, "CDN; hit"; hit`: {tier: TierMiss},
		`aside; hit; detail="L1=2 L2=0 load=0"`:         {tier: TierOtherHit},
		`aside; hit; detail="a \"; fwd=bypass"`:         {tier: TierOtherHit},
		`; hit`:                                         {},
	} {
		if got := parseCacheStatus([]byte(header)); got != want {
			t.Errorf("%q: %+v, want %+v", header, got, want)
		}
	}
}
