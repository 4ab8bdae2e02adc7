package pgfeed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/asidecache/aside/driver"
)

// position is a place in the log of one server.
type position struct {
	system   uint64 // identifier of the server's files
	timeline uint32 // another one after a promotion
	lsn      pglogrepl.LSN
	// last is the transaction that was told last before lsn; zero if there was none. The
	// log of a server that was restored from a backup does not have it.
	last mark
	// defined is a digest of what the feed relies on: the table, its replica identity, the
	// publication, the slot.
	defined uint64
	// handled is what had been handled before, and when.
	handled trail
}

// mark identifies a transaction.
type mark struct {
	end  pglogrepl.LSN // behind its commit
	xid  uint32
	time int64 // of the commit, in microseconds since 1970
}

func markOf(end pglogrepl.LSN, xid uint32, committed time.Time) mark {
	return mark{end, xid, committed.UnixMicro()}
}

const (
	positionFormat = 1
	positionLen    = 1 + 8 + 4 + 8 + 8 + 4 + 8 + 8 + len(trail{})*16
)

func (p position) encode() driver.Position {
	b := make([]byte, 0, positionLen)
	b = append(b, positionFormat)
	b = binary.BigEndian.AppendUint64(b, p.system)
	b = binary.BigEndian.AppendUint32(b, p.timeline)
	b = binary.BigEndian.AppendUint64(b, uint64(p.lsn))
	b = binary.BigEndian.AppendUint64(b, uint64(p.last.end))
	b = binary.BigEndian.AppendUint32(b, p.last.xid)
	b = binary.BigEndian.AppendUint64(b, uint64(p.last.time))
	b = binary.BigEndian.AppendUint64(b, p.defined)
	for _, h := range p.handled {
		b = binary.BigEndian.AppendUint64(b, uint64(h.at))
		b = binary.BigEndian.AppendUint64(b, uint64(h.lsn))
	}
	return b
}

var errPosition = errors.New("pgfeed: this is not a position of this feed")

func decodePosition(b driver.Position) (p position, err error) {
	if len(b) != positionLen || b[0] != positionFormat {
		return p, errPosition
	}
	p.system = binary.BigEndian.Uint64(b[1:])
	p.timeline = binary.BigEndian.Uint32(b[9:])
	p.lsn = pglogrepl.LSN(binary.BigEndian.Uint64(b[13:]))
	p.last.end = pglogrepl.LSN(binary.BigEndian.Uint64(b[21:]))
	p.last.xid = binary.BigEndian.Uint32(b[29:])
	p.last.time = int64(binary.BigEndian.Uint64(b[33:]))
	p.defined = binary.BigEndian.Uint64(b[41:])
	for i := range p.handled {
		b := b[49+16*i:]
		p.handled[i] = handledTime{int64(binary.BigEndian.Uint64(b)), pglogrepl.LSN(binary.BigEndian.Uint64(b[8:]))}
	}
	return p, nil
}

// gap is an error that matches driver.ErrGap.
func gap(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{driver.ErrGap}, args...)...)
}
