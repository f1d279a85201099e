package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// writeTextfile puts a file in its place as other programs should.
func writeTextfile(dir, name, text string) error {
	draft := filepath.Join(dir, "."+name)
	if err := os.WriteFile(draft, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, filepath.Join(dir, name))
}

// TestTextfile: samples of a file are delivered exactly once, without timestamps, and with those
// that lie hours back among what was delivered long ago; also if both daemons are killed, and the
// file is read again or written anew meanwhile.
func TestTextfile(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	dir := t.TempDir()
	r := newRig(t, vm.URL()+"/api/v1/import", map[string]string{
		"collection": "interval: 1s\ncollectors:\n  filesystem: {enabled: false}\ntextfile:\n  directory: " + dir,
	})
	now := time.Now().Truncate(time.Second)
	r.seed(now.Add(-3*time.Hour), 90, time.Minute)

	start := func() (collectord, shipperd *testkit.Proc) {
		collectord, shipperd = r.start(r.bins.Collectord), r.start(r.bins.Shipperd)
		collectord.WaitLine(testkit.WaitLimit, "collectord started")
		return collectord, shipperd
	}
	rows := func(name, more string) int {
		return r.count("SELECT count(*) FROM metric_rows WHERE name = '" + name + "' AND " + more)
	}
	collectord, shipperd := start()
	testkit.Eventually(t, testkit.WaitLimit, "the rows of three hours ago to be verified", func() bool {
		return rows("seed", "uploaded = 1") == 90 && r.count("SELECT count(*) FROM upload_checkpoints WHERE state = 'verified'") > 0
	})

	var text strings.Builder
	text.WriteString("# HELP dated Something\n# TYPE dated gauge\n")
	write := func(at ...time.Duration) {
		t.Helper()
		for _, d := range at {
			fmt.Fprintf(&text, "dated{site=\"a\",device_id=\"b\"} %d %d\n", text.Len(), now.Add(d).UnixMilli())
		}
		if err := writeTextfile(dir, "some.prom", text.String()+"plain_byte{le=\"+Inf\"} 5\n"); err != nil {
			t.Fatal(err)
		}
	}
	// Among the old rows, in the same millisecond as one of them, behind them, just now; and too
	// old.
	write(-170*time.Minute+7*time.Millisecond, -150*time.Minute, -65*time.Minute, -2*time.Second, -100*time.Hour)
	testkit.Eventually(t, testkit.WaitLimit, "the file to be stored", func() bool { return rows("dated", "true") == 4 && rows("plain_byte", "true") >= 2 })
	for i := range 3 {
		collectord.Kill()
		shipperd.Kill()
		collectord.Wait(testkit.WaitLimit)
		shipperd.Wait(testkit.WaitLimit)
		write(-160*time.Minute + time.Duration(i)*time.Second) // with all that was there before
		plain := rows("plain_byte", "true")
		collectord, shipperd = start()
		testkit.Eventually(t, testkit.WaitLimit, "the new sample to be stored", func() bool { return rows("dated", "true") == 5+i && rows("plain_byte", "true") > plain })
	}
	testkit.Eventually(t, testkit.WaitLimit, "all samples with a timestamp to be accepted", func() bool { return rows("dated", "uploaded = 1") == 7 })
	r.goOn()
	r.stopDaemon(collectord)
	r.stopDaemon(shipperd)
	r.deliver(deliverLimit)
	if d := r.compare(vm.Client); !d.none() {
		t.Errorf("%v\n%s", &d, d.few())
	}
	r.checkFile()
	r.want(0, "audit -since 4h", "file and server agree")
	if n := rows("dated", "tags = '{\"exported_device_id\":\"b\",\"site\":\"a\"}'"); n != 7 {
		t.Errorf("%d samples with a timestamp, want 7", n)
	}
	if n := rows("textfile.samples_refused_total", "value = 1 AND tags LIKE '%old%'"); n == 0 {
		t.Error("the sample that is too old was not counted")
	}
}

// seed records n ticks of one series, as an earlier boot has.
func (r *rig) seed(from time.Time, n int, every time.Duration) {
	r.t.Helper()
	ctx := r.t.Context()
	in, err := store.OpenInserter(ctx, store.Options{Path: r.db, Daemon: "collectord", Version: "seed"}, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	series := store.NewSeries(r.device, "seed", store.Number)
	for i := range n {
		at := from.Add(time.Duration(i) * every)
		moment := clock.Moment{Wall: at, Boot: time.Duration(i+1) * every, BootID: "an earlier one", Sync: clock.Yes}
		if _, err := in.Record(ctx, moment, at, []store.Sample{{Series: series, Value: float64(i)}}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := in.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// feedTextfile writes a page of n series without a timestamp each second until ctx ends, and with
// it samples with one: of the last seconds, most of which the pages before have had, and of some
// minutes ago.
func feedTextfile(ctx context.Context, dir string, n int) error {
	start := time.Now()
	for round := 0; ctx.Err() == nil; round++ {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "soak_page_total{part=\"%d\"} %d\n", i, round+i)
		}
		now := time.Now().Truncate(time.Second)
		for back := range 10 {
			fmt.Fprintf(&b, "soak_dated 1 %d\n", now.Add(-time.Duration(back)*time.Second+3*time.Millisecond).UnixMilli())
		}
		if old := now.Add(-5 * time.Minute); old.After(start) {
			fmt.Fprintf(&b, "soak_dated_old %d %d\n", round, old.UnixMilli())
		}
		if err := writeTextfile(dir, "soak.prom", b.String()); err != nil {
			return err
		}
		pause(ctx, time.Second)
	}
	return nil
}
