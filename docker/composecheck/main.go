// Command composecheck reads a Compose file as Docker Compose does, with its schema, and prints what it means as JSON. It
// is a module of its own: what it needs stays out of that of the programs.
//
//	go -C docker/composecheck run . ../docker-compose.yml receiver
//
// The words behind the file are profiles that are switched on.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "composecheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want a Compose file")
	}
	options, err := cli.NewProjectOptions(args[:1], cli.WithProfiles(args[1:]), cli.WithResolvedPaths(false), cli.WithInterpolation(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(text, '\n'))
	return err
}
