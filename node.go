package aside

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/asidecache/aside/driver"
)

// NodeID stands for a node in what it stores in L2: each token that a cache draws, for
// a lease, a fence or an entry, begins with it. It is made of Options.Node. The zero
// NodeID means that the node is not known.
type NodeID [driver.NodeLen]byte

// NodeIDOf returns the NodeID of the node with a name: the first bytes of its SHA-256.
func NodeIDOf(name string) NodeID {
	sum := sha256.Sum256([]byte(name))
	id := NodeID(sum[:])
	if id.IsZero() {
		id[0] = 1
	}
	return id
}

// IsZero reports whether the node is not known.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// String returns 12 hexadecimal digits.
func (n NodeID) String() string { return hex.EncodeToString(n[:]) }

// nodeOf returns the node that drew a token. Releases before 0.2 drew all of its bytes
// at random: that is then a node that nobody knows.
func nodeOf(t driver.Token) NodeID { return NodeID(t[:driver.NodeLen]) }

// Node returns the name of this node, see Options.Node.
func (c *Cache[K, V]) Node() string { return c.opts.Node }

// defaultNode returns the name of this process.
func defaultNode() string {
	host, err := os.Hostname()
	if err != nil || !validNode(host) {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// maxNode leaves room for a process id.
const maxNode = 128

func validNode(name string) bool {
	if name == "" || len(name) > maxNode {
		return false
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}
