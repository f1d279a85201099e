package sample

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
)

// fakeVolume answers statfs for tests.
type fakeVolume struct {
	usage proc.FilesystemUsage
	err   error
	hang  chan struct{} // nil: does not hang
	asked atomic.Int32
}

func (v *fakeVolume) Usage() (proc.FilesystemUsage, error) {
	v.asked.Add(1)
	if v.hang != nil {
		<-v.hang
	}
	return v.usage, v.err
}

// newFakeFilesystem is the collector filesystem whose volumes, by path, answer
// what a test wants; any other has 1000 bytes.
func newFakeFilesystem(fs proc.FS, volumes map[string]*fakeVolume) Collector {
	c := NewFilesystem(fs, testDevice).(*filesystem)
	c.statfs = func(path string) (proc.FilesystemUsage, error) {
		if v := volumes[path]; v != nil {
			return v.Usage()
		}
		return proc.FilesystemUsage{Size: 1000, Free: 300, Available: 200, Files: 50, FilesFree: 20}, nil
	}
	return c
}

func mountKey(metric, point, typ string) string {
	return fmt.Sprintf(`filesystem.%s{"fstype":%q,"mountpoint":%q}`, metric, typ, point)
}

func TestFilesystem_Boards(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string][]string{
		"rk3588":         {"/", "/boot", "/media/recordings"},
		"raspberrypi5":   {"/", "/boot/firmware"},
		"mounts-escaped": {"/", "/media/my stick", `/media/not\\04an\\999escape\\`, `/media/tab\tnewline\nbackslash\\hash#`, "/mnt/share"},
	} {
		r := newMachine(t).tick(newFakeFilesystem(treeOf(tree), nil))
		r.wantFaults(t, 0)
		if got := r.labelled("mountpoint"); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tree, got, want)
		}
	}
}

func TestFilesystem_Values(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(newFakeFilesystem(treeOf("raspberrypi5"), map[string]*fakeVolume{
		"/":              {usage: proc.FilesystemUsage{Size: 31e9, Free: 12e9, Available: 10e9, Files: 1000, FilesFree: 700}},
		"/boot/firmware": {usage: proc.FilesystemUsage{Size: 5e8, Free: 4e8, Available: 4e8}},
	}))
	r.wantFaults(t, 0)
	r.want(t, "filesystem.", map[string]float64{
		mountKey("size_bytes", "/", "ext4"):                   31e9,
		mountKey("free_bytes", "/", "ext4"):                   12e9,
		mountKey("available_bytes", "/", "ext4"):              10e9,
		mountKey("files_free", "/", "ext4"):                   700,
		mountKey("size_bytes", "/boot/firmware", "vfat"):      5e8, // vfat has no fixed number of files
		mountKey("free_bytes", "/boot/firmware", "vfat"):      4e8,
		mountKey("available_bytes", "/boot/firmware", "vfat"): 4e8,
	})
}

func TestFilesystem_OnePerDevice(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(newFakeFilesystem(treeOf("mounts-many-views"), nil))
	r.wantFaults(t, 0)
	// Of /dev/sda2 the shorter of /data, /srv and a file; of the export the shorter; of what is
	// only called "share" both; nothing at or below a tmpfs that came later, and no FUSE.
	want := []string{"/", "/homework", "/mnt/auto", "/mnt/nas", "/mnt/one", "/mnt/two", "/srv"}
	if got := r.labelled("mountpoint"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFilesystem_HungMountBlocksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		nas := &fakeVolume{hang: release, usage: proc.FilesystemUsage{Size: 77}}
		usb := &fakeVolume{hang: release, usage: proc.FilesystemUsage{Size: 88}}
		m := newMachine(t)
		mounts := "/dev/sda1 / ext4 rw 0 0\nnas:/x /mnt/nas nfs4 rw 0 0\n/dev/sdb1 /mnt/usb vfat rw 0 0\n/dev/sdc1 /mnt/ok vfat rw 0 0\n"
		m.write("proc/1/mounts", mounts)
		filesystem := newFakeFilesystem(m.fs(), map[string]*fakeVolume{"/mnt/nas": nas, "/mnt/usb": usb})
		start := time.Now()
		for i := range 5 {
			if i == 3 { // another mount, which must not ask the hung ones again
				m.write("proc/1/mounts", mounts+"/dev/sdd1 /mnt/new ext4 rw 0 0\n")
			}
			r := m.tick(filesystem)
			r.wantFaults(t, 2)
			for _, point := range []string{"/mnt/nas", "/mnt/usb"} {
				if !strings.Contains(fmt.Sprint(r.errs), point) {
					t.Errorf("errors %q do not name %s", r.errs, point)
				}
			}
			want := []string{"/", "/mnt/ok"}
			if i >= 3 {
				want = []string{"/", "/mnt/new", "/mnt/ok"}
			}
			if got := r.labelled("mountpoint"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if took := time.Since(start); took != callTimeout {
			t.Errorf("waited %v, want %v once", took, callTimeout)
		}
		if n := nas.asked.Load(); n != 1 {
			t.Errorf("asked a hung mount %d times", n)
		}
		close(release) // the server is back
		synctest.Wait()
		r := m.tick(filesystem)
		r.wantFaults(t, 0)
		if got := r.values[mountKey("size_bytes", "/mnt/nas", "nfs4")]; got != 77 {
			t.Errorf("got %v after the server came back", got)
		}
	})
}

func TestFilesystem_Errors(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("proc/1/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /dead ext4 rw 0 0\n/dev/sdc1 /private ext4 rw 0 0\n/dev/sdd1 /odd strangefs rw 0 0\n")
	hidden := &fakeVolume{err: &os.PathError{Op: "statfs", Path: "/private", Err: syscall.EACCES}}
	filesystem := newFakeFilesystem(m.fs(), map[string]*fakeVolume{
		"/dead":    {err: &os.PathError{Op: "statfs", Path: "/dead", Err: syscall.EIO}},
		"/private": hidden,
		"/odd":     {}, // size 0: a pseudo file system of a kind nobody knows
	})
	r := m.tick(filesystem)
	r.wantFaults(t, 2)
	if text := fmt.Sprint(r.errs); !strings.Contains(text, "/dead") || !strings.Contains(text, "collection.rootfs_path") {
		t.Errorf("got %s", text)
	}
	// What this user may not see is said once, what is broken always.
	r = m.tick(filesystem)
	r.wantFaults(t, 1)
	if got := r.labelled("mountpoint"); !slices.Equal(got, []string{"/"}) {
		t.Errorf("got %q", got)
	}
	if n := hidden.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	hidden.err, hidden.usage.Size = nil, 5
	m.write("proc/1/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdc1 /private ext4 rw 0 0\n")
	r = m.tick(filesystem)
	r.wantFaults(t, 0)
	if got := r.labelled("mountpoint"); !slices.Equal(got, []string{"/", "/private"}) {
		t.Errorf("got %q after the table changed", got)
	}
}

func TestFilesystem_BadTable(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(newFakeFilesystem(treeOf("mounts-truncated"), nil))
	r.wantFaults(t, 1)
	if got := r.labelled("mountpoint"); !slices.Equal(got, []string{"/"}) {
		t.Errorf("got %q", got)
	}
	m := newMachine(t)
	if r := m.tick(newFakeFilesystem(m.fs(), nil)); !errors.Is(r.err, os.ErrNotExist) {
		t.Errorf("no table: %v", r.err)
	}
}

func TestFilesystem_Cap(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	var table strings.Builder
	for i := range 40 {
		fmt.Fprintf(&table, "/dev/sd%d /mnt/%d ext4 rw 0 0\n", i, i)
	}
	m.write("proc/1/mounts", table.String())
	filesystem := newFakeFilesystem(m.fs(), nil)
	r := m.tick(filesystem)
	r.wantFaults(t, 1)
	if got := fmt.Sprint(r.errs); !strings.Contains(got, "8 file systems left out") {
		t.Errorf("got %s", got)
	}
	first := r.labelled("mountpoint")
	if len(first) != maxFilesystems || !slices.Contains(first, "/mnt/0") || slices.Contains(first, "/mnt/39") {
		t.Errorf("got %q, want those that were mounted first", first)
	}
}

// TestChooseMounts_AlwaysOnePerPlace makes mount tables with few names, so that
// devices and points come several times.
func TestChooseMounts_AlwaysOnePerPlace(t *testing.T) {
	t.Parallel()
	mount := rapid.Custom(func(t *rapid.T) proc.Mount {
		return proc.Mount{
			Source: rapid.SampledFrom([]string{"/dev/a", "/dev/b", "nas:/x", "word"}).Draw(t, "source"),
			Point:  rapid.SampledFrom([]string{"/", "/a", "/a/b", "/a/b/c", "/ab", "relative/a"}).Draw(t, "point"),
			Type:   rapid.SampledFrom([]string{"ext4", "nfs", "overlay", "tmpfs"}).Draw(t, "type"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		table := rapid.SliceOfN(mount, 0, 12).Draw(t, "table")
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		chosen, left := chooseMounts(table, limit)
		if len(chosen) > limit || left > 0 && len(chosen) < limit {
			t.Fatalf("%d chosen and %d left at a limit of %d", len(chosen), left, limit)
		}
		for i, m := range chosen {
			if leftOut(m) {
				t.Fatalf("chose %+v", m)
			}
			if !slices.ContainsFunc(inSight(table), func(o proc.Mount) bool { return o == m }) {
				t.Fatalf("%+v is covered by another mount", m)
			}
			for _, other := range chosen[:i] {
				if other.Point == m.Point || isPlace(m.Source) && other.Source == m.Source {
					t.Fatalf("both %+v and %+v", other, m)
				}
			}
		}
		// Every device that is visible under a real type is there, unless cut.
		if left == 0 {
			for _, m := range inSight(table) {
				if leftOut(m) {
					continue
				}
				if !slices.ContainsFunc(chosen, func(o proc.Mount) bool {
					return o == m || o.Source == m.Source && len(o.Point) <= len(m.Point)
				}) {
					t.Fatalf("nothing chosen for %+v", m)
				}
			}
		}
	})
}

// inSight returns the mounts that no later one covers, the slow way.
func inSight(table []proc.Mount) (list []proc.Mount) {
	for i, m := range table {
		if !slices.ContainsFunc(table[i+1:], func(o proc.Mount) bool {
			return o.Point == m.Point || o.Point != "/" && strings.HasPrefix(m.Point, o.Point+"/")
		}) {
			list = append(list, m)
		}
	}
	return list
}

func TestFilesystem_AllocatesNothing(t *testing.T) {
	wantNoAllocations(t, newFakeFilesystem(treeOf("raspberrypi5"), nil)) // one directly, one through a call
}
