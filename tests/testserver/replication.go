package testserver

import (
	"fmt"
	"net"
)

// ReplicaOf makes the server a replica of master, and returns when it is in step.
func (s *RedisServer) ReplicaOf(master *RedisServer) {
	s.t.Helper()
	s.replicaOf(master.Addr())
	s.InStep(master)
}

func (s *RedisServer) replicaOf(addr string) {
	s.t.Helper()
	host, port := hostPort(addr)
	s.Do("REPLICAOF", host, port)
}

// InStep returns when the server has what master has by now.
func (s *RedisServer) InStep(master *RedisServer) {
	s.t.Helper()
	var want string
	Eventually(s.t, startTimeout, fmt.Sprintf("%s is a replica in step with %s", s.Addr(), master.Addr()), func() bool {
		of, err := master.info("replication")
		if err != nil {
			return false
		}
		is, err := s.info("replication")
		if err != nil || is["role"] != "slave" || is["master_link_status"] != "up" || is["master_replid"] != of["master_replid"] {
			return false
		}
		if want == "" {
			want = of["master_repl_offset"]
		}
		return atLeast(is["slave_repl_offset"], want)
	})
}

// atLeast compares replication offsets.
func atLeast(offset, want string) bool {
	return len(offset) > len(want) || len(offset) == len(want) && offset >= want
}

// Detach breaks a replica's link to its master, and keeps it from being made
// again, until Attach: the replica lags from now on, and knows it. Its master
// must not ask for a password.
func (s *RedisServer) Detach() {
	s.t.Helper()
	s.Do("CONFIG", "SET", "masterauth", "no such password")
	s.Do("CLIENT", "KILL", "TYPE", "master")
	Eventually(s.t, startTimeout, s.Addr()+" has no link to its master", func() bool {
		is, err := s.info("replication")
		return err == nil && is["master_link_status"] == "down"
	})
}

// Attach ends Detach.
func (s *RedisServer) Attach() {
	s.t.Helper()
	s.Do("CONFIG", "SET", "masterauth", "")
}

func (s *RedisServer) isMaster() bool {
	is, err := s.info("replication")
	return err == nil && is["role"] == "master"
}

func hostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // addresses are our own
	}
	return host, port
}
