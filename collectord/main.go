// Command collectord samples /proc and /sys and inserts into the database that
// shipperd ships from. It opens no outgoing connection.
package main

import (
	"os"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon"
)

func main() {
	os.Exit(program().Main(os.Args[1:], os.Stdout, os.Stderr))
}

func program() daemon.Program {
	return daemon.Program{
		Name:    "collectord",
		Summary: "sample this machine and store the samples for shipperd",
		Serve:   serve,
		Commands: []daemon.Command{
			{Name: "-once", Summary: "collect everything once, print it and exit; nothing is stored", Run: printOnce},
			daemon.Healthcheck(func(c config.Config) string { return c.Health.CollectordListen }),
		},
	}
}
