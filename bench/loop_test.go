//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// disk is a loop device with an ext4 of its own, whose writes nobody else adds to.
type disk struct {
	b      *testing.B
	Dir    string // where it is mounted
	device string // "/dev/loop3"
}

// newDisk makes one of 512 MB. It is unmounted and deleted when the benchmark
// ends. The error says what this machine lacks.
func newDisk(b *testing.B) (_ *disk, err error) {
	b.Helper()
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("making a loop device takes root")
	}
	image := filepath.Join(b.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		return nil, err
	}
	device, err := command("losetup", "--find", "--show", image)
	if err != nil {
		return nil, err
	}
	d := &disk{b: b, Dir: b.TempDir(), device: device}
	b.Cleanup(func() { d.must("losetup", "--detach", device) })
	// Nothing is left for the kernel to initialise in the background.
	if _, err := command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device); err != nil {
		return nil, err
	}
	if _, err := command("mount", device, d.Dir); err != nil {
		return nil, err
	}
	b.Cleanup(func() { d.must("umount", d.Dir) })
	return d, nil
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

func (d *disk) must(name string, args ...string) {
	if _, err := command(name, args...); err != nil {
		d.b.Error(err)
	}
}

// written returns the bytes written to the device so far, what was still in
// memory included: sectors of 512 bytes, the seventh number of
// https://docs.kernel.org/block/stat.html
func (d *disk) written() int64 {
	d.b.Helper()
	d.must("sync", "--file-system", d.Dir)
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.device), "stat"))
	if err != nil {
		d.b.Fatal(err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		d.b.Fatalf("stat of %s: %q", d.device, text)
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	if err != nil {
		d.b.Fatal(err)
	}
	return sectors * 512
}
