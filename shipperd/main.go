// Command shipperd ships the samples that collectord stores to VictoriaMetrics,
// reads them back, and prunes verified samples. It inserts no samples.
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
		Name:    "shipperd",
		Summary: "deliver the stored samples to VictoriaMetrics and verify them",
		Serve:   serve,
		Port:    port,
		Commands: []daemon.Command{
			{Name: "-once", Summary: "deliver what is pending, verify it and exit: 0 only if nothing is left", Locked: true, Run: once},
			{Name: "status", Summary: "show the daemons, pending samples and the ledger (-json)", Run: plainly("status", status)},
			{Name: "audit", Summary: "compare the file with the server, sample by sample (-since 24h)", Run: plainly("audit", auditCommand)},
			{Name: "deadletter", Summary: "list samples that could not be delivered, or retry them", Run: plainly("deadletter", deadletter)},
			{Name: "doctor", Summary: "find out why samples are not delivered, and print the remedy", Run: plainly("doctor", doctorCommand)},
			daemon.Healthcheck(port),
		},
	}
}

// port is that of the health report and of the status page.
func port(c config.HealthConfig) (key, address string) {
	return "health.shipperd_listen", c.ShipperdListen
}
