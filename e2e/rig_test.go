// Package e2e runs the built binaries against a real VictoriaMetrics and
// compares what is in the file with what the server has.
//
// It promises that the programs are the ones a user gets, started, stopped and
// killed as a user's are, and that what was delivered is judged by names and counts
// which are worked out here once more. Its long tests have a short form here and
// targets of their own: make crash, make powercut, make soak, make fronts.
package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

// rig is one device: a database, a configuration, the two daemons.
type rig struct {
	t      testing.TB
	bins   testkit.Bins
	dir    string
	config string
	db     string
	device string
}

// newRig writes a configuration that ships to importURL. extra is YAML that is
// appended section by section.
func newRig(t testing.TB, importURL string, extra map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, bins: testkit.Binaries(t), dir: t.TempDir(), device: "e2e-" + strings.ToLower(filepath.Base(t.Name()))}
	r.config, r.db = filepath.Join(r.dir, "config.yaml"), filepath.Join(r.dir, "metrics.db")
	sections := map[string]string{
		"device": "id: " + r.device,
		// Other tests mount and unmount: a series of such a mount that ends has no later sample, so
		// what the server lost of it waits for two hours.
		"collection": "interval: 1s\ncollectors:\n  filesystem: {enabled: false}",
		"storage":    "path: " + r.db,
		"remote":     "url: " + importURL + "\nupload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s",
		"health":     "collectord_listen: 127.0.0.1:0\nshipperd_listen: 127.0.0.1:0",
		"logging":    "level: debug",
	}
	maps.Copy(sections, extra)
	var b strings.Builder
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		fmt.Fprintf(&b, "%s:\n", section)
		for line := range strings.Lines(sections[section]) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if err := os.WriteFile(r.config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) start(bin string, args ...string) *testkit.Proc {
	r.t.Helper()
	return testkit.StartProc(r.t, testkit.Command{Path: bin, Args: append([]string{"-config", r.config}, args...)})
}

// sample is what the server tells samples apart by.
type sample struct {
	series string // as the server should name it
	ts     int64
}

// row is one sample of the file.
type row struct {
	sample
	value float64
}

// query reads the file as a person would, beside the daemons.
func (r *rig) query(text string, scan func(*sql.Rows) error) {
	r.t.Helper()
	storetest.Query(r.t, r.db, text, scan)
}

func (r *rig) count(text string) (n int) {
	r.t.Helper()
	r.query(text, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n
}

// rows returns every number in the file, named as the server should name it.
// The naming is written here once more, not taken from the code under test.
func (r *rig) rows() (all []row) {
	r.t.Helper()
	names := map[[3]string]string{}
	r.query("SELECT device_id, name, tags, timestamp_ms, value FROM metric_rows WHERE value_type = 0", func(rows *sql.Rows) error {
		var id [3]string // device, name, tags
		var s row
		if err := rows.Scan(&id[0], &id[1], &id[2], &s.ts, &s.value); err != nil {
			return err
		}
		if names[id] == "" {
			name, err := serverName(id[0], id[1], id[2])
			if err != nil {
				return err
			}
			names[id] = name
		}
		s.series = names[id]
		all = append(all, s)
		return nil
	})
	return all
}

func serverName(device, name, tags string) (string, error) {
	labels := map[string]string{}
	if err := json.Unmarshal([]byte(tags), &labels); err != nil {
		return "", err
	}
	for k, v := range labels {
		if v == "" {
			delete(labels, k) // an empty label is no label in Prometheus' model
		}
	}
	labels["__name__"], labels["device_id"] = strings.ReplaceAll(name, ".", "_"), device
	return testkit.SeriesKey(labels), nil
}

// difference compares the file with everything the server has of the device.
type difference struct {
	rows, missing, doubled, wrong, extra int

	faults []string // each of them, in words
}

func (d *difference) none() bool { return d.missing+d.doubled+d.wrong+d.extra == 0 }

// few are the first of the faults, for a log.
func (d *difference) few() string {
	return strings.Join(d.faults[:min(20, len(d.faults))], "\n")
}

func (d *difference) fault(count *int, what string, key sample) {
	*count++
	d.faults = append(d.faults, fmt.Sprintf("%s at %d: %s", key.series, key.ts, what))
}

func (d *difference) String() string {
	return fmt.Sprintf("%d rows in the file: %d missing at the server, %d there more than once, %d with another value; %d at the server are not in the file",
		d.rows, d.missing, d.doubled, d.wrong, d.extra)
}

func (r *rig) compare(vm testkit.Client) difference {
	r.t.Helper()
	return r.compareRows(vm, r.rows())
}

// compareRows compares rows that are or were in the file.
func (r *rig) compareRows(vm testkit.Client, rows []row) difference {
	r.t.Helper()
	if err := vm.ForceFlush(); err != nil {
		r.t.Fatal(err)
	}
	exported, err := vm.Export(fmt.Sprintf("{device_id=%q}", r.device))
	if err != nil {
		r.t.Fatal(err)
	}
	have := map[sample][]float64{}
	for _, s := range exported {
		name := s.Key()
		for i, ts := range s.Timestamps {
			key := sample{name, ts}
			have[key] = append(have[key], s.Values[i])
		}
	}
	var d difference
	for _, want := range rows {
		d.rows++
		got := have[want.sample]
		switch {
		case len(got) == 0:
			d.fault(&d.missing, "missing", want.sample)
		case len(got) > 1:
			d.fault(&d.doubled, fmt.Sprintf("values %v instead of %v", got, want.value), want.sample)
		case math.Abs(got[0]-want.value) > 1e-11*max(1, math.Abs(want.value)): // the server keeps 12 to 15 digits
			d.fault(&d.wrong, fmt.Sprintf("value %v instead of %v", got[0], want.value), want.sample)
		}
		delete(have, want.sample)
	}
	for key, got := range have {
		d.fault(&d.extra, fmt.Sprintf("values %v, not in the file", got), key)
	}
	slices.Sort(d.faults)
	return d
}

// stopDaemon ends a daemon as systemd does.
func (r *rig) stopDaemon(p *testkit.Proc) {
	r.t.Helper()
	if code := p.Stop(testkit.WaitLimit); code != 0 {
		r.t.Errorf("exit code %d, want 0; its log:\n%s", code, tail(p.Stderr()))
	}
}

// deliverLimit bounds deliver: a sample that the server has lost is sent again and
// read back again.
const deliverLimit = 5 * time.Minute

// deliver runs "shipperd -once", which ends when all samples are delivered and
// verified, and returns its log. Where it ends because the last samples do not show,
// collectord samples on for a moment: nothing is sent again without a witness. It also
// ends where a busy server has not answered its reads.
func (r *rig) deliver(limit time.Duration) (log string) {
	r.t.Helper()
	for tries := 0; ; tries++ {
		once := r.start(r.bins.Shipperd, "-once")
		code := once.Wait(limit)
		log += once.Stderr()
		switch {
		case code == 0:
			return log
		case tries == 3 || !strings.Contains(once.Stderr(), "the server does not show what was sent") &&
			!strings.Contains(once.Stderr(), "accepted but not proven"):
			r.t.Errorf("shipperd -once: exit code %d; its log:\n%s", code, tail(once.Stderr()))
			return log
		}
		collectord := r.start(r.bins.Collectord)
		r.goOn()
		r.stopDaemon(collectord)
	}
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// goOn returns when each series has a new sample: those that are sampled once a minute, and those
// that need two readings. What the server has lost of a series shows by what was sent of it later.
func (r *rig) goOn() {
	r.t.Helper()
	// The last one is there where a check of the clock has succeeded, and again after the next one.
	const names = "SELECT count(DISTINCT name) FROM metric_rows WHERE name IN ('agent.panics_total', 'cpu.usage_percent', 'time.skew_ms') AND timestamp_ms > %d"
	want, text := r.count(fmt.Sprintf(names, 0)), fmt.Sprintf(names, time.Now().UnixMilli())
	testkit.Eventually(r.t, testkit.WaitLimit, "a minute to end", func() bool { return r.count(text) >= max(2, want) })
}
