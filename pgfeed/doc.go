// Package pgfeed tells a cache of the changes of a PostgreSQL table that were made without
// it: by psql, a migration, another service. It follows the server's own log by logical
// replication (pgoutput), and needs PostgreSQL 15 or later with wal_level=logical.
//
// A Feed is for one table and for Options.Feed of one cache. It makes what it needs when it
// is opened: a publication of the table, and two replication slots. The first slot is
// confirmed at once, so that a server that shuts down never waits for the feed. The second
// one follows Options.KeepFor behind, and is how a stream goes back to a position that was
// handled already. Drop removes all three.
//
// What a stream does not tell one by one, it tells as "everything may have changed": a
// TRUNCATE, a transaction of more than Options.MaxChanges records, and what ALTER TABLE,
// ATTACH and DETACH PARTITION do to rows, which is not in the log. The stream looks for the
// latter once a second.
//
// A change is told when every new snapshot sees it. The log has a commit a little before
// others see it: a cache that loaded the record in between would keep the old one.
//
// A position is refused with driver.ErrGap if the log cannot go on there: a slot was dropped
// or lost, the publication, the table or its replica identity was replaced, the server was
// promoted or restored from a backup.
package pgfeed
