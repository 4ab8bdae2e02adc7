package redisl2

import (
	"strconv"
	"strings"
)

const slotCount = 16384

// slotOwners says which server has a slot, by a number.
type slotOwners [slotCount]int32

// readSlots reads clusterNodes.slots. What cannot be read is nobody's, 0.
func readSlots(slots string) *slotOwners {
	var o slotOwners
	n := int32(0)
	for line := range strings.Lines(slots) {
		n++
		for _, r := range strings.Fields(line)[2:] {
			from, to, ok := strings.Cut(r, "-")
			if !ok {
				to = from
			}
			first, err1 := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			if err1 != nil || err2 != nil || first < 0 || last >= slotCount {
				continue
			}
			for s := first; s <= last; s++ {
				o[s] = n
			}
		}
	}
	return &o
}

// Partition implements driver.Partitioned: the master of a cluster that the key's
// slot belonged to when the masters were asked last.
func (s *Store) Partition(key string) int {
	owners := s.topology.bySlot.Load()
	if owners == nil {
		return 0
	}
	return int(owners[slot(key)])
}

// slot is the cluster's hash slot of a key
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
func slot(key string) uint16 {
	if from := strings.IndexByte(key, '{'); from >= 0 {
		if n := strings.IndexByte(key[from+1:], '}'); n > 0 {
			key = key[from+1 : from+1+n]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return crc % slotCount
}

// crcTable is that of CRC-16/XMODEM.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()
