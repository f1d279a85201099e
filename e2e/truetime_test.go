//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// trueTimeBins lets an earlier version play: then the test reports and judges nothing.
var trueTimeBins = flag.String("truetime.bins", "", "folder with collectord and shipperd of another version for TestTrueTime")

// clocked is a device with a machine of its own.
type clocked struct {
	*rig
	m          *machine
	proxy      *testkit.Proxy // the way to the server
	collectord string         // address of its pages
	shipperd   string
	refused    int // samples, in boots that are over
}

func newClocked(t *testing.T, vm *testkit.VM, extra map[string]string) *clocked {
	proxy := testkit.StartProxy(t, vm.Addr())
	r := newRig(t, proxy.URL()+"/api/v1/import", extra)
	if *trueTimeBins != "" {
		r.bins.Collectord, r.bins.Shipperd = filepath.Join(*trueTimeBins, "collectord"), filepath.Join(*trueTimeBins, "shipperd")
	}
	return &clocked{rig: r, m: newMachine(t), proxy: proxy}
}

// boot cuts the power and boots with a wall clock that is ahead. It returns when the daemons run.
func (c *clocked) boot(ahead time.Duration) {
	c.t.Helper()
	c.off()
	c.m.boot(ahead)
	start := func(bin, started string) (address string) {
		line := c.m.start("", bin, "-config", c.config).WaitLine(testkit.WaitLimit, started)
		var fields struct{ Health string }
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			c.t.Fatal(err)
		}
		return fields.Health
	}
	c.collectord, c.shipperd = start(c.bins.Collectord, "collectord started"), start(c.bins.Shipperd, "shipperd started")
}

// off cuts the power.
func (c *clocked) off() {
	c.t.Helper()
	if c.collectord != "" {
		c.noteRefused()
	}
	c.m.off()
	c.collectord = ""
}

// noteRefused counts the samples that the store has refused in this boot.
func (c *clocked) noteRefused() {
	c.t.Helper()
	page := scrape(c.t, c.collectord)
	for _, reason := range []string{"duplicate", "invalid", "storage"} {
		c.refused += int(page[testkit.SeriesKey(map[string]string{"__name__": "collector_metrics_failed_total", "reason": reason})])
	}
}

// ticks waits until the device has sampled n times more.
func (c *clocked) ticks(n int) {
	c.t.Helper()
	last := float64(-1)
	testkit.Eventually(c.t, testkit.WaitLimit, "samples", func() bool {
		page := scrape(c.t, c.collectord)
		now := page[testkit.SeriesKey(map[string]string{"__name__": "collector_collection_duration_seconds_count"})]
		if last < 0 {
			last = now
		}
		return now >= last+float64(n)
	})
}

// sent waits until so many samples are left to send.
func (c *clocked) sent(left int) {
	c.t.Helper()
	testkit.Eventually(c.t, testkit.WaitLimit, "everything to be sent", func() bool {
		return c.count("SELECT count(*) FROM metrics WHERE uploaded = 0") <= left
	})
}

// result is what became of the samples.
type result struct {
	kept, doubled, missing, refused int
	worst                           map[int]time.Duration // error by boot, of the uptime, which says when it was sampled
}

func (r result) String() string {
	var text strings.Builder
	text.WriteString(fmt.Sprintf("kept %d, doubled %d, missing %d, refused %d, worst error by boot:", r.kept, r.doubled, r.missing, r.refused))
	for _, boot := range slices.Sorted(maps.Keys(r.worst)) {
		text.WriteString(fmt.Sprintf(" %d ms", r.worst[boot].Milliseconds()))
	}
	return text.String()
}

// judge waits until everything is sent, cuts the power and reads the server.
func (c *clocked) judge(vm *testkit.VM) (r result) {
	c.t.Helper()
	c.noteRefused()
	c.m.running[0].Kill() // collectord
	c.collectord = ""
	c.sent(0)
	c.off()
	d := c.compare(vm.Client)
	r.refused, r.doubled, r.missing = c.refused, d.doubled, d.missing
	r.kept = d.rows - d.missing
	exported, err := vm.Export(fmt.Sprintf(`{__name__="system_uptime_seconds",device_id=%q}`, c.device))
	if err != nil {
		c.t.Fatal(err)
	}
	r.worst = map[int]time.Duration{}
	for _, s := range exported {
		for i, uptime := range s.Values {
			boot, ms := c.m.taken(uptime)
			off := time.Duration(s.Timestamps[i]-ms) * time.Millisecond
			r.worst[boot] = max(r.worst[boot], off.Abs())
		}
	}
	return r
}

// late is the most that a boot may be wrong whose time was known. Most of it is not the clock: on a
// busy machine a tick begins half an interval after its time, and reads the uptime later still.
const late = 2 * time.Second

// want fails unless everything arrived once and no boot is wrong by more than its limit.
func (c *clocked) want(r result, limits ...time.Duration) {
	c.t.Helper()
	c.t.Log(r)
	if *trueTimeBins != "" {
		return
	}
	if r.doubled+r.missing+r.refused > 0 {
		c.t.Error("samples are missing, doubled or refused")
	}
	for boot, limit := range limits {
		if got, there := r.worst[boot]; !there || got > limit {
			c.t.Errorf("boot %d: off by %v, there %v, want %v", boot, got, there, limit)
		}
	}
}

// since1970 is how wrong a clock at 1970 is.
func since1970() time.Duration { return -time.Since(time.Unix(0, 0)).Truncate(time.Second) }

// TestTrueTime plays boards without a clock battery: both binaries, each boot with clocks of its
// own, against a real VictoriaMetrics. It is judged by the server alone: each sample of the uptime
// says when it was taken.
func TestTrueTime(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	for name, play := range map[string]func(t *testing.T, c *clocked){
		// After a power cut the clock is an hour behind. Then NTP sets it, while samples are
		// shipped. After another one it shows a time of which there are samples.
		"power cut": func(t *testing.T, c *clocked) {
			c.boot(0)
			began := time.Now()
			c.m.ntp()
			c.ticks(5)
			c.boot(-time.Hour)
			c.ticks(3)
			c.await("server")
			c.m.ntp()
			c.ticks(5)
			c.boot(-time.Since(began))
			c.ticks(5)
			c.want(c.judge(vm), late, late, late)
		},
		// A boot in 1970 reaches the server after a while.
		"1970": func(t *testing.T, c *clocked) {
			c.proxy.Cut()
			c.boot(since1970())
			c.ticks(8)
			c.proxy.Restore()
			c.ticks(2)
			c.await("server")
			c.want(c.judge(vm), late)
		},
		// A boot that never knew, between two that do.
		"never knew": func(t *testing.T, c *clocked) {
			c.boot(0)
			c.m.ntp()
			c.ticks(5)
			c.proxy.Cut()
			c.boot(since1970())
			c.ticks(5)
			began := time.Now()
			c.boot(0)
			c.proxy.Restore()
			c.m.ntp()
			c.ticks(5)
			c.await("estimated")
			c.want(c.judge(vm), late, time.Since(began)+time.Minute, late)
		},
		// The clock is set by hand, there and back, while samples are shipped.
		"steps": func(t *testing.T, c *clocked) {
			c.boot(-time.Minute)
			for _, ahead := range []time.Duration{-90 * time.Second, 40 * 24 * time.Hour, -10 * time.Second, 0} {
				c.ticks(4)
				c.m.setClock(ahead)
			}
			c.ticks(4)
			c.want(c.judge(vm), late)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, newClocked(t, vm, map[string]string{
				"collection": "interval: 500ms\ncollectors:\n  filesystem: {enabled: false}\n  thermal: {enabled: false}\n  hwmon: {enabled: false}",
			}))
		})
	}
}

// await waits until the true time of an epoch is known from a source.
func (c *clocked) await(how string) {
	c.t.Helper()
	if *trueTimeBins != "" {
		c.ticks(10)
		return
	}
	text := fmt.Sprintf("SELECT count(*) FROM epochs WHERE how = %q", how)
	testkit.Eventually(c.t, testkit.WaitLimit, "a true time by "+how, func() bool { return c.count(text) > 0 })
}
