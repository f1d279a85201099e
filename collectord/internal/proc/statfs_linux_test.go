package proc

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStatfs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	usage, err := Statfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want unix.Statfs_t
	if err := unix.Statfs(dir, &want); err != nil {
		t.Fatal(err)
	}
	if usage.Size != float64(want.Blocks)*float64(want.Frsize) || usage.Files != want.Files {
		t.Errorf("got %+v, want what statfs says: %+v", usage, want)
	}
	if !(usage.Available <= usage.Free && usage.Free <= usage.Size) {
		t.Errorf("got %+v", usage)
	}
}

func TestStatfs_PseudoHasNoSize(t *testing.T) {
	t.Parallel()
	if usage, err := Statfs("/proc"); err != nil || usage.Size != 0 {
		t.Errorf("got %+v, %v", usage, err)
	}
}

func TestStatfs_BadPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]error{
		t.TempDir() + "/missing": os.ErrNotExist,
		"/proc\x00/other":        unix.EINVAL, // the kernel would see only what is in front of the NUL
		"":                       os.ErrNotExist,
	} {
		usage, err := Statfs(path)
		pe, ok := errors.AsType[*os.PathError](err)
		if !errors.Is(err, want) || !ok || pe.Path != path || usage != (FilesystemUsage{}) {
			t.Errorf("%q: got %+v, %v, want %v", path, usage, err, want)
		}
	}
}

// TestUsageOf: a BSD that serves NFS reports less than nothing where root has taken what is kept
// for it.
func TestUsageOf(t *testing.T) {
	t.Parallel()
	negative := int64(-5000)
	st := unix.Statfs_t{Bsize: 4096, Frsize: 512, Blocks: 1000, Bfree: 100, Bavail: uint64(negative), Files: 10, Ffree: 5}
	want := FilesystemUsage{Size: 512000, Free: 51200, Available: 0, Files: 10, FilesFree: 5}
	if got := usageOf(&st); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	st.Bavail, st.Frsize = 50, 0
	if got := usageOf(&st); got.Available != 50*4096 {
		t.Errorf("got %+v", got)
	}
}
