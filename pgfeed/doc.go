// Package pgfeed is the feed of changes of a PostgreSQL table, by logical replication.
package pgfeed
