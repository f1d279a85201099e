//go:build bench

package bench

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var (
	steadyFor  = flag.Duration("steady.for", 60*time.Second, "how long BenchmarkSteady ships; with -steady.real some ten minutes make sense")
	steadyReal = flag.Bool("steady.real", false, "BenchmarkSteady in real time: a tick every 10 s and default settings")
)

// hurried is how much faster than real time BenchmarkSteady runs: the shortest
// upload_interval is 1 s, the default 1 m.
const hurried = 60

// BenchmarkSteady is what 100 series at 10 s cost on the wire with default
// settings: uploads of about six ticks, and the questions by which they are
// proven, all headers included.
//
// It runs sixty times faster than real time. Ticks are stored every sixth of a
// second with timestamps 10 s apart, upload_interval is 1 s; so each upload has as
// many rows as by default, and since accepted chunks wait for company for a number
// of intervals, each question settles as many. The timestamps are of the last hour,
// so that nothing is too young to be counted. With -steady.real nothing is hurried.
//
// vmagent beside it is fed the same ticks, a block each, as scraping every 10 s
// makes them.
func BenchmarkSteady(b *testing.B) {
	for b.Loop() {
		benchSteady(b)
	}
}

func benchSteady(b *testing.B) {
	interval, pause, settings := drainInterval, drainInterval/hurried, "upload_interval: 1s, verify: {delay: 15s, settle: 15s}"
	ts := time.Now().Add(-time.Hour).Truncate(interval)
	if *steadyReal {
		pause, settings, ts = interval, "", time.Now().Truncate(interval)
	}
	vm := testkit.StartVM(b, testkit.VMConfig{})
	wire := startTap(b, vm.Addr())
	peerVM := testkit.StartVM(b, testkit.VMConfig{})
	peerProxy := testkit.StartProxy(b, peerVM.Addr())
	agent := testkit.StartVMAgent(b, testkit.VMAgentConfig{Remote: peerProxy.URL(), Flags: []string{"-remoteWrite.maxRowsPerBlock=100"}})
	feed := newFeed(agent, 1)
	d := newDevice(b, b.TempDir(), "durability: 10s", "remote: {url: '"+wire.url()+"/api/v1/import', "+settings+"}")
	in := d.inserter(10 * time.Second)
	shipperd := d.shipperd()
	shipperd.WaitLine(testkit.WaitLimit, "shipperd started")

	brd, brd2 := newBoard(interval), newBoard(interval)
	ticks := 0
	start, agentBefore := time.Now(), cpuTime(b, agent.PID())
	for next := start; time.Since(start) < *steadyFor; ticks++ {
		time.Sleep(time.Until(next))
		next = next.Add(pause)
		ts = ts.Add(interval)
		if _, err := in.Insert(b.Context(), ts, brd.tick()); err != nil {
			b.Fatal(err)
		}
		feed.tick(b, brd2, ts)
	}
	rows := float64(ticks * len(brd.series))
	agentCPU := cpuTime(b, agent.PID()) - agentBefore
	db := d.reader()
	testkit.Eventually(b, 12*time.Minute, "everything to be proven", func() bool {
		return count(b, db, "SELECT count(*) FROM metrics WHERE uploaded = 0") == 0 &&
			count(b, db, "SELECT count(*) FROM upload_checkpoints WHERE state <> 'verified'") == 0
	})
	cpu := cpuTime(b, shipperd.PID())
	d.stop(shipperd)
	d.close(in)

	imports, reads, connections := wire.stats()
	peerWire := peerProxy.Stats()
	chunks := float64(count(b, db, "SELECT count(*) FROM upload_checkpoints"))
	uploads := float64(count(b, db, "SELECT count(DISTINCT batch_id) FROM upload_checkpoints"))
	r := report{
		ours: "shipperd", peers: []string{"vmagent"},
		title: fmt.Sprintf("steady state, 100 series every 10 s, default settings (%s)", pace()),
	}
	line := func(name, unit string, bytes int64) { r.add(name, unit, float64(bytes)/rows, "", none) }
	r.add("wire, both ways", "B/sample", float64(imports.both()+reads.both())/rows, "≤ 5", float64(peerWire.Up+peerWire.Down)/rows)
	r.add("of it to the server", "B-up/sample", float64(imports.heads+imports.bodies+reads.heads+reads.bodies)/rows, "", float64(peerWire.Up)/rows)
	line("bodies of imports", "B-body/sample", imports.bodies)
	line("heads of imports", "B-head/sample", imports.heads)
	line("answers to imports", "B-answer/sample", imports.answers+imports.content)
	line("reads, both ways", "B-read/sample", reads.both())
	r.add("agent's CPU", "us/sample", float64(cpu)/1e3/rows, "", float64(agentCPU)/1e3/rows)
	r.note("%.0f samples in %.0f uploads of %.0f samples, %.1f chunks and %.1f requests, over %d connections; %d reads, %d of them counts",
		rows, uploads, rows/uploads, chunks/uploads, float64(imports.requests)/uploads, connections, reads.requests, requests(b, vm, "/api/v1/query"))
	r.note("a request: head %d B, body %d B, answer %d B; a read: %d B up, %d B down",
		imports.heads/imports.requests, imports.bodies/imports.requests, (imports.answers+imports.content)/imports.requests,
		(reads.heads+reads.bodies)/reads.requests, (reads.answers+reads.content)/reads.requests)
	r.print(b)
}

// requests returns how many of a kind the server was asked.
func requests(b *testing.B, vm *testkit.VM, path string) int64 {
	b.Helper()
	page, err := vm.Metrics()
	if err != nil {
		b.Fatal(err)
	}
	n, err := page.Sum("vm_http_requests_total{", `path="`+path+`"`)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func pace() string {
	if *steadyReal {
		return "in real time"
	}
	return fmt.Sprintf("hurried %d times", hurried)
}
