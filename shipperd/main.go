// Command shipperd ships the samples that collectord stores to VictoriaMetrics,
// reads them back, and prunes what is proven. It inserts no samples.
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
		Summary: "ship stored samples to VictoriaMetrics and prove that they arrived",
		Serve:   serve,
		Commands: []daemon.Command{
			{Name: "-once", Summary: "deliver what is pending, prove it, and exit: 0 only when nothing is left", Locked: true, Run: once},
			{Name: "status", Summary: "what the daemons do, and what became of all samples (-json)", Run: plainly("status", status)},
			{Name: "audit", Summary: "compare file and server sample by sample (-since 24h)", Run: plainly("audit", auditCommand)},
			{Name: "deadletter", Summary: "list what could not be delivered, or retry it", Run: plainly("deadletter", deadletter)},
			{Name: "doctor", Summary: "look for what keeps samples from being delivered, with the fix", Run: plainly("doctor", doctorCommand)},
			daemon.Healthcheck(func(c config.Config) string { return c.Health.ShipperdListen }),
		},
	}
}
