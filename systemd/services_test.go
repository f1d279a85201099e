//go:build systemdtest

package systemd

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// services: collectord sees from its sandbox, which protects the control groups and hides the
// processes of others, whether a unit is up, since when, what it uses and that it was restarted.
func (m *machine) services(t *testing.T) {
	const unit = "tick.service"
	m.write("/etc/systemd/system/"+unit, "[Service]\nExecStart=/bin/sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exec sleep infinity'\n"+
		"CPUAccounting=yes\nMemoryAccounting=yes\n", 0o644)
	m.run("systemctl", "daemon-reload")
	want := func(what string, is func(v float64) error) {
		t.Helper()
		testkit.Eventually(t, testkit.WaitLimit, what, func() error { return is(m.newestOfService(what, unit)) })
	}
	equal := func(n float64) func(float64) error {
		return func(v float64) error {
			if v != n {
				return fmt.Errorf("got %v, want %v", v, n)
			}
			return nil
		}
	}
	started := func(v float64) error {
		shown := m.run("systemctl", "show", "-p", "ExecMainStartTimestamp", "--timestamp=unix", "--value", unit)
		at, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(shown), "@"), 64)
		if err != nil || math.Abs(v-at) > 1.1 { // whole seconds there
			return fmt.Errorf("got %.3f, systemd says %s", v, shown)
		}
		return nil
	}
	want("services.up", equal(0))
	m.run("systemctl", "start", unit)
	want("services.up", equal(1))
	want("services.restarts_total", equal(0))
	want("services.start_time_seconds", started)
	want("services.cpu_seconds_total", func(v float64) error {
		if v <= 0 {
			return fmt.Errorf("got %v", v)
		}
		return nil
	})
	m.run("systemctl", "restart", unit)
	want("services.restarts_total", equal(1))
	want("services.up", equal(1))
	want("services.start_time_seconds", started)
	m.run("systemctl", "stop", unit)
	want("services.up", equal(0))
	if up := m.newestOfService("services.up", "belabox-shipperd.service"); up != 1 {
		t.Errorf("a unit that a pattern matches: up is %v", up)
	}
}

// newestOfService is the last value of a unit's metric, -1 before the first.
func (m *machine) newestOfService(name, unit string) float64 {
	value := -1.0
	m.query(fmt.Sprintf(`SELECT value FROM metric_rows WHERE name = '%s' AND json_extract(tags, '$.service') = '%s'
		ORDER BY timestamp_ms DESC LIMIT 1`, name, unit), func(rows *sql.Rows) error { return rows.Scan(&value) })
	return value
}
