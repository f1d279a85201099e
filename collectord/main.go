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
		Port:    port,
		Commands: []daemon.Command{
			{Name: "-once", Summary: "collect everything once, print it and exit; nothing is stored", Run: printOnce},
			daemon.Healthcheck(port),
		},
	}
}

// port is that of the health report and of the status page.
func port(c config.HealthConfig) (key, address string) {
	return "health.collectord_listen", c.CollectordListen
}
