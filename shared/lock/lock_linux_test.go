package lock

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
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
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // so that the directory can be removed
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Error(err)
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
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, syscall.EACCES) || !strings.HasSuffix(err.Error(), "give them to this one") {
			t.Errorf("got %v, want %v and what to do", err, syscall.EACCES)
		}
	}
}

// TestAcquire_FullDisk locks a device that answers every write with ENOSPC.
func TestAcquire_FullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	l, err := AcquireWait(t.Context(), path) // another run of this test may hold the device
	if err != nil {
		t.Fatalf("got %v, want the lock without a PID in it", err)
	}
	if _, err := Acquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v, want %v", err, ErrHeld)
	}
	release(t, l)
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
