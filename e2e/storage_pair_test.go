package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"belabox-metrics/shared/testkit"
)

// asRoot calls a program of the system that needs root.
func asRoot(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s\nthis test mounts file systems: run it as root, in a container with --privileged", name, args, err, out)
	}
}

// tmpfs mounts one of that size and returns where.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	asRoot(t, "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir)
	t.Cleanup(func() { asRoot(t, "umount", dir) })
	return dir
}

// on puts the database of a new rig into a folder.
func on(t *testing.T, vm *testkit.VM, folder string) *rig {
	t.Helper()
	path := filepath.Join(folder, "metrics.db")
	r := newRig(t, vm.ImportURL(), map[string]string{"storage": "path: " + path, "logging": "level: info"})
	r.db = path
	return r
}

// pair is both daemons with the addresses of their reports.
type pair struct {
	collectord, shipperd *testkit.Proc
	collector, shipper   string
}

func (r *rig) startBoth() pair {
	r.t.Helper()
	p := pair{collectord: r.start(r.bins.Collectord), shipperd: r.start(r.bins.Shipperd)}
	p.collector, p.shipper = healthAddress(p.collectord, "collectord"), healthAddress(p.shipperd, "shipperd")
	return p
}

// stopBoth stops collectord first, so that shipperd can send what it took.
func (r *rig) stopBoth(p pair) {
	r.t.Helper()
	r.stopDaemon(p.collectord)
	r.stopDaemon(p.shipperd)
}

func (p pair) each(f func(name string, proc *testkit.Proc)) {
	f("collectord", p.collectord)
	f("shipperd", p.shipperd)
}

// awaitReason waits until a daemon's report has a reason, and returns its message.
func awaitReason(t *testing.T, address, code string) (message string) {
	t.Helper()
	testkit.Eventually(t, testkit.WaitLimit, code+" in the report of "+address, func() error {
		report := health(t, address)
		for _, reason := range report.Reasons {
			if reason.Code == code {
				message = reason.Message
				return nil
			}
		}
		return fmt.Errorf("%+v", report)
	})
	return message
}

func awaitGone(t *testing.T, address, code string) {
	t.Helper()
	testkit.Eventually(t, testkit.WaitLimit, code+" to leave the report of "+address, func() error {
		if report := health(t, address); report.has(code) {
			return fmt.Errorf("%+v", report)
		}
		return nil
	})
}

// awaitUploads waits until this many rows more have been taken by the server.
func (r *rig) awaitUploads(more int) {
	r.t.Helper()
	uploaded := func() int { return r.count("SELECT count(*) FROM metrics WHERE uploaded = 1") }
	before := uploaded()
	testkit.Eventually(r.t, testkit.WaitLimit, "uploads", func() bool { return uploaded() >= before+more })
}

// settle waits for a new sample of each series, stops both, delivers the rest, and wants the server
// to have each row of the file once, and what it has besides to be no more than the lost ones.
func (r *rig) settle(vm *testkit.VM, p pair) difference {
	r.t.Helper()
	r.goOn()
	r.stopBoth(p)
	r.deliver(deliverLimit)
	r.checkFile()
	d := r.compare(vm.Client)
	r.t.Log(&d)
	if d.missing+d.doubled+d.wrong > 0 || d.rows == 0 {
		r.t.Errorf("%v\n%s", &d, d.few())
	}
	return d
}
