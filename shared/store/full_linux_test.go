package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of that many KiB and returns where. fill leaves so many free KiB
// of it; a negative number gives all back.
func smallDisk(t *testing.T, size int) (dir string, fill func(free int)) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", size)); err != nil {
		t.Fatalf("mount: %v; this test mounts file systems: run it as root, in a container with --privileged", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	name := filepath.Join(dir, "filler")
	return dir, func(free int) {
		t.Helper()
		if err := removeFile(name); err != nil {
			t.Fatal(err)
		}
		if free < 0 {
			return
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		n := int64(st.Bavail)*int64(st.Bsize) - int64(free)<<10
		f, err := os.Create(name)
		if err == nil {
			err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, max(n, 1)), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// frees are the free KiB at which a disk is full: at each step of what is tried.
var frees = []int{0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}

// wantFull requires an error that is waited for, if there is one.
func wantFull(t *testing.T, what string, free int, err error) {
	t.Helper()
	if err != nil && (!errors.Is(err, ErrFull) || ClassOf(err) != Passing) {
		t.Errorf("%s with %d KiB: %v, want ErrFull", what, free, err)
	}
}

// TestDiskFull_Tick: the disk becomes full at some step of a tick. It is stored or it is not; with
// space again it is, and so are those after it.
func TestDiskFull_Tick(t *testing.T) {
	t.Parallel()
	for _, free := range frees[:8] {
		dir, fill := smallDisk(t, 4096)
		in := openInserter(t, options(filepath.Join(dir, "metrics.db")), 0)
		all := samples(numberSeries(500), 1)
		mustInsert(t, in, tick0, all)
		fill(free)
		stored := int64(len(all))
		for n := range 3 {
			r, err := in.Insert(t.Context(), tick0.Add(time.Duration(n+1)*time.Second), all)
			wantFull(t, "tick", free, err)
			if _, err := in.Checkpoint(t.Context()); err != nil {
				wantFull(t, "checkpoint", free, err)
			}
			stored += int64(r.Inserted)
		}
		if got := queryInt(t, in.pool, "SELECT count(*) FROM metrics"); got != stored {
			t.Errorf("with %d KiB: %d rows, %d were committed", free, got, stored)
		}
		fill(-1)
		mustInsert(t, in, tick0.Add(time.Hour), all)
		checkIntegrity(t, in.pool)
	}
}

// TestDiskFull_Upload: the same for each transaction of a chunk.
func TestDiskFull_Upload(t *testing.T) {
	t.Parallel()
	for _, free := range frees[:8] {
		dir, fill := smallDisk(t, 4096)
		o := options(filepath.Join(dir, "metrics.db"))
		in, ob := openInserter(t, o, 0), openOutbox(t, o)
		mustInsert(t, in, tick0, samples(numberSeries(900), 1))
		first, second := newChunk(pendingKeys(t, ob, 300, nil), true), (*Chunk)(nil)
		if err := ob.RecordSending(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		fill(free)
		second = newChunk(pendingKeys(t, ob, 300, first.Keys.Contains), true)
		steps := []func() error{
			func() error { return ob.MarkUploaded(t.Context(), first, nil, nil) },
			func() error { return ob.RecordSending(t.Context(), second) },
			func() error { return ob.Requeue(t.Context(), second, second.Keys[:100]) },
			func() error { return ob.MarkVerified(t.Context(), first) },
			func() error { return ob.Reject(t.Context(), second, []Rejection{{second.Keys[0], "r", ""}}) },
			func() error { _, err := ob.Mend(t.Context()); return err },
			func() error { _, err := ob.Prune(t.Context(), tick0.Add(time.Hour), 1000); return err },
		}
		for i, step := range steps {
			err := step()
			wantFull(t, fmt.Sprint("step ", i), free, err)
			if err == nil {
				continue
			}
			fill(-1)
			if err := step(); err != nil {
				t.Fatalf("step %d with space again: %v", i, err)
			}
			fill(free)
		}
		fill(-1)
		checkConsistent(t, ob.pool)
		checkLedger(t, ob)
		checkIntegrity(t, ob.pool)
	}
}

// TestDiskFull_Mark: the disk becomes full while marks go to the WAL because the cache is full of
// them. SQLite ends the transaction by itself then.
func TestDiskFull_Mark(t *testing.T) {
	t.Parallel()
	dir, fill := smallDisk(t, 8192)
	o := options(filepath.Join(dir, "metrics.db"))
	in, ob := openInserter(t, o, 0), openOutbox(t, o)
	for tick := range 20 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(1000), 1))
	}
	c := recordPending(t, ob, 20_000)
	before := dump(t, ob.pool)
	for _, free := range []int{0, 128} {
		fill(free)
		err := ob.MarkAllUploaded(t.Context(), c)
		if err == nil || strings.Contains(err.Error(), "rollback") {
			t.Fatalf("with %d KiB: %v", free, err)
		}
		wantFull(t, "mark", free, err)
		fill(-1)
		if after := dump(t, ob.pool); after != before {
			t.Errorf("with %d KiB the file changed:\n%s", free, diff(after, before))
		}
	}
	if err := ob.MarkAllUploaded(t.Context(), c); err != nil {
		t.Error(err)
	}
	checkConsistent(t, ob.pool)
}

// TestDiskFull_Salvage: the disk becomes full at some step of a salvage. Nothing is lost, and with
// space again it is done.
func TestDiskFull_Salvage(t *testing.T) {
	t.Parallel()
	whole := lived(t, 40)
	full := 0
	for _, free := range frees {
		dir, fill := smallDisk(t, 4096)
		l := whole.copyTo(t, filepath.Join(dir, "metrics.db"))
		if err := RequestSalvage(l.path, ErrDamaged); err != nil {
			t.Fatal(err)
		}
		fill(free)
		in, err := OpenInserter(t.Context(), l.options(), 0)
		wantFull(t, "salvage", free, err)
		if err != nil {
			full++
		} else if err := in.Close(t.Context()); err != nil {
			wantFull(t, "close", free, err)
		}
		fill(-1)
		if lost, _ := l.check(t, l.options()); lost > 0 {
			t.Errorf("with %d KiB: %d rows lost", free, lost)
		}
		if n := len(l.damagedFiles(t)); n < 2 {
			t.Errorf("with %d KiB: %d damaged files are kept", free, n)
		}
	}
	if full < 3 || full == len(frees) {
		t.Errorf("%d of %d disks were full: the test proves nothing", full, len(frees))
	}
}

// TestDiskFull_Migration: the disk becomes full at some step of an upgrade. The file stays at a
// version, and with space again it is upgraded.
func TestDiskFull_Migration(t *testing.T) {
	t.Parallel()
	full := 0
	for _, free := range frees {
		dir, fill := smallDisk(t, 8192)
		path := filepath.Join(dir, "metrics.db")
		rows := makeOld(t, path, 5)
		fill(free)
		err := Migrate(t.Context(), options(path))
		wantFull(t, "upgrade", free, err)
		if err != nil {
			full++
		}
		fill(-1)
		if err := Migrate(t.Context(), options(path)); err != nil {
			t.Fatalf("with space again, after %d KiB: %v", free, err)
		}
		checkUpgraded(t, rawDB(t, path), 5, rows)
	}
	if full < 3 || full == len(frees) {
		t.Errorf("%d of %d disks were full: the test proves nothing", full, len(frees))
	}
}

// TestReadOnly_Remount: the file system becomes read-only under both handles, and writable again.
func TestReadOnly_Remount(t *testing.T) {
	t.Parallel()
	dir, _ := smallDisk(t, 4096)
	o := options(filepath.Join(dir, "metrics.db"))
	in, ob := openInserter(t, o, 0), openOutbox(t, o)
	all := samples(numberSeries(50), 1)
	mustInsert(t, in, tick0, all)
	db := rawDB(t, o.Path)
	_ = db.Close()
	// What is open for writing keeps a file system from becoming read-only in order; a start does
	// not.
	if err := errors.Join(in.Close(t.Context()), ob.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenInserter(t.Context(), o, 0); !errors.Is(err, ErrReadOnly) || ClassOf(err) != Passing {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
	if r, err := OpenReader(t.Context(), o.Path); err != nil {
		t.Errorf("a look at it: %v", err)
	} else if n, err := r.RowCount(t.Context()); n != 50 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	again := openInserter(t, o, 0)
	mustInsert(t, again, tick0.Add(time.Second), all)
}
