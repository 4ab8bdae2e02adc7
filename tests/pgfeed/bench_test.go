package pgfeed_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// BenchmarkCommitToNext measures from the acknowledged commit of one row to the return of
// Next, which includes the wait until every new snapshot sees it: on an idle server, beside
// writers of a table that is not published, beside those of one that is, and with
// synchronous_commit=off.
//
//	go test ./tests/pgfeed -run '^$' -bench CommitToNext -benchtime 3000x
func BenchmarkCommitToNext(b *testing.B) {
	for _, c := range []struct {
		name      string
		writers   int
		published string
		commit    string
	}{{"idle", 0, "", "on"}, {"busy", 8, "", "on"}, {"published", 8, ", busy", "on"}, {"asynchronous", 0, "", "off"}} {
		b.Run(c.name, func(b *testing.B) {
			pg := testserver.OwnPostgres(b, "fsync=on")
			pg.Exec(todos + "; INSERT INTO todos VALUES ('a', 'x', 0); CREATE TABLE busy (id int PRIMARY KEY, n int); " +
				"INSERT INTO busy SELECT g, 0 FROM generate_series(1, 10000) g")
			pg.Exec("CREATE PUBLICATION " + pg.Database() + " FOR TABLE todos (id, version)" + c.published)
			f, err := pgfeed.New(options(pg))
			if err != nil {
				b.Fatal(err)
			}
			s, err := f.Open(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			ctx, stop := context.WithCancel(b.Context())
			var work sync.WaitGroup
			defer work.Wait()
			defer stop()
			for range c.writers {
				conn := pg.Conn()
				work.Go(func() {
					for ctx.Err() == nil {
						_, _ = conn.Exec(context.Background(), fmt.Sprintf("UPDATE busy SET n = n + 1 WHERE id = %d", rand.IntN(10000)+1))
					}
				})
			}
			writer := pg.Conn()
			if _, err := writer.Exec(b.Context(), "SET synchronous_commit = "+c.commit); err != nil {
				b.Fatal(err)
			}
			told := make(chan time.Time, 1)
			work.Go(func() { follow(ctx, s, told) })
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				if err := update(b.Context(), writer, i+1); err != nil {
					b.Fatal(err)
				}
				acknowledged := time.Now()
				took = append(took, max(0, (<-told).Sub(acknowledged)))
				time.Sleep(500 * time.Microsecond) // so that nothing is under way
			}
			b.StopTimer()
			slices.Sort(took)
			at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "worst-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func update(ctx context.Context, c *pgx.Conn, version int) error {
	_, err := c.Exec(ctx, fmt.Sprintf("UPDATE todos SET version = %d", version))
	return err
}

func follow(ctx context.Context, s driver.Stream, told chan<- time.Time) {
	for {
		batch, err := s.Next(ctx)
		if err != nil {
			return
		}
		now := time.Now()
		if err := s.Handled(ctx, s.Position()); err != nil {
			return
		}
		if len(batch.Changes) > 0 {
			told <- now
		}
	}
}
