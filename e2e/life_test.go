package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// daemons are the two, which behave alike in everything tested here.
func daemons(r *rig) map[string]string {
	return map[string]string{"collectord": r.bins.Collectord, "shipperd": r.bins.Shipperd}
}

var healthInLog = regexp.MustCompile(`health"?[:=]"?(http://[0-9.:]+)`)

// healthAddress waits for the start line of a daemon, in either format, and returns
// the address of its port.
func healthAddress(p *testkit.Proc, name string) string {
	line := p.WaitLine(testkit.WaitLimit, name+" started")
	match := healthInLog.FindStringSubmatch(line)
	if match == nil {
		return "no address in the line: " + line
	}
	return match[1]
}

func TestLife_LivePorts(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil) // nobody is there: alive all the same
	for name, bin := range daemons(r) {
		p := r.start(bin)
		url := healthAddress(p, name) + "/health/live"
		if code, body := get(t, url); code != http.StatusOK {
			t.Errorf("%s: GET %s: %d %s, want 200", name, url, code, body)
		}
		r.stopDaemon(p)
	}
}

func TestLife_SecondCopyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
	for name, bin := range daemons(r) {
		first := r.start(bin)
		first.WaitLine(testkit.WaitLimit, name+" started")
		second := r.start(bin)
		if code := second.Wait(testkit.WaitLimit); code != 1 {
			t.Errorf("%s: second copy: exit code %d, want 1", name, code)
		}
		for _, want := range []string{"metrics.db." + name + ".lock", fmt.Sprint("process ", first.PID())} {
			if !strings.Contains(second.Stderr(), want) {
				t.Errorf("%s: second copy does not name %q:\n%s", name, want, second.Stderr())
			}
		}
		first.Kill()
		first.Wait(testkit.WaitLimit)
		third := r.start(bin) // the kernel has freed the lock
		third.WaitLine(testkit.WaitLimit, name+" started")
		r.stopDaemon(third)
	}
}

func TestLife_StopLeavesNoWAL(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
	shipperd := r.start(r.bins.Shipperd) // keeps the file open, so that SQLite itself removes nothing
	shipperd.WaitLine(testkit.WaitLimit, "shipperd started")
	collectord := r.start(r.bins.Collectord)
	testkit.Eventually(t, testkit.WaitLimit, "3 ticks", func() bool {
		_, err := os.Stat(r.db)
		return err == nil && r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows") >= 3
	})
	r.stopDaemon(collectord)
	info, err := os.Stat(r.db + "-wal")
	if err != nil || info.Size() != 0 {
		t.Errorf("the WAL after the last checkpoint: %v, %v; want 0 bytes", info.Size(), err)
	}
	r.stopDaemon(shipperd)
}

// TestLife_StopWhileStarting: a stop at any moment is no failure. Before the
// daemon handles signals, the kernel ends it (-1).
func TestLife_StopWhileStarting(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
	for name, bin := range daemons(r) {
		for delay := range 20 {
			p := r.start(bin)
			time.Sleep(time.Duration(delay) * time.Millisecond)
			if code := p.Stop(testkit.WaitLimit); code != 0 && code != -1 {
				t.Errorf("%s, stopped %d ms after its start: exit code %d; its log:\n%s", name, delay, code, tail(p.Stderr()))
			}
		}
	}
}

func TestLife_SecondSignalKills(t *testing.T) {
	t.Parallel()
	// A server that takes the connection and never answers: draining lasts.
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	vm.Otherwise(testkit.Hang(testkit.WholeBody, testkit.KeepNone))
	r := newRig(t, vm.ImportURL(), nil)
	collectord := r.start(r.bins.Collectord)
	shipperd := r.start(r.bins.Shipperd)
	testkit.Eventually(t, testkit.WaitLimit, "an import under way", func() bool { return len(vm.Imports()) > 0 })
	shipperd.Signal(syscall.SIGTERM)
	shipperd.WaitLine(testkit.WaitLimit, "a second signal kills")
	shipperd.Signal(syscall.SIGTERM)
	if code := shipperd.Wait(testkit.WaitLimit); code != -1 {
		t.Errorf("exit code %d after the second signal, want -1: killed by it", code)
	}
	r.stopDaemon(collectord)
}

func TestLife_ConfigurationFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t, "ftp://nowhere", map[string]string{"collection": "interval: 5\ntypo: 1"})
	for name, bin := range daemons(r) {
		for _, args := range [][]string{nil, {"-check-config"}} {
			p := r.start(bin, args...)
			if code := p.Wait(testkit.WaitLimit); code != 2 {
				t.Errorf("%s %v: exit code %d, want 2", name, args, code)
			}
			for _, want := range []string{"config.yaml:", "collection.interval", "collection.typo", "remote.url"} {
				if !strings.Contains(p.Stderr(), want) {
					t.Errorf("%s %v: the faults do not name %q:\n%s", name, args, want, p.Stderr())
				}
			}
		}
		if _, err := os.Stat(r.db); err == nil {
			t.Errorf("%s made a database for a configuration that is refused", name)
		}
	}
}

func TestLife_UsageOutputs(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
	for name, bin := range daemons(r) {
		for arg, want := range map[string]string{
			"-version": name + " ", "-print-config": "collection:", "-check-config": "configuration is fine",
		} {
			p := r.start(bin, arg)
			if code := p.Wait(testkit.WaitLimit); code != 0 || !strings.Contains(p.Stdout(), want) {
				t.Errorf("%s %s: exit code %d, output %q; want 0 and %q", name, arg, code, p.Stdout(), want)
			}
		}
		help := r.start(bin, "-help")
		if code := help.Wait(testkit.WaitLimit); code != 0 || !strings.Contains(help.Stdout(), "-check-config") {
			t.Errorf("%s -help: exit code %d:\n%s", name, code, help.Stdout())
		}
		for _, args := range [][]string{{"-nosuchflag"}, {"nosuchcommand"}} {
			p := r.start(bin, args...)
			if code := p.Wait(testkit.WaitLimit); code != 2 || !strings.Contains(p.Stderr(), "-help") {
				t.Errorf("%s %v: exit code %d, want 2 and a hint to -help:\n%s", name, args, code, p.Stderr())
			}
		}
	}
}
