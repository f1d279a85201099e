package testkit

import (
	"strconv"
	"testing"
)

// VMConfig is what a test may want different from a stock server.
type VMConfig struct {
	Flags []string // further flags: "-dedup.minScrapeInterval=1ms"
	Dir   string   // its data; "" is a directory that ends with the test
}

// VM is a real VictoriaMetrics on a loopback port. Export, Query and the other
// methods of Client ask it. A kill costs it what it has answered 204 to in the
// last ten seconds.
type VM struct{ *server }

// StartVM starts VictoriaMetrics, Debian's package of it, and returns when it
// answers. The server is killed when the test ends.
func StartVM(t testing.TB, cfg VMConfig) *VM {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	args := append([]string{"-storageDataPath=" + cfg.Dir}, cfg.Flags...)
	return &VM{startServer(t, "victoria-metrics", "-storageDataPath="+strconv.Quote(cfg.Dir), args...)}
}
