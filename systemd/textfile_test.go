//go:build systemdtest

package systemd

import (
	"database/sql"
	"testing"

	"belabox-metrics/shared/testkit"
)

// textfile: a user in the group belabox-textfile leaves a file that nobody else may read, and
// collectord samples it from its sandbox.
func (m *machine) textfile(t *testing.T) {
	m.run("useradd", "--groups", "belabox-textfile", "writer")
	m.run("runuser", "-u", "writer", "--", "sh", "-c", `umask 027 && cd /run/belabox-metrics-textfile &&
		echo 'written_by_another 42' >.some && mv .some some.prom`)
	testkit.Eventually(t, testkit.WaitLimit, "a sample of the file", func() bool {
		value := 0.0
		m.query("SELECT value FROM metric_rows WHERE name = 'written_by_another'", func(rows *sql.Rows) error { return rows.Scan(&value) })
		return value == 42
	})
}
