//go:build bench

package bench

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var drainRows = flag.Int("drain.rows", 1_000_000, "backlog of BenchmarkDrain in rows")

const (
	drainInterval = 10 * time.Second // between the ticks of the backlog
	drainAge      = 15 * time.Minute // of its youngest tick
)

// BenchmarkDrain is a backlog of a million samples, 100 series every ten seconds,
// drained by "shipperd -once" into a VictoriaMetrics with everything read back;
// beside vmagent with the same samples in its disk queue, started when the server
// is back. vmagent has them once in blocks of 100, as scraping makes them, and
// once as it packs a bulk import.
func BenchmarkDrain(b *testing.B) {
	for b.Loop() {
		ours := drainShipperd(b)
		scraped := drainVMAgent(b, false)
		bulk := drainVMAgent(b, true)
		r := report{
			ours: "shipperd", peers: []string{"vmagent, as scraped", "vmagent, bulk"},
			title: fmt.Sprintf("draining %d samples", *drainRows),
		}
		line := func(name, unit, target string, of func(drained) float64) {
			r.add(name, unit, of(ours), target, of(scraped), of(bulk))
		}
		million := float64(*drainRows) / mega
		line("sending", "samples/s", "", func(d drained) float64 { return float64(*drainRows) / d.sent.Seconds() })
		line("all, proof included", "s-wall", "", func(d drained) float64 { return d.all.Seconds() })
		line("agent's CPU", "s/million", "≤ 2.5", func(d drained) float64 { return d.cpu.Seconds() / million })
		line("server's CPU", "server-s/million", "", func(d drained) float64 { return d.serverCPU.Seconds() / million })
		line("agent's peak memory", "MB", "< 60", func(d drained) float64 { return float64(d.peakRSS) / mega })
		line("wire, both ways", "B/sample", "≤ 2.5", func(d drained) float64 { return d.perSample(d.wire) })
		line("of it sending", "B-sent/sample", "", func(d drained) float64 { return d.perSample(d.sendWire) })
		r.note("wire: TCP payload, HTTP headers included; shipperd waits remote.verify.delay (15 s here, 30 s by default) before it reads back, vmagent proves nothing")
		r.print(b)
	}
}

// drained is what a drain has cost.
type drained struct {
	sent      time.Duration // from the agent's start to the last sample's 2xx
	all       time.Duration // to the agent's end
	cpu       time.Duration
	serverCPU time.Duration
	peakRSS   int64
	sendWire  int64 // bytes both ways
	wire      int64 // those for reading back included
}

func (drained) perSample(bytes int64) float64 { return float64(bytes) / float64(*drainRows) }

func wireBytes(p *testkit.Proxy) int64 {
	s := p.Stats()
	return s.Up + s.Down
}

// backlogTicks calls each with the backlog's ticks in order.
func backlogTicks(each func(brd *board, ts time.Time)) {
	brd := newBoard(drainInterval)
	ticks := *drainRows / len(brd.series)
	ts := time.Now().Add(-drainAge - time.Duration(ticks)*drainInterval).Truncate(drainInterval)
	for range ticks {
		ts = ts.Add(drainInterval)
		each(brd, ts)
	}
}

func drainShipperd(b *testing.B) (out drained) {
	vm := testkit.StartVM(b, testkit.VMConfig{})
	proxy := testkit.StartProxy(b, vm.Addr())
	d := newDevice(b, b.TempDir(), "max_size_mb: 4096", "remote: {url: '"+proxy.URL()+"/api/v1/import', verify: {delay: 15s, settle: 15s}}")
	in := d.inserter(time.Hour)
	backlogTicks(func(brd *board, ts time.Time) {
		if _, err := in.Insert(b.Context(), ts, brd.tick()); err != nil {
			b.Fatal(err)
		}
	})
	d.close(in)
	db := d.reader()
	serverBefore := cpuTime(b, vm.PID())

	start := time.Now()
	shipperd := d.shipperd("-once")
	for ended := false; !ended; {
		select {
		case <-shipperd.Done():
			ended = true
		case <-time.After(20 * time.Millisecond):
			if u, err := shipperd.Usage(); err == nil {
				out.peakRSS = u.PeakRSS
			}
			if out.sent == 0 && count(b, db, `SELECT NOT EXISTS (SELECT 1 FROM metrics
				WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0)`) == 1 {
				out.sent, out.sendWire = time.Since(start), wireBytes(proxy)
			}
		}
	}
	out.all = time.Since(start)
	if code := shipperd.ExitCode(); code != 0 {
		b.Fatalf("shipperd -once: exit code %d:\n%s", code, shipperd.Stderr())
	}
	out.cpu, out.serverCPU, out.wire = shipperd.CPUTime(), cpuTime(b, vm.PID())-serverBefore, wireBytes(proxy)
	if n := count(b, db, "SELECT sum(sample_count) FROM upload_checkpoints WHERE state = 'verified'"); n != int64(*drainRows) {
		b.Fatalf("%d samples verified, want %d", n, *drainRows)
	}
	return out
}

// drainVMAgent fills vmagent's queue while there is no server, then starts both.
// Its blocks are those of a bulk import or of 100 samples.
func drainVMAgent(b *testing.B, bulk bool) (out drained) {
	vm := testkit.StartVM(b, testkit.VMConfig{})
	proxy := testkit.StartProxy(b, vm.Addr())
	vm.Kill()
	cfg := testkit.VMAgentConfig{Remote: proxy.URL()}
	ticksAtOnce := 200
	if !bulk {
		ticksAtOnce, cfg.Flags = 1, []string{"-remoteWrite.maxRowsPerBlock=100"}
	}
	agent := testkit.StartVMAgent(b, cfg)
	feed := newFeed(agent, ticksAtOnce)
	backlogTicks(func(brd *board, ts time.Time) { feed.tick(b, brd, ts) })
	feed.flush(b)
	if err := agent.Stop(); err != nil { // what is in memory goes to the disk
		b.Fatal(err)
	}
	if err := vm.Start(); err != nil {
		b.Fatal(err)
	}
	serverBefore, before := cpuTime(b, vm.PID()), wireBytes(proxy)

	// On a port of its own: one that finds its old port taken ends, and has lost
	// its queue.
	cfg.Dir = agent.Dir()
	start := time.Now()
	agent = testkit.StartVMAgent(b, cfg)
	moved, last := wireBytes(proxy), time.Now()
	testkit.Eventually(b, testkit.WaitLimit, "vmagent to deliver its queue", func() bool {
		if now := wireBytes(proxy); now != moved {
			moved, last = now, time.Now()
		}
		if time.Since(last) < 500*time.Millisecond { // asking costs it CPU time
			return false
		}
		bytes, blocks, err := agent.Queued()
		return err == nil && bytes+blocks == 0
	})
	out.sent, out.all = last.Sub(start), last.Sub(start)
	out.peakRSS = usage(b, agent.Proc()).PeakRSS
	out.cpu, out.serverCPU = cpuTime(b, agent.PID()), cpuTime(b, vm.PID())-serverBefore
	out.sendWire, out.wire = moved-before, moved-before
	if err := vm.ForceFlush(); err != nil {
		b.Fatal(err)
	}
	if n := storedRows(b, vm); n != int64(*drainRows) {
		b.Fatalf("vmagent delivered %d samples, want %d", n, *drainRows)
	}
	return out
}

// storedRows counts what the server has of the device.
func storedRows(b *testing.B, vm *testkit.VM) (n int64) {
	b.Helper()
	exported, err := vm.Export("{device_id=" + strconv.Quote(deviceID) + "}")
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range exported {
		n += int64(len(s.Timestamps))
	}
	return n
}
