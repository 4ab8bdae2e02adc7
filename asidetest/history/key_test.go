package history

import (
	"sync"
	"testing"
)

// TestRecordFromManyGoroutines: nothing that was recorded is lost.
// Caught: Record without the mutex (also by the race detector).
func TestRecordFromManyGoroutines(t *testing.T) {
	const goroutines, each = 8, 1000
	k := NewKey("k")
	var wg sync.WaitGroup
	for client := range goroutines {
		wg.Go(func() {
			for i := range each {
				k.Record(read(client, i, i, 0))
			}
		})
	}
	wg.Wait()
	if k.Len() != goroutines*each {
		t.Errorf("Len is %d, recorded %d", k.Len(), goroutines*each)
	}
	seen := map[Op]bool{}
	for _, op := range k.snapshot() {
		seen[op] = true
	}
	if len(seen) != goroutines*each {
		t.Errorf("%d different operations, recorded %d", len(seen), goroutines*each)
	}
	if r := Check(k, Options{}); r.Ops[ReadDefault] != goroutines*each || r.Violated() != 0 {
		t.Errorf("checked %d reads: %v", r.Ops[ReadDefault], r.Broken)
	}
}

// TestRecordRefusesNonsense: what no history can mean is a mistake of the caller.
// Caught: each of the cases taken out.
func TestRecordRefusesNonsense(t *testing.T) {
	for name, op := range map[string]Op{
		"no kind":                    {Call: 1, Return: 2},
		"no such kind":               {Kind: Drop + 1, Call: 1, Return: 2},
		"a read of unknown outcome":  {Kind: ReadStrong, Call: 1, Return: 2, Unknown: true},
		"a read from outside":        {Kind: ReadDefault, Call: 1, Return: 2, Outside: true},
		"a drop of unknown outcome":  {Kind: Drop, Call: 1, Return: 2, Unknown: true},
		"a drop from outside":        {Kind: Drop, Call: 1, Return: 2, Outside: true},
		"returned before its call":   {Kind: ReadStrong, Call: 2, Return: 1},
		"a write, returned too soon": {Kind: Write, Call: 2, Return: 1, Version: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := NewKey("k")
			defer func() {
				if recover() == nil || k.Len() != 0 {
					t.Errorf("%v was recorded", op)
				}
			}()
			k.Record(op)
		})
	}
	k := NewKey("k")
	k.Record(unknown(0, 5, 1)) // has no return
	if k.Len() != 1 {
		t.Error("a write of unknown outcome was refused")
	}
}
