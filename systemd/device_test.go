//go:build systemdtest

package systemd

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

const (
	configPath   = "/etc/belabox-metrics/config.yaml"
	databasePath = "/var/lib/belabox-metrics/metrics.db"
	device       = "nspawn-1"
)

// quickConfig samples and ships every second to the packaged address, and proves
// as soon as it may.
const quickConfig = `# changed by the test
device: {id: ` + device + `}
collection: {interval: 1s}
remote:
  upload_interval: 1s
  verify: {delay: 15s}
`

// startQuick has a machine with the package, both daemons and a server working.
func startQuick(t *testing.T) (*machine, testkit.Client) {
	t.Helper()
	m := newMachine(t)
	vm := m.net.startVM(t)
	m.apt(oldVersion)
	m.write(configPath, quickConfig, 0o644)
	m.run("systemctl", "restart", unitFile("collectord"), unitFile("shipperd"))
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
	m.delivered(vm, 1)
	return m, vm
}

// ticks are the times of the ticks in the file, in milliseconds. The file is read
// as a person would, beside the daemons.
func (m *machine) ticks() (ms []int64) {
	m.t.Helper()
	m.query("SELECT DISTINCT timestamp_ms FROM metric_rows WHERE name = 'load.average_1m' ORDER BY 1", func(rows *sql.Rows) error {
		var at int64
		err := rows.Scan(&at)
		ms = append(ms, at)
		return err
	})
	return ms
}

func (m *machine) query(text string, scan func(*sql.Rows) error) {
	m.t.Helper()
	storetest.Query(m.t, m.path(databasePath), text, scan)
}

// texts is a query whose rows are one text each.
func (m *machine) texts(text string) (all []string) {
	m.t.Helper()
	m.query(text, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		all = append(all, s)
		return err
	})
	return all
}

// delivered waits until the server has so many ticks more than before.
func (m *machine) delivered(vm testkit.Client, more int) {
	m.t.Helper()
	before := -1
	testkit.Eventually(m.t, testkit.WaitLimit, fmt.Sprintf("%d ticks more at the server", more), func() error {
		got, err := vm.Export(`{__name__="load_average_1m"}`)
		if err != nil {
			return err
		}
		n := 0
		for _, s := range got {
			n += len(s.Timestamps)
		}
		if before < 0 {
			before = n
		}
		if n < before+more {
			return fmt.Errorf("%d, and %d at first", n, before)
		}
		return nil
	})
}

// settle stops the sampling and waits until nothing is owed. Then it compares file
// and server: each number in the file is there exactly once and nothing else is.
// Values are compared by the program's own audit alone.
func (m *machine) settle(vm testkit.Client) {
	m.t.Helper()
	m.run("systemctl", "stop", unitFile("collectord"))
	const owed = `SELECT count(*) FROM metrics WHERE uploaded = 0
		UNION ALL SELECT count(*) FROM upload_checkpoints WHERE state IN ('sending', 'accepted')`
	testkit.Eventually(m.t, 2*testkit.WaitLimit, "everything to be verified", func() error {
		if got := m.texts(owed); !slices.Equal(got, []string{"0", "0"}) {
			return fmt.Errorf("rows and chunks still owed: %v", got)
		}
		return nil
	})
	if err := vm.ForceFlush(); err != nil {
		m.t.Fatal(err)
	}
	got, err := vm.Export(fmt.Sprintf("{device_id=%q}", device))
	if err != nil {
		m.t.Fatal(err)
	}
	type sample struct {
		name string
		at   int64
	}
	counts := map[sample]int{} // of all series of the name; a copy makes it differ
	for _, s := range got {
		for i, at := range s.Timestamps {
			if i > 0 && at == s.Timestamps[i-1] {
				m.t.Errorf("%s at %d is there more than once", s.Key(), at)
			}
			counts[sample{s.Metric["__name__"], at}]++
		}
	}
	rows := 0
	m.query("SELECT name, timestamp_ms, count(*) FROM metric_rows WHERE value_type = 0 AND device_id = '"+device+"' GROUP BY 1, 2", func(r *sql.Rows) error {
		var s sample
		var n int
		if err := r.Scan(&s.name, &s.at, &n); err != nil {
			return err
		}
		rows += n
		s.name = strings.ReplaceAll(s.name, ".", "_")
		if counts[s] != n {
			m.t.Errorf("%s at %d: %d in the file, %d at the server", s.name, s.at, n, counts[s])
		}
		delete(counts, s)
		return nil
	})
	for s, n := range counts {
		m.t.Errorf("%s at %d: %d at the server, none in the file", s.name, s.at, n)
	}
	if verdict := m.texts("PRAGMA integrity_check"); !slices.Equal(verdict, []string{"ok"}) {
		m.t.Errorf("integrity check: %q", verdict)
	}
	out, err := m.try("runuser", "-u", "metrics", "--", "belabox-shipperd", "-config", configPath, "audit")
	if err != nil {
		m.t.Errorf("audit: %v\n%s", err, out)
	}
	m.t.Logf("%d samples in the file, each at the server exactly once", rows)
}
