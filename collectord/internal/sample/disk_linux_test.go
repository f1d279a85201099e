package sample

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"belabox-metrics/collectord/internal/proc"
)

// TestDisk_LoopDevice proves on a real device with sectors of 4096 bytes that
// /proc/diskstats counts 512-byte units: 4 MiB written past the page cache are
// 4 MiB in disk.written_bytes_total, not 32.
func TestDisk_LoopDevice(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may make a loop device: that bytes are units of 512 was proven on a fixture (TestDisk_UnitIs512), not on a device")
	}
	const sector, written = 4096, 4 << 20
	device, err := newLoopDevice(t, 8<<20, sector)
	if err != nil {
		t.Fatalf("%v: this test needs a loop device: run it as root, in a container with --privileged", err)
	}
	disk := must(NewDisk(proc.FS{Proc: "/proc", Sys: "/sys"}, testDevice, []string{"loop.*"}))
	tags := fmt.Sprintf(`{"device":%q}`, filepath.Base(device))
	m := newMachine(t)
	before := m.tick(disk)
	before.wantFaults(t, 0)
	if got := before.values["disk.sector_size_bytes"+tags]; got != sector {
		t.Errorf("sector size %v, want %d", got, sector)
	}
	writeDirect(t, device, written)
	after := m.tick(disk)
	after.wantFaults(t, 0)
	const total = "disk.written_bytes_total"
	if got := after.values[total+tags] - before.values[total+tags]; got != written {
		t.Errorf("%s grew by %v, want %d", total, got, written)
	}
	if got := after.values["disk.written_bytes_per_second"+tags]; got != written { // the tick is a second
		t.Errorf("%v bytes a second, want %d", got, written)
	}
}

// newLoopDevice makes a loop device over a file of size bytes, until the test
// ends.
func newLoopDevice(t *testing.T, size int64, sector uint32) (path string, err error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return "", err
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	// Between asking for a free device and taking it another may take it.
	for range 10 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		path = fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: sector}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			t.Cleanup(func() {
				if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
					t.Errorf("release %s: %v", path, err)
				}
				_ = loop.Close() // nothing more to lose
			})
			return path, nil
		}
		_ = loop.Close()
		if err != unix.EBUSY {
			return "", fmt.Errorf("configure %s with sectors of %d bytes: %w", path, sector, err)
		}
	}
	return "", fmt.Errorf("%s and the others were always taken by another", path)
}

// writeDirect writes n bytes past the page cache.
func writeDirect(t *testing.T, device string, n int) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// O_DIRECT wants memory that begins at a page, which a mapping does.
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	if _, err := f.Write(memory); err != nil {
		t.Fatal(err)
	}
}
