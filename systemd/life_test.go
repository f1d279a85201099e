//go:build systemdtest

package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestSystem_Packaged has the package work as it comes: nothing configured, the
// server at the packaged address.
func TestSystem_Packaged(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	vm := m.net.startVM(t)
	m.apt(oldVersion)
	uid := strings.TrimSpace(m.run("id", "-u", "metrics"))
	for _, daemon := range daemons {
		pid := m.active(daemon, 0)
		status := m.run("cat", fmt.Sprintf("/proc/%d/status", pid))
		for _, want := range []string{
			"Uid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid + "\n",
			"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
		} {
			if !strings.Contains(status, want) {
				t.Errorf("%s: its status has not %q:\n%s", daemon, want, status)
			}
		}
		for name, want := range map[string]string{
			"UnitFileState": "enabled", "WatchdogUSec": "1min", "MemoryMax": "209715200", "CPUQuotaPerSecUSec": "200ms",
		} {
			if got := m.property(daemon, name); got != want {
				t.Errorf("%s: %s is %s, want %s", daemon, name, got, want)
			}
		}
	}
	if got, want := m.run("stat", "-c", "%U:%G %a %n", "/var/lib/belabox-metrics", databasePath, configPath),
		"metrics:metrics 750 /var/lib/belabox-metrics\nmetrics:metrics 640 "+databasePath+"\nroot:root 644 "+configPath+"\n"; got != want {
		t.Errorf("files:\n%swant\n%s", got, want)
	}
	m.delivered(vm, 1)
	if got := m.run("belabox-shipperd", "-version"); !strings.HasPrefix(got, "shipperd "+oldVersion+" ") {
		t.Errorf("version %q, want %s", got, oldVersion)
	}
}

// TestSystem_Life restarts, kills and stops the daemons of one machine, and wants
// every sample at the server exactly once after all of it.
func TestSystem_Life(t *testing.T) {
	t.Parallel()
	m, vm := startQuick(t)

	// The shipper alone: the sampling does not notice.
	collector := m.pid("collectord")
	from := m.ticks()
	before := m.pid("shipperd")
	m.run("systemctl", "restart", unitFile("shipperd"))
	m.active("shipperd", before)
	m.delivered(vm, 3)
	if now := m.pid("collectord"); now != collector {
		t.Errorf("with shipperd collectord was restarted: process %d, then %d", collector, now)
	}
	ticks := m.ticks()
	ticks = ticks[len(from)-1:]
	for i := 1; i < len(ticks); i++ {
		// A tick may be missed on a busy test machine, and is counted then.
		if gap := ticks[i] - ticks[i-1]; gap > 2000 {
			t.Errorf("a gap of %d ms in the samples", gap)
		}
	}

	// A second copy is refused, by name.
	for _, daemon := range daemons {
		out, err := m.try("runuser", "-u", "metrics", "--", "belabox-"+daemon, "-config", configPath)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 ||
			!strings.Contains(out, fmt.Sprintf("is held by process %d", m.pid(daemon))) {
			t.Errorf("a second %s: %v\n%s", daemon, err, out)
		}
	}

	// Killed.
	for _, daemon := range daemons {
		pid := m.pid(daemon)
		m.run("sh", "-c", fmt.Sprintf("kill -KILL %d", pid))
		m.active(daemon, pid)
	}
	m.delivered(vm, 3)

	// Ended by a signal of somebody else: a clean end, and it comes back.
	for _, daemon := range daemons {
		pid := m.pid(daemon)
		m.run("sh", "-c", fmt.Sprintf("kill -TERM %d", pid))
		m.active(daemon, pid)
	}

	// Root removes the lock files, and runs what the manual advises: the daemons notice, and every
	// file stays with their user.
	for _, daemon := range daemons {
		lock := databasePath + "." + daemon + ".lock"
		m.run("rm", lock)
		testkit.Eventually(t, testkit.WaitLimit, daemon+" to say that its lock was removed, and to take another", func() bool {
			_, err := m.try("test", "-e", lock)
			return err == nil && strings.Contains(m.journal(daemon), "was removed or replaced while it was held")
		})
	}
	m.run("systemctl", "stop", unitFile("shipperd"))
	for _, command := range [][]string{{"status"}, {"doctor"}, {"audit"}, {"deadletter", "list"}, {"-once"}} {
		if out, err := m.try(append([]string{"belabox-shipperd"}, command...)...); err != nil && command[0] != "-once" {
			t.Logf("root's %s: %v\n%s", command, err, out)
		}
	}
	if foreign := m.run("find", "/var/lib/belabox-metrics", "!", "-user", "metrics"); foreign != "" {
		t.Errorf("files of others after root's commands:\n%s", foreign)
	}
	m.run("systemctl", "start", unitFile("shipperd"))
	m.active("shipperd", 0)
	m.delivered(vm, 3)

	// Hung: no ping comes. 60 s are packaged, which another test reads.
	for _, daemon := range daemons {
		m.dropIn(daemon, "WatchdogSec=5s\n")
		pid := m.pid(daemon)
		m.run("systemctl", "restart", unitFile(daemon))
		pid = m.active(daemon, pid)
		m.run("sh", "-c", fmt.Sprintf("kill -STOP %d", pid))
		m.active(daemon, pid)
		journal := m.journal(daemon)
		// Systemd wakes it with SIGABRT, upon which it logs where it hung.
		for _, want := range []string{"Watchdog timeout (limit 5s)!", "SIGABRT: abort", "goroutine "} {
			if !strings.Contains(journal, want) {
				t.Errorf("%s: the journal has not %q", daemon, want)
			}
		}
	}
	m.delivered(vm, 3)

	// And nothing was lost or doubled by it.
	m.settle(vm)

	// Stopped, in order; systemd kills what takes longer than TimeoutStopSec.
	m.run("systemctl", "start", unitFile("collectord"))
	for _, daemon := range daemons {
		start := time.Now()
		m.run("systemctl", "stop", unitFile(daemon))
		took := time.Since(start)
		if state, got := m.property(daemon, "ActiveState"), m.property(daemon, "Result"); state != "inactive" || got != "success" {
			t.Errorf("%s is %s and ended with %q", daemon, state, got)
		}
		t.Logf("stopping %s took %v", daemon, took.Round(time.Millisecond))
	}
	if left := m.texts("SELECT daemon FROM sessions WHERE ended_ms IS NULL AND id IN (SELECT max(id) FROM sessions GROUP BY daemon)"); len(left) > 0 {
		t.Errorf("the last runs of %q have no end", left)
	}
}

// TestSystem_BrokenConfiguration has both daemons say what is wrong, and come back
// by themselves when it is repaired.
func TestSystem_BrokenConfiguration(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.apt(oldVersion)
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
	m.write(configPath, "collection:\n  interval: 5\nremote:\n  urll: http://x\n", 0o644)
	for _, daemon := range daemons {
		if out, err := m.try("systemctl", "restart", unitFile(daemon)); err == nil {
			t.Errorf("%s started with it: %s", daemon, out)
		}
		testkit.Eventually(t, testkit.WaitLimit, "a second try", func() bool { return m.property(daemon, "NRestarts") != "0" })
		journal := m.journal(daemon)
		for _, want := range []string{configPath + ":2: collection.interval", configPath + ":4: ", "remote.urll"} {
			if !strings.Contains(journal, want) {
				t.Errorf("%s: the journal has not %q:\n%s", daemon, want, journal)
			}
		}
		if got := m.property(daemon, "ActiveState"); got == "failed" {
			t.Errorf("%s was given up", daemon)
		}
	}
	m.write(configPath, quickConfig, 0o644)
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
}

// TestSystem_PowerCut takes the power from a working machine. What stood in the
// file stands in it after the next boot, which is a clean one, and is delivered
// once. (The disk of the test keeps what was written and not synced, so it is not
// the disk that is tested here.)
func TestSystem_PowerCut(t *testing.T) {
	t.Parallel()
	m, vm := startQuick(t)
	m.delivered(vm, 3)
	before := m.ticks()
	m.kill()
	m.boot()
	for _, daemon := range daemons {
		m.active(daemon, 0)
		if got := m.property(daemon, "NRestarts"); got != "0" {
			t.Errorf("%s was restarted %s times after the boot", daemon, got)
		}
	}
	m.delivered(vm, 3)
	after := m.ticks()
	for i, at := range before {
		if i >= len(after) || after[i] != at {
			t.Fatalf("the tick at %d is lost: %d ticks before the power cut, %d now", at, len(before), len(after))
		}
	}
	if cut := m.texts("SELECT daemon FROM sessions WHERE ended_ms IS NULL AND id NOT IN (SELECT max(id) FROM sessions GROUP BY daemon)"); len(cut) != 2 {
		t.Errorf("runs that were cut off: %q, want one of each daemon", cut)
	}
	m.settle(vm)
	// An orderly shutdown of the whole machine, within what it gives to everybody.
	start := time.Now()
	if err := syscall.Kill(m.leader, shutdownSignal); err != nil {
		t.Fatal(err)
	}
	if err := m.nspawn.Wait(); err != nil {
		t.Errorf("the shutdown: %v\n%s", err, m.output.String())
	}
	t.Logf("the shutdown took %v", time.Since(start).Round(time.Millisecond))
	if _, err := os.Stat(m.path(databasePath + "-wal")); err == nil {
		t.Log("a WAL stayed after the shutdown")
	}
	m.nspawn = nil
	if err := m.group.remove(); err != nil {
		t.Error(err)
	}
}

// shutdownSignal is SIGRTMIN+4 to process 1: power off. See systemd(1).
const shutdownSignal = syscall.Signal(34 + 4)
