package proc

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMounts_RealTableAllocatesNothing(t *testing.T) {
	m := NewMounts(FS{Proc: "/proc"})
	if list, _, err := m.Read(); err != nil || len(list) == 0 {
		t.Fatalf("got %v, %v", list, err)
	}
	if m.watch.plain {
		t.Error("the kernel is not asked whether /proc/self/mounts changed")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := m.Read(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestMounts_KernelTellsOfChange proves that a mount table which is not read
// again because nothing changed is read again when something did.
func TestMounts_KernelTellsOfChange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount, so that the kernel's notice of a changed mount table cannot be seen")
	}
	m := NewMounts(FS{Proc: "/proc"})
	dir := t.TempDir()
	// Each look is two reads, the second of which has nothing new to read.
	look := func(want bool) {
		t.Helper()
		for range 2 {
			list, _, err := m.Read()
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(list, func(m Mount) bool { return m.Point == dir }); got != want {
				t.Errorf("listed: %v, want %v", got, want)
			}
		}
	}
	look(false)
	for range 3 {
		if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Logf("NOT TRIED on a real mount: %v (a container without CAP_SYS_ADMIN): that the table is read again when it changed was proven by TestMounts_Change alone", err)
			return
		}
		look(true)
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		look(false)
	}
}

func BenchmarkMounts(b *testing.B) {
	m := NewMounts(FS{Proc: "/proc"})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
