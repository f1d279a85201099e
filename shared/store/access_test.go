package store

import (
	"strings"
	"syscall"
	"testing"
)

// A service that may not write elsewhere meets a read-only file system, too.
func TestExplainAccess_Sandbox(t *testing.T) {
	const sandbox, disk = "ReadWritePaths=/srv/m to section [Service]", "mounted read-only"
	for _, c := range []struct{ state, path, want, not string }{
		{"", "/srv/m/metrics.db", disk, sandbox},
		{"/var/lib/belabox-metrics", "/srv/m/metrics.db", sandbox, disk},
		{"/var/lib/belabox-metrics", "/var/lib/belabox-metrics/metrics.db", disk, "ReadWritePaths"},
		{"/var/lib/belabox-metrics", "/var/lib/belabox-metrics/a/metrics.db", disk, "ReadWritePaths"},
	} {
		t.Setenv("STATE_DIRECTORY", c.state)
		got := ExplainAccess(c.path, syscall.EROFS).Error()
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s with state in %q: got %q, want %q and not %q", c.path, c.state, got, c.want, c.not)
		}
	}
}
