package lock

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/datafile"
)

// TestAcquire_NoPermission tries a directory without write access, and a lock file of another user
// in one with it.
func TestAcquire_NoPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "theirs.lock")
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(folder, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // so that the directory can be removed
		for _, folder := range []string{filepath.Dir(dir), dir} {
			if err := os.Chmod(folder, 0o700); err != nil {
				t.Error(err)
			}
		}
	})
	errs := make(chan error, 2)
	go func() {
		// As root, permissions bind only under another file system identity, which is a matter of
		// this thread; it is not unlocked, so that it ends with the goroutine.
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		for _, name := range []string{"new.lock", "theirs.lock"} {
			_, err := Acquire(filepath.Join(dir, name))
			errs <- err
		}
	}()
	for _, remedy := range []string{"run as the user who owns the directory", "run as root: " + datafile.GiveToOwner(path, path)} {
		if err := <-errs; !errors.Is(err, syscall.EACCES) || !strings.HasSuffix(err.Error(), remedy) {
			t.Errorf("got %v, want %v and %q", err, syscall.EACCES, remedy)
		}
	}
}

// TestWritePID_FullDisk writes to a device that answers every write with ENOSPC: the lock counts.
func TestWritePID_FullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := writePID(full); err != nil {
		t.Errorf("got %v, want the lock without a PID in it", err)
	}
}

func TestHeldError_NamesCommand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	acquire(t, path)
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(path)
	if held, ok := errors.AsType[*HeldError](err); !ok || held.Command != strings.TrimSpace(string(comm)) {
		t.Errorf("got %v, want the command %q named", err, comm)
	}
}
