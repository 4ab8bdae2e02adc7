// Command composecheck reads a Compose file as docker compose would and fails if
// that would refuse it.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/compose-spec/compose-go/v2/cli"
)

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
	o, err := cli.NewProjectOptions([]string{file}, cli.WithName("aside"))
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
	slices.Sort(names)
	fmt.Printf("%s: %v\n", file, names)
	return nil
}
