// Command ferretdb is FerretDB, a server that speaks MongoDB's wire protocol,
// as tests and benchmarks of aside use it where no MongoDB is at hand: on SQLite
// for throw-away databases, on PostgreSQL where an index has to be really used.
//
// It prints its connection string on one line once it listens, and ends on
// SIGTERM, on SIGINT, or with -die-with-parent when its standard input closes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "TCP address to listen on")
	dir := flag.String("dir", "", "directory of the SQLite databases; by default a temporary one, removed at the end")
	postgres := flag.String("postgres", "", "PostgreSQL connection string; used in place of SQLite")
	dieWithParent := flag.Bool("die-with-parent", false, "end when standard input closes")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *dieWithParent {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	if err := run(ctx, *listen, *dir, *postgres); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, dir, postgres string) error {
	if postgres != "" && dir != "" {
		return errors.New("give -dir or -postgres, not both")
	}
	tmp, err := os.MkdirTemp("", "ferretdb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	socket := filepath.Join(tmp, "ferretdb.sock")
	config := &ferretdb.Config{
		Listener: ferretdb.ListenerConfig{Unix: socket},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	switch {
	case postgres != "":
		config.Handler, config.PostgreSQLURL = "postgresql", postgres
	case dir != "":
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		config.Handler, config.SQLiteURL = "sqlite", "file:"+filepath.ToSlash(abs)+"/"
	default:
		// Nobody reads these databases after a crash, so nothing waits for the disk.
		config.Handler, config.SQLiteURL = "sqlite", "file:"+filepath.ToSlash(tmp)+"/?_pragma=synchronous(off)"
	}

	db, err := ferretdb.New(config)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer l.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	go func() { done <- db.Run(ctx) }()
	go func() { done <- (&front{socket: socket}).serve(l) }()
	db.MongoDBURI() // returns once db listens
	fmt.Printf("mongodb://%s/?directConnection=true\n", l.Addr())
	return <-done
}
