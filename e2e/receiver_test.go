package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"belabox-metrics/shared/testkit"
)

// newNamedRig is a device of that name; section remote is given whole.
func newNamedRig(t testing.TB, device, remote string) *rig {
	t.Helper()
	r := newRig(t, "", map[string]string{"device": "id: " + device, "remote": remote})
	r.device = device
	return r
}

// ship lets the devices sample for some ticks while they deliver, stops them, and delivers and
// proves the rest. What takes its time are the waits for the proof, so all do it at once.
func ship(t testing.TB, ticks int, meanwhile func(), rigs ...*rig) {
	t.Helper()
	var pairs []pair
	for _, r := range rigs {
		pairs = append(pairs, r.startBoth())
	}
	for i, n := range []int{ticks / 2, ticks} {
		if i == 1 {
			meanwhile()
		}
		for _, r := range rigs {
			testkit.Eventually(t, testkit.WaitLimit, fmt.Sprint(n, " ticks in the file and some of them uploaded"), func() bool {
				return r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows") >= n &&
					r.count("SELECT count(*) FROM metric_rows WHERE uploaded = 1") > 0
			})
		}
	}
	for k, r := range rigs {
		r.stopBoth(pairs[k])
	}
	var once []*testkit.Proc
	for _, r := range rigs {
		once = append(once, r.start(r.bins.Shipperd, "-once"))
	}
	for k, r := range rigs {
		if code := once[k].Wait(deliverLimit); code != 0 {
			t.Fatalf("%s: shipperd -once: exit code %d; its log:\n%s", r.device, code, tail(once[k].Stderr()))
		}
		if n := r.count("SELECT count(*) FROM upload_checkpoints WHERE state <> 'verified'"); n != 0 {
			t.Errorf("%s: %d chunks not verified", r.device, n)
		}
		r.checkFile()
	}
}

// arrived checks that the server has every sample of the file once.
func (r *rig) arrived(vm testkit.Client) {
	r.t.Helper()
	d := r.compare(vm)
	r.t.Logf("%s: %v", r.device, &d)
	if d.rows < 50 || !d.none() {
		r.t.Errorf("%s: file and server differ: %v\n%s", r.device, &d, d.few())
	}
}

// TestReceiver has the project's own receiver at the other end. It is killed in between, and every
// sample arrives once.
func TestReceiver(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	command := testkit.Command{
		Path: testkit.Binaries(t).Receiver, Args: []string{"-listen", addr, "-db", filepath.Join(t.TempDir(), "receiver.db")},
	}
	receiver := testkit.StartProc(t, command)
	r := newNamedRig(t, "kept", "url: http://"+addr+"/api/v1/import\nupload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s")
	ship(t, 6, func() {
		receiver.Kill()
		testkit.StartProc(t, command)
	}, r)

	exported, err := testkit.Client{BaseURL: "http://" + addr}.Export(`{device_id="kept"}`)
	if err != nil {
		t.Fatal(err)
	}
	have := map[sample]float64{}
	for _, s := range exported {
		for i, ts := range s.Timestamps {
			have[sample{s.Key(), ts}] = s.Values[i]
		}
	}
	rows := r.rows()
	for _, row := range rows {
		if got, ok := have[row.sample]; !ok || got != row.value {
			t.Errorf("%s at %d: got %v, %v, want %v", row.series, row.ts, got, ok, row.value)
		}
	}
	if len(have) != len(rows) || len(rows) < 50 {
		t.Errorf("%d samples at the receiver, %d in the file", len(have), len(rows))
	}
}
