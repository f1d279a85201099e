package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestStorage_DiskFull fills the disk under both daemons and makes room again.
func TestStorage_DiskFull(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	dir := tmpfs(t, "8m")
	r := on(t, vm, dir)
	p := r.startBoth()
	r.awaitUploads(50)
	ballast := filepath.Join(dir, "ballast")
	err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600)
	if !strings.Contains(fmt.Sprint(err), "no space left") {
		t.Fatalf("the disk is not full: %v", err)
	}
	message := awaitReason(t, p.collector, "ticks_not_stored")
	for _, want := range []string{"disk full", "free disk space"} {
		if !strings.Contains(message, want) {
			t.Errorf("the report says %q, want %q in it", message, want)
		}
	}
	if code, _ := get(t, p.collector+"/health/ready"); code != http.StatusServiceUnavailable {
		t.Errorf("ready with a full disk: %d", code)
	}
	for _, address := range []string{p.collector, p.shipper} {
		if code, _ := get(t, address+"/health/live"); code != http.StatusOK {
			t.Errorf("%s is not live: %d", address, code)
		}
	}
	testkit.Eventually(t, testkit.WaitLimit, "the lost samples to be counted", func() bool {
		_, text := get(t, p.collector+"/metrics")
		return metricAbove(text, `collector_metrics_failed_total{reason="storage"}`, 0)
	})
	committed := r.count("SELECT count(*) FROM metrics")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p.collector, "ticks_not_stored")
	r.awaitUploads(50)
	if now := r.count("SELECT count(*) FROM metrics"); now < committed {
		t.Errorf("%d rows, %d were committed while the disk was full", now, committed)
	}
	if d := r.settle(vm, p); d.extra > 0 {
		t.Errorf("%v\n%s", &d, d.few())
	}
}

// metricAbove looks for a line of /metrics.
func metricAbove(text, name string, limit float64) bool {
	for line := range strings.Lines(text) {
		var v float64
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &v); err == nil && v > limit {
				return true
			}
		}
	}
	return false
}

// TestStorage_ReadOnly lets the kernel make the file system read-only under both
// daemons, as it does after an error of the disk, and mounts it again after fsck.
func TestStorage_ReadOnly(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	asRoot(t, "truncate", "-s", "64M", image)
	asRoot(t, "mkfs.ext4", "-q", "-F", image)
	loop := loopDevice(t, image)
	mount := func() {
		asRoot(t, "mount", "-o", "errors=remount-ro", loop, dir)
		t.Cleanup(func() { _ = exec.Command("umount", dir).Run() }) // done already, if all went well
	}
	mount()

	r := on(t, vm, dir)
	p := r.startBoth()
	r.awaitUploads(50)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(loop), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("storage test"), 0); err != nil {
		t.Fatal(err)
	}
	message := awaitReason(t, p.collector, "ticks_not_stored")
	if !strings.Contains(message, "became read-only") || !strings.Contains(message, "run fsck") {
		t.Errorf("the report says %q", message)
	}
	committed := r.count("SELECT count(*) FROM metrics") // the file can be read all the same
	p.each(func(name string, proc *testkit.Proc) {
		select {
		case <-proc.Done():
			t.Errorf("%s ended: %s", name, tail(proc.Stderr()))
		default:
		}
		if code := proc.Stop(testkit.WaitLimit); code != 1 {
			t.Errorf("%s: exit code %d, want 1: it could not end its session", name, code)
		}
	})
	r.want(1, "doctor", "FAIL     directory", "is on a read-only file system", "(fsck)")
	asRoot(t, "umount", dir)
	// A container that was started meanwhile may have it mounted, too, and keep the
	// device busy: the check works on a copy.
	asRoot(t, "cp", image, image+".copy")
	loop = loopDevice(t, image+".copy")
	if out, err := exec.Command("e2fsck", "-fy", loop).CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 1 { // 1 = repaired
			t.Fatalf("e2fsck: %v: %s", err, out)
		}
	}
	mount()
	p = r.startBoth()
	awaitGone(t, p.collector, "ticks_not_stored")
	r.awaitUploads(50)
	if now := r.count("SELECT count(*) FROM metrics"); now < committed {
		t.Errorf("%d rows, %d were committed", now, committed)
	}
	if d := r.settle(vm, p); d.extra > 0 {
		t.Errorf("%v\n%s", &d, d.few())
	}
}

// TestStorage_NotStarted starts both daemons on a file system that is read-only, as after a reboot
// with a worn card, and on a full one. Their ports say why they do not work, and they work as soon
// as they can.
func TestStorage_NotStarted(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	dir := tmpfs(t, "8m")
	ports := map[string]string{"collectord": testkit.FreeAddr(t), "shipperd": testkit.FreeAddr(t)}
	r := newRig(t, vm.ImportURL(), map[string]string{
		"storage": "path: " + filepath.Join(dir, "metrics.db"),
		"health":  fmt.Sprintf("collectord_listen: %s\nshipperd_listen: %s", ports["collectord"], ports["shipperd"]),
	})
	r.stopBoth(r.startBoth())
	// ask returns an answer, none while a daemon tries again and its port is closed for a moment.
	ask := func(name, path string) (code int, text string) {
		answer, err := http.Get("http://" + ports[name] + path)
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	f := func(message string, fault, heal func()) {
		t.Helper()
		fault()
		var running []*testkit.Proc
		for name, bin := range daemons(r) {
			running = append(running, r.start(bin))
			for path, want := range map[string]string{"/health": message, "/api/status": message, "/health/live": "", "/": ""} {
				testkit.Eventually(t, testkit.WaitLimit, name+path+" to answer "+message, func() error {
					code, text := ask(name, path)
					if code != http.StatusOK || !strings.Contains(text, want) || want != "" && !strings.Contains(text, `"not_started"`) {
						return fmt.Errorf("%d %s", code, text)
					}
					return nil
				})
			}
		}
		heal()
		for _, p := range running {
			p.WaitLine(testkit.WaitLimit, "d started")
			r.stopDaemon(p)
		}
	}
	f("is mounted read-only",
		func() { asRoot(t, "mount", "-o", "remount,ro", dir) },
		func() { asRoot(t, "mount", "-o", "remount,rw", dir) })
	ballast := filepath.Join(dir, "ballast")
	f("disk full",
		func() {
			if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err == nil {
				t.Fatal("the disk is not full")
			}
		},
		func() {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		})
}

// loopDevice makes a block device of a file.
func loopDevice(t *testing.T, image string) (device string) {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s\nthis test needs a loop device: run it as root, in a container with --privileged", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() { asRoot(t, "losetup", "--detach", device) })
	return device
}

// TestStorage_WrongOwner starts the daemons as a user who may not write the directory.
func TestStorage_WrongOwner(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
	for _, dir := range []string{r.dir, filepath.Dir(r.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(r.config, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, bin := range daemons(r) {
		program := filepath.Join(r.dir, name) // where that user may run it
		content, err := os.ReadFile(bin)
		if err == nil {
			err = os.WriteFile(program, content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		p := testkit.StartProc(t, testkit.Command{
			Path: "setpriv", Args: []string{"--reuid=65534", "--regid=65534", "--clear-groups", program, "-config", r.config},
		})
		code := p.Wait(testkit.WaitLimit)
		for _, want := range []string{"may not write the directory " + r.dir, "mode 0755", "run as root: find " + r.dir} {
			if code != 1 || !strings.Contains(p.Stderr(), want) {
				t.Errorf("%s: exit code %d, want 1 and %q: %s", name, code, want, p.Stderr())
			}
		}
	}
}

// TestStorage_CheckpointNumbers: the WAL is cut after storage.wal_checkpoint_interval
// while the daemons work, and the numbers say so.
func TestStorage_CheckpointNumbers(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:1/api/v1/import", map[string]string{"logging": "level: info"})
	text, err := os.ReadFile(r.config)
	if err == nil {
		text = []byte(strings.Replace(string(text), "storage:\n", "storage:\n  wal_checkpoint_interval: 1m\n", 1))
		err = os.WriteFile(r.config, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := r.startBoth()
	testkit.Eventually(t, testkit.WaitLimit, "a checkpoint in the numbers", func() bool {
		_, text := get(t, p.collector+"/metrics")
		return metricAbove(text, "storage_wal_bytes_reclaimed", 10_000) && metricAbove(text, "storage_wal_checkpoint_duration_ms", -1)
	})
	if line := p.collectord.WaitLine(time.Second, "WAL checkpointed"); !strings.Contains(line, `"wal_bytes_after":0`) {
		t.Errorf("the log: %s", line)
	}
	r.stopBoth(p)
}
