// Package aside is cache-aside (read-through) for Go: a typed two-tier cache
// between an application and its primary database.
package aside
