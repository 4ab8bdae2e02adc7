package mongofeed

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/driver"
)

// positionFormat is the first byte of a Position.
const positionFormat = 1

// position is a place in a change stream, and what is needed to know its collection
// again: a resume token alone is accepted by another cluster too.
type position struct {
	NS   string `bson:"ns"`
	UUID []byte `bson:"uuid,omitempty"` // of the collection; nil: there was none
	// Time is that of the last event, or of the opening. All before it was told.
	Time  bson.Timestamp `bson:"time"`
	Token bson.Raw       `bson:"token"`
}

func (p position) encode() driver.Position {
	b, err := bson.Marshal(p)
	if err != nil { // A token that the server has sent is a valid document.
		panic(fmt.Sprintf("mongofeed: position: %v", err))
	}
	return append(driver.Position{positionFormat}, b...)
}

func decodePosition(b driver.Position) (p position, err error) {
	if len(b) == 0 || b[0] != positionFormat {
		return p, errors.New("the position is not one of mongofeed, or of a newer version of it")
	}
	if err := bson.Unmarshal(b[1:], &p); err != nil {
		return p, fmt.Errorf("the position is damaged: %w", err)
	}
	if len(p.Token) == 0 || p.NS == "" {
		return p, errors.New("the position is damaged: it has no token")
	}
	return p, nil
}
