package redisl2

import (
	"net"
	"slices"
	"strings"
)

// clusterNodes is what one server of a cluster says in answer to CLUSTER NODES.
type clusterNodes struct {
	id      string              // its own
	slots   string              // a line for each owner: its id, its epoch and its slots
	owners  map[string][]string // the addresses of those who own slots, or are about to, by id
	moving  bool                // slots of this server are on their way to another
	masters []string            // the addresses of all masters, with slots or without
}

// readClusterNodes reads lines such as
//
//	<id> 10.0.0.1:6379@16379,name myself,master - 0 0 1 connected 0-99 200 [99->-<id>]
func readClusterNodes(text string) clusterNodes {
	a := clusterNodes{owners: map[string][]string{}}
	addrs := map[string][]string{}
	var table []string
	for line := range strings.Lines(strings.TrimPrefix(text, "txt:")) { // RESP3 says that it is text
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		id := f[0]
		addrs[id] = addresses(f[1])
		flags := strings.Split(f[2], ",")
		if slices.Contains(flags, "myself") {
			a.id = id
		}
		if slices.Contains(flags, "master") && !slices.Contains(flags, "fail") {
			a.masters = append(a.masters, addrs[id][0])
		}
		var owned []string
		for _, s := range f[8:] {
			if !strings.HasPrefix(s, "[") {
				owned = append(owned, s)
			} else if _, to, ok := strings.Cut(strings.TrimSuffix(s, "]"), "->-"); ok {
				a.moving = true
				a.owners[to] = nil
			}
		}
		if len(owned) > 0 {
			a.owners[id] = nil
			// The epoch grows with each slot that the owner takes over. Without it, slots that
			// went and came back between two looks would seem to have stayed.
			table = append(table, id+" "+f[6]+" "+strings.Join(owned, " "))
		}
	}
	for id := range a.owners {
		a.owners[id] = addrs[id]
	}
	slices.Sort(table)
	a.slots = strings.Join(table, "\n")
	return a
}

// ids are those of who owns slots, in the order of their numbers less one in what
// readSlots makes of slots.
func (a clusterNodes) ids() (ids []string) {
	for line := range strings.Lines(a.slots) {
		id, _, _ := strings.Cut(line, " ")
		ids = append(ids, id)
	}
	return ids
}

// addresses are those that clients may know a server by: its IP address, and its
// name where cluster-preferred-endpoint-type says so.
func addresses(s string) []string {
	addr, rest, _ := strings.Cut(s, "@")
	addrs := []string{addr}
	_, rest, _ = strings.Cut(rest, ",")
	name, _, _ := strings.Cut(rest, ",")
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		addrs[0] = net.JoinHostPort(addr[:i], addr[i+1:])
		if name != "" && !strings.Contains(name, "=") {
			addrs = append(addrs, net.JoinHostPort(name, addr[i+1:]))
		}
	}
	return addrs
}
