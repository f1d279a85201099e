package e2e

import (
	"testing"

	"belabox-metrics/shared/testkit"
)

// TestMainJob is the product in one test: both binaries run for at least ten
// ticks on this machine's /proc and a stock VictoriaMetrics, are stopped in
// order, and every row of the file is at the server exactly once.
func TestMainJob(t *testing.T) {
	t.Parallel()
	mainJob(t, newRig)
}

// TestMainJob_Node does it with the names of node_exporter.
func TestMainJob_Node(t *testing.T) {
	t.Parallel()
	r := mainJob(t, func(t testing.TB, importURL string, sections map[string]string) *rig {
		r := newRig(t, importURL, sections)
		r.set("collection", "node_exporter: {enabled: true}")
		return r
	})
	if n := r.count("SELECT count(*) FROM series WHERE name LIKE 'node~_%' ESCAPE '~'"); n < 100 {
		t.Errorf("%d series of node_exporter", n)
	}
	ups := r.count(`SELECT count(*) FROM metric_rows WHERE name = 'up' AND value = 1 AND tags ->> 'job' = 'node' AND tags ->> 'instance' = '` + r.device + `:9100'`)
	if ticks := r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows WHERE name = 'load.average_1m'"); ups != ticks {
		t.Errorf("up in %d of %d ticks", ups, ticks)
	}
}

func mainJob(t *testing.T, newRig func(testing.TB, string, map[string]string) *rig) *rig {
	t.Helper()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)

	p := r.startBoth()
	testkit.Eventually(t, testkit.WaitLimit, "12 ticks in the file and some of them uploaded", func() bool {
		return r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows") >= 12 &&
			r.count("SELECT count(*) FROM metric_rows WHERE uploaded = 1") > 0
	})
	r.stopBoth(p)
	if n := r.count("SELECT count(*) FROM sessions WHERE clean = 1 AND ended_ms >= started_ms"); n != 2 {
		t.Errorf("%d clean sessions, want 2", n)
	}

	r.deliver(deliverLimit)
	if n := r.count("SELECT count(*) FROM metric_rows WHERE uploaded = 0"); n != 0 {
		t.Errorf("%d rows still pending after shipperd -once", n)
	}
	if n := r.count("SELECT count(*) FROM upload_checkpoints WHERE state <> 'verified'"); n != 0 {
		t.Errorf("%d chunks not verified after shipperd -once", n)
	}
	d := r.compare(vm.Client)
	t.Log(&d, "in", r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows"), "ticks and",
		r.count("SELECT count(*) FROM upload_checkpoints"), "chunks")
	if d.rows < 100 || !d.none() {
		t.Errorf("file and server differ: %v\n%s", &d, d.few())
	}
	r.checkFile()
	return r
}
