// Command composecheck reads a Compose file as docker compose would. It fails if that
// would refuse it, if a service lacks a health check or can be reached from another
// machine, and if its Redis and PostgreSQL do not run as the documentation asks for.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/docker/go-units"
)

// leastMemory, in bytes, is room for a trial: records, and what Redis remembers of who reads them.
const leastMemory = 256 << 20

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: composecheck FILE")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "composecheck: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func check(file string) error {
	ctx := context.Background()
	o, err := cli.NewProjectOptions([]string{file}, cli.WithName("aside"), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	project, err := o.LoadProject(ctx)
	if err != nil {
		return err
	}
	names := project.ServiceNames()
	if len(names) == 0 {
		return fmt.Errorf("no services")
	}
	for name, service := range project.Services {
		if service.HealthCheck == nil {
			return fmt.Errorf("service %s has no healthcheck", name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				return fmt.Errorf("service %s publishes port %s on %q, not on 127.0.0.1 alone", name, port.Published, port.HostIP)
			}
		}
	}
	redis, ok := project.Services["redis"]
	if !ok {
		return fmt.Errorf("no service redis")
	}
	if err := checkRedis(redis.Command); err != nil {
		return fmt.Errorf("service redis: %w", err)
	}
	postgres, ok := project.Services["postgres"]
	if !ok {
		return fmt.Errorf("no service postgres")
	}
	if !slices.Contains(postgres.Profiles, "postgres") {
		return fmt.Errorf("service postgres: want the profile postgres, have %q: one database is enough for a trial", postgres.Profiles)
	}
	if err := checkPostgres(postgres.Command); err != nil {
		return fmt.Errorf("service postgres: %w", err)
	}
	slices.Sort(names)
	fmt.Printf("%s: %v\n", file, names)
	return nil
}

// checkRedis reads the arguments of redis-server. An eviction takes fences away, and L1
// with them, so there must be none, and room for what the trial stores.
func checkRedis(command []string) error {
	option := map[string]string{}
	for i, arg := range command[:max(len(command)-1, 0)] {
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			option[name] = command[i+1]
		}
	}
	if policy := option["maxmemory-policy"]; policy != "noeviction" {
		return fmt.Errorf("want --maxmemory-policy noeviction, have %q", policy)
	}
	// Redis' own default is no limit at all: on somebody's machine there should be one.
	memory, err := units.RAMInBytes(option["maxmemory"])
	if err != nil {
		return fmt.Errorf("want --maxmemory SIZE, such as 1gb, have %q", option["maxmemory"])
	}
	if memory < leastMemory {
		return fmt.Errorf("want --maxmemory of %s at least, have %q", units.BytesSize(leastMemory), option["maxmemory"])
	}
	return nil
}

// checkPostgres reads the arguments of postgres. A feed needs the logical log, and a feed
// that is gone must not fill the disk.
func checkPostgres(command []string) error {
	setting := map[string]string{}
	for i, arg := range command[:max(len(command)-1, 0)] {
		if name, value, ok := strings.Cut(command[i+1], "="); ok && arg == "-c" {
			setting[name] = value
		}
	}
	if level := setting["wal_level"]; level != "logical" {
		return fmt.Errorf("want -c wal_level=logical, have %q", level)
	}
	// PostgreSQL's own default, -1, is no limit.
	if size, err := units.RAMInBytes(setting["max_slot_wal_keep_size"]); err != nil || size <= 0 {
		return fmt.Errorf("want -c max_slot_wal_keep_size=SIZE, such as 1GB, have %q", setting["max_slot_wal_keep_size"])
	}
	return nil
}
