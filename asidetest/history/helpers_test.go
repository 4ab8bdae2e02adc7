package history

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Hand-made operations: times are in milliseconds, a write's tag is its
// version's number, a client asks the node of its own number.

func write(client int, call, ret int, version int64) Op {
	return Op{Client: client, Node: client, Kind: Write, Call: ms(call), Return: ms(ret), Version: version, Tag: uint64(version)}
}

// unknown is a write whose outcome its caller did not learn. If it is applied, it
// makes the version that its tag says.
func unknown(client int, call int, tag uint64) Op {
	return Op{Client: client, Node: client, Kind: Write, Call: ms(call), Tag: tag, Unknown: true}
}

func del(client int, call, ret int) Op {
	return Op{Client: client, Node: client, Kind: Delete, Call: ms(call), Return: ms(ret)}
}

func unknownDel(client int, call int) Op {
	return Op{Client: client, Node: client, Kind: Delete, Call: ms(call), Unknown: true}
}

func strong(client int, call, ret int, version int64) Op {
	return Op{Client: client, Node: client, Kind: ReadStrong, Call: ms(call), Return: ms(ret), Version: version, Tag: uint64(version)}
}

func read(client int, call, ret int, version int64) Op {
	op := strong(client, call, ret, version)
	op.Kind = ReadDefault
	return op
}

func drop(client int, call, ret int) Op {
	return Op{Client: client, Node: client, Kind: Drop, Call: ms(call), Return: ms(ret)}
}

func (o Op) on(node int) Op {
	o.Node = node
	return o
}

func (o Op) tagged(tag uint64) Op {
	o.Tag = tag
	return o
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func keyOf(ops ...Op) *Key {
	k := NewKey("k")
	for _, op := range ops {
		k.Record(op)
	}
	return k
}
