// Package ids chooses which records a load asks for: a [Workload] is a rule, and
// each run of it starts anew.
//
// With the same seed a stream makes the same choices in every run, whatever the
// other streams do. Scan and Trace are the exceptions: their streams share one
// list, so that each entry is asked for once, by whoever is free.
package ids
