// Command composecheck reads Compose files as Docker Compose does, with its schema, and prints what they mean together as
// JSON. It is a module of its own: what it needs stays out of that of the programs.
//
//	go -C docker/composecheck run . ../docker-compose.yml receiver
//
// Words that do not end in .yml are profiles that are switched on.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "composecheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var files, profiles []string
	for _, arg := range args {
		if strings.HasSuffix(arg, ".yml") {
			files = append(files, arg)
		} else {
			profiles = append(profiles, arg)
		}
	}
	if len(files) == 0 {
		return fmt.Errorf("want a Compose file")
	}
	options, err := cli.NewProjectOptions(files, cli.WithProfiles(profiles), cli.WithResolvedPaths(false), cli.WithInterpolation(true))
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
