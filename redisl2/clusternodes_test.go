package redisl2

import (
	"maps"
	"slices"
	"testing"
)

func TestReadClusterNodes(t *testing.T) {
	const before = `txt:aaa 127.0.0.1:7001@17001 myself,master - 0 1700000000000 1 connected 0-99 200 [99->-ddd] [300-<-bbb]
bbb 127.0.0.1:7002@17002,two.example,tls-port=8002,shard-id=s2 master - 0 1700000000001 2 connected 100-199 201-16383
ccc 127.0.0.1:7003@17003,,shard-id=s1 slave aaa 0 1700000000002 1 connected
ddd ::1:7004@17004,shard-id=s4 master - 0 1700000000003 0 connected
eee :0@0 master,noaddr - 1700000000000 1700000000000 3 disconnected
`
	a := readClusterNodes(before)
	if a.id != "aaa" || !a.moving {
		t.Errorf("id %q, moving %v", a.id, a.moving)
	}
	want := map[string][]string{
		"aaa": {"127.0.0.1:7001"},
		"bbb": {"127.0.0.1:7002", "two.example:7002"},
		"ddd": {"[::1]:7004"},
	}
	if !maps.EqualFunc(a.owners, want, slices.Equal) {
		t.Errorf("owners %v, want %v", a.owners, want)
	}

	// The times and the lines' order change all the time, a replica may come and
	// go, and a slot on its way is still its owner's.
	same := readClusterNodes(`bbb 127.0.0.1:7002@17002,two.example master - 0 1700000000055 2 connected 100-199 201-16383
aaa 127.0.0.1:7001@17001 myself,master - 0 1700000000009 1 connected 0-99 200
`)
	if same.slots != a.slots || same.moving {
		t.Errorf("slots %q and %q, moving %v", a.slots, same.slots, same.moving)
	}
	moved := readClusterNodes(`aaa 127.0.0.1:7001@17001 myself,master - 0 1700000000009 1 connected 0-98 200
bbb 127.0.0.1:7002@17002,two.example master - 0 1700000000055 2 connected 99-199 201-16383
`)
	if moved.slots == a.slots {
		t.Errorf("slot 99 has another owner: %q", moved.slots)
	}
	back := readClusterNodes(`aaa 127.0.0.1:7001@17001 myself,master - 0 1700000000009 4 connected 0-99 200
bbb 127.0.0.1:7002@17002,two.example master - 0 1700000000055 3 connected 100-199 201-16383
`)
	if back.slots == a.slots {
		t.Errorf("slots went and came back: %q", back.slots)
	}
	if *readSlots(back.slots) != *readSlots(a.slots) {
		t.Error("the owners' epochs were read as slots")
	}
}
