package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// opMsgOf makes an OP_MSG of sections that are already encoded.
func opMsgOf(flags uint32, sections ...[]byte) message {
	body := bytes.Join(sections, nil)
	m := make(message, headerLen+4, headerLen+4+len(body))
	binary.LittleEndian.PutUint32(m, uint32(cap(m)))
	binary.LittleEndian.PutUint32(m[12:], opMsg)
	binary.LittleEndian.PutUint32(m[16:], flags)
	return append(m, body...)
}

// document is a section of kind 0 with {name: 1}.
func document(name string) []byte {
	elem := append([]byte{0x10}, name...)
	elem = append(elem, 0, 1, 0, 0, 0)
	doc := binary.LittleEndian.AppendUint32([]byte{0}, uint32(4+len(elem)+1))
	return append(append(doc, elem...), 0)
}

// sequence is a section of kind 1.
func sequence(name string) []byte {
	body := append([]byte(name), 0)
	s := binary.LittleEndian.AppendUint32([]byte{1}, uint32(4+len(body)))
	return append(s, body...)
}

func TestMessageWrites(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    message
		want bool
	}{
		{"find", opMsgOf(0, document("find")), false},
		{"update", opMsgOf(0, document("update")), true},
		{"update with documents after", opMsgOf(0, document("update"), sequence("updates")), true},
		{"update with documents before", opMsgOf(0, sequence("updates"), document("update")), true},
		{"findAndModify", opMsgOf(0, document("findAndModify")), true},
		{"cut short", opMsgOf(0, []byte{0, 1}), false},
		{"section longer than the message", opMsgOf(0, []byte{1, 255, 0, 0, 0, 0}), false},
		{"not OP_MSG", make(message, 64), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.m.writes(); got != tc.want {
				t.Errorf("writes() = %v, want %v", got, tc.want)
			}
		})
	}
	if m := opMsgOf(moreToCome, document("insert")); !m.unanswered() {
		t.Error("a message with moreToCome is waited for")
	}
}

func TestReadMessageRefusesImpossibleLengths(t *testing.T) {
	for _, n := range []uint32{0, 15, maxLen + 1} {
		b := binary.LittleEndian.AppendUint32(nil, n)
		b = append(b, make([]byte, 12)...)
		if m, err := readMessage(bytes.NewReader(b)); err == nil {
			t.Errorf("length %d: got a message of %d bytes", n, len(m))
		}
	}
}
