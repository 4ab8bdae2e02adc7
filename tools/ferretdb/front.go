package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// front stands between clients and FerretDB and lets one write command through
// at a time.
//
// MongoDB's update, delete and findAndModify of one document are atomic.
// FerretDB 1.24 reads the documents that match and then writes them by _id in
// another transaction, so of two updates that ask for {version: 1} both succeed
// and one is lost. What is tested against this server relies on the real one's
// promise, hence the queue.
type front struct {
	socket string
	writes sync.Mutex
}

func (f *front) serve(l net.Listener) error {
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("unix", f.socket)
			if err != nil {
				return
			}
			defer server.Close()
			_ = f.relay(client, server) // either side is gone; the client will see it
		}()
	}
}

// relay forwards requests and their replies, one after the other: a driver sends
// nothing on a connection while it waits for a reply.
func (f *front) relay(client, server net.Conn) error {
	for {
		request, err := readMessage(client)
		if err != nil {
			return err
		}
		reply, err := f.exchange(server, request)
		if err != nil {
			return err
		}
		if _, err := client.Write(reply); err != nil {
			return err
		}
	}
}

func (f *front) exchange(server net.Conn, request message) (message, error) {
	if request.writes() {
		f.writes.Lock()
		defer f.writes.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	if request.unanswered() {
		return nil, nil
	}
	return readMessage(server)
}

// message is one message of MongoDB's wire protocol with its header.
// https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
type message []byte

const (
	headerLen  = 16
	maxLen     = 48_000_000
	opMsg      = 2013
	moreToCome = 1 << 1
)

func readMessage(r io.Reader) (message, error) {
	var header [headerLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n < headerLen || n > maxLen {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	m := make(message, n)
	copy(m, header[:])
	if _, err := io.ReadFull(r, m[headerLen:]); err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return m, nil
}

func (m message) opMsg() bool {
	return len(m) > headerLen+4 && binary.LittleEndian.Uint32(m[12:]) == opMsg
}

func (m message) unanswered() bool {
	return m.opMsg() && binary.LittleEndian.Uint32(m[headerLen:])&moreToCome != 0
}

// writes reports whether the command, the name of its document's first element,
// changes data.
func (m message) writes() bool {
	if !m.opMsg() {
		return false
	}
	switch m.command() {
	case "insert", "update", "delete", "findAndModify", "findandmodify", "drop", "dropDatabase",
		"create", "createIndexes", "dropIndexes":
		return true
	}
	return false
}

// command finds the section of kind 0, the command's document, behind sections
// of kind 1, the documents it writes, which may stand before it.
func (m message) command() string {
	rest := m[headerLen+4:]
	for len(rest) > 5 {
		kind := rest[0]
		size := int(binary.LittleEndian.Uint32(rest[1:]))
		if kind == 0 {
			return cstring(rest[1+4+1:])
		}
		if size < 4 || 1+size > len(rest) {
			return ""
		}
		rest = rest[1+size:]
	}
	return ""
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return ""
}
