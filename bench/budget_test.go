//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// By default shipperd asks for the proof of ten minutes of uploads at once, so
// anything shorter than twelve minutes leaves that out.
var budgetFor = flag.Duration("budget.for", 13*time.Minute, "how long BenchmarkBudget measures")

// budgetWarmUp: rates begin with the second tick, buffers find their size.
const budgetWarmUp = 25 * time.Second

// BenchmarkBudget is what the agent costs whoever installs it: both daemons at
// default settings on this machine's own /proc and /sys, uploads, proofs, clock
// and health included, with a tick every 10 s (the default) and every second.
//
// Beside them, in the same minutes, run node_exporter with the like collectors
// and vmagent, which scrapes it as often and ships to a server of its own. CPU
// time is that of each process by the kernel's count, so that they do not disturb
// each other; memory is what is resident, looked at every second.
func BenchmarkBudget(b *testing.B) {
	for b.Loop() {
		benchBudget(b)
	}
}

// costs are the programs of one arrangement and what they have used.
type costs struct {
	collect, ship *testkit.Proc
	vm            *testkit.VM
	interval      time.Duration

	before, cpu [2]time.Duration // of collect, of ship
	rss         [2]int64         // the sum of all looks
	looks, peak int64            // peak is that of both together
}

func (c *costs) procs() [2]*testkit.Proc { return [2]*testkit.Proc{c.collect, c.ship} }

func (c *costs) begin(b *testing.B) {
	for i, p := range c.procs() {
		c.before[i] = cpuTime(b, p.PID())
	}
}

func (c *costs) look(b *testing.B) {
	both := int64(0)
	for i, p := range c.procs() {
		rss := usage(b, p).RSS
		c.rss[i] += rss
		both += rss
	}
	c.looks++
	c.peak = max(c.peak, both)
}

// memory is the mean of what is resident, in MB.
func (c *costs) memory(i int) float64 { return float64(c.rss[i]) / float64(c.looks) / mega }

func (c *costs) end(b *testing.B) {
	for i, p := range c.procs() {
		c.cpu[i] = cpuTime(b, p.PID()) - c.before[i]
	}
}

// ofCore is CPU time as a share of one core, in percent.
func ofCore(cpu, lasted time.Duration) float64 { return 100 * cpu.Seconds() / lasted.Seconds() }

func benchBudget(b *testing.B) {
	intervals := []time.Duration{10 * time.Second, time.Second}
	var ours, peers []*costs
	for _, interval := range intervals {
		ours = append(ours, startBoth(b, interval))
		peers = append(peers, startPeers(b, interval))
	}
	time.Sleep(budgetWarmUp)
	all := append(append([]*costs{}, ours...), peers...)
	start := time.Now()
	for _, c := range all {
		c.begin(b)
	}
	for second := time.NewTicker(time.Second); time.Since(start) < *budgetFor; <-second.C {
		for _, c := range all {
			c.look(b)
		}
	}
	lasted := time.Since(start)
	for _, c := range all {
		c.end(b)
	}

	r := report{
		ours: "both daemons", peers: []string{"node_exporter + vmagent"},
		title: fmt.Sprintf("default settings for %v, a tick or scrape every 10 s and every second", lasted.Round(time.Second)),
	}
	targets := []struct{ cpu, rss string }{{"< 0.05", "≤ 30"}, {"a fifth", "≤ 24"}}
	for i, interval := range intervals {
		o, p := ours[i], peers[i]
		line := func(name, unit, target string, of func(c *costs) float64) {
			r.add(fmt.Sprintf("%v: %s", interval, name), fmt.Sprintf("%s@%v", unit, interval), of(o), target, of(p))
		}
		line("CPU", "%-of-a-core", targets[i].cpu, func(c *costs) float64 { return ofCore(c.cpu[0]+c.cpu[1], lasted) })
		line("of it collecting", "%-collecting", "", func(c *costs) float64 { return ofCore(c.cpu[0], lasted) })
		line("of it shipping", "%-shipping", "", func(c *costs) float64 { return ofCore(c.cpu[1], lasted) })
		line("resident memory, mean", "MB", targets[i].rss, func(c *costs) float64 { return c.memory(0) + c.memory(1) })
		line("of it collecting", "MB-collecting", "", func(c *costs) float64 { return c.memory(0) })
		line("of it shipping", "MB-shipping", "", func(c *costs) float64 { return c.memory(1) })
		line("resident memory, peak", "MB-peak", "", func(c *costs) float64 { return float64(c.peak) / mega })
		r.note("every %v: %d series of ours, %d of node_exporter; %d requests with samples, %d questions for proof", interval,
			storedSeries(b, o.vm), storedSeries(b, p.vm), requests(b, o.vm, "/api/v1/import"),
			requests(b, o.vm, "/api/v1/query")+requests(b, o.vm, "/api/v1/export"))
	}
	r.print(b)
}

// startBoth starts the daemons with nothing set but the interval, the addresses
// and the place of the database.
func startBoth(b *testing.B, interval time.Duration) *costs {
	b.Helper()
	vm := testkit.StartVM(b, testkit.VMConfig{})
	d := newDevice(b, b.TempDir(), "durability: 10s",
		fmt.Sprintf("collection: {interval: %v}", interval), "remote: {url: '"+vm.ImportURL()+"'}")
	c := &costs{collect: d.collectord(), ship: d.shipperd(), vm: vm, interval: interval}
	c.collect.WaitLine(testkit.WaitLimit, "collectord started")
	c.ship.WaitLine(testkit.WaitLimit, "shipperd started")
	return c
}

var listening = regexp.MustCompile(`Listening on.*address=(\S+)`)

// startPeers starts node_exporter and a stock vmagent that scrapes it.
func startPeers(b *testing.B, interval time.Duration) *costs {
	b.Helper()
	vm := testkit.StartVM(b, testkit.VMConfig{})
	exporter, _ := startNodeExporter(b)
	address := listening.FindStringSubmatch(exporter.WaitLine(testkit.WaitLimit, "Listening on"))
	if address == nil {
		b.Fatalf("node_exporter does not say where it listens:\n%s", exporter.Stderr())
	}
	config := filepath.Join(b.TempDir(), "scrape.yaml")
	text := fmt.Sprintf("scrape_configs:\n- job_name: node\n  scrape_interval: %v\n  static_configs:\n  - targets: ['%s']\n", interval, address[1])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	agent := testkit.StartVMAgent(b, testkit.VMAgentConfig{Remote: vm.URL(), Flags: []string{"-promscrape.config=" + config}})
	return &costs{collect: exporter, ship: agent.Proc(), vm: vm, interval: interval}
}

// storedSeries counts the series that a server has got; that there are none fails
// the benchmark, for then nothing was measured.
func storedSeries(b *testing.B, vm *testkit.VM) int {
	b.Helper()
	if err := vm.ForceFlush(); err != nil {
		b.Fatal(err)
	}
	got, err := vm.Query(`count({__name__!=""})`, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if len(got) != 1 {
		b.Fatal("nothing has arrived at a server")
	}
	return int(got[0].Value)
}
