// Package ids chooses the records of a load. A [Workload] is a rule for the choice. Each run
// starts it from the beginning.
//
// With the same seed a stream makes the same choices in every run, and does not depend on
// other streams. Scan and Trace are exceptions: their streams share one list, and each
// entry is requested once, by any free user.
package ids
