package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// sent is how many samples an announcement has: another node that comes too late for
	// one sees it in the next.
	sent = 3
	// maxUnpacked is the size of the largest announcement of another node, and maxTextSize
	// that of a text in it, in bytes.
	maxUnpacked = 16 << 10
	maxTextSize = 256
)

// announcement is what the nodes tell each other, as compressed JSON.
type announcement struct {
	Info    Info     `json:"info"`
	Count   uint64   `json:"count"`   // of the samples that it has taken: clocks may be set back
	Samples []Sample `json:"samples"` // the latest, the oldest first
}

// pack encodes a. Each node reads those of all others every second, so they are
// compressed: that makes a fifth of them.
func (a *announcement) pack() []byte {
	data, err := json.Marshal(a)
	if err != nil {
		panic("dashboard: " + err.Error()) // it has numbers and texts only
	}
	var b bytes.Buffer
	_ = flate.StatelessDeflate(&b, data, true, nil) // a Buffer has no errors
	return b.Bytes()
}

var errTooLarge = errors.New("dashboard: the announcement is too large")

// unpack is the reverse. It is safe for whatever somebody has written to Redis.
func unpack(packed []byte) (a announcement, err error) {
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxUnpacked+1))
	if err != nil {
		return a, err
	}
	if len(data) > maxUnpacked {
		return a, errTooLarge
	}
	return a, json.Unmarshal(data, &a)
}
