package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

func acquire(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release(t, l) })
	return l
}

func release(t *testing.T, l *Lock) {
	t.Helper()
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("lock file: got %q, want %q", got, want)
	}
}

func TestAcquire_File(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	mine := fmt.Sprintf("%d\n", os.Getpid())
	// What a killed holder left, longer than any PID of ours.
	if err := os.WriteFile(path, []byte("99999999999\n"), mode); err != nil {
		t.Fatal(err)
	}
	l := acquire(t, path)
	wantContent(t, path, mine)

	if _, err := Acquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("second Acquire: got %v, want %v", err, ErrHeld)
	}
	wantContent(t, path, mine)

	release(t, l)
	wantContent(t, path, "")
	again := acquire(t, path)
	release(t, l) // a second Release of the old one must not touch the new one
	wantContent(t, path, mine)
	if _, err := Acquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("after a doubled Release: got %v, want %v", err, ErrHeld)
	}
	release(t, again)
}

func TestAcquire_Mode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	acquire(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got&^mode != 0 || got&0o600 != 0o600 {
		t.Errorf("got mode %v, want %v or less by the umask", got, fs.FileMode(mode))
	}
}

func TestAcquire_Faults(t *testing.T) {
	t.Parallel()
	f := func(path string, want error, wantText string) {
		t.Helper()
		_, err := Acquire(path)
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "lock "+strconv.Quote(path)+": ") ||
			!strings.HasSuffix(err.Error(), wantText) {
			t.Errorf("%s:\n got %v\nwant %v … %s", path, err, want, wantText)
		}
		if errors.Is(err, ErrHeld) {
			t.Errorf("%s: got an error that says held", path)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(filepath.Join(dir, "missing", "a.lock"), syscall.ENOENT, "create the directory or set another storage.path")
	f(filepath.Join(file, "a.lock"), syscall.ENOTDIR, "create the directory or set another storage.path")
	f(dir, syscall.EISDIR, "a directory stands in the place of the lock file; remove it")
}

func TestExplain(t *testing.T) {
	t.Parallel()
	f := func(err error, want string) {
		t.Helper()
		if got := explain("/x/a.lock", err).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	open := func(errno syscall.Errno) error { return &fs.PathError{Op: "open", Path: "/x/a.lock", Err: errno} }
	f(open(syscall.EROFS),
		`lock "/x/a.lock": read-only file system: make the file system writable or set another storage.path`)
	f(open(syscall.EACCES),
		`lock "/x/a.lock": permission denied: run as the user who owns the directory and the lock file, or give them to this one`)
	f(syscall.ENOLCK,
		`lock "/x/a.lock": no locks available: this file system has no locks; put the database on a local disk`)
	f(open(syscall.ENOSPC), `lock "/x/a.lock": no space left on device`)
}

func TestHeldError_Text(t *testing.T) {
	t.Parallel()
	f := func(pid int, command, wantHolder string) {
		t.Helper()
		err := &HeldError{Path: "/x/metrics.db.collectord.lock", PID: pid, Command: command}
		want := `lock "/x/metrics.db.collectord.lock" is held by ` + wantHolder +
			`: only one copy may run on a database; stop it or use another storage.path`
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
	f(1234, "collectord", "process 1234 (collectord)")
	f(1234, "", "process 1234")
	f(0, "", "another process")
}

func TestReadPID(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	if got := readPID(path); got != 0 {
		t.Errorf("no file: got %d, want 0", got)
	}
	f := func(content string, want int) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readPID(path); got != want {
			t.Errorf("%q: got %d, want %d", content, got, want)
		}
	}
	f("1234\n", 1234)
	f("1234", 1234)
	f("", 0)
	f("-1\n", 0) // kill(-1, 0) would mean every process
	f("collectord\n", 0)
	f(strings.Repeat("1", 1<<20), 0)
}

// TestAcquire_Removed has somebody remove and remake the file between open and flock: the lock
// taken then is one on a file that nobody else will find, and must not count.
func TestAcquire_Removed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	old := flock.New(path)
	if ok, err := old.TryLock(); !ok || err != nil {
		t.Fatalf("got %v, %v, want a lock", ok, err)
	}
	t.Cleanup(func() {
		if err := old.Unlock(); err != nil {
			t.Error(err)
		}
	})
	l := &Lock{file: old}
	if err := l.settle(); err != nil {
		t.Errorf("the file in place: got %v, want nil", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.settle(); !errors.Is(err, ErrHeld) {
		t.Errorf("a removed file: got %v, want %v", err, ErrHeld)
	}
	acquire(t, path)
	if err := l.settle(); !errors.Is(err, ErrHeld) {
		t.Errorf("a replaced file: got %v, want %v", err, ErrHeld)
	}
}

func TestAcquireWait_Gets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	first := acquire(t, path)
	var released atomic.Bool
	time.AfterFunc(20*time.Millisecond, func() {
		released.Store(true)
		release(t, first)
	})
	l, err := AcquireWait(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !released.Load() {
		t.Error("got the lock while another held it")
	}
	release(t, l)
}

func TestAcquireWait_GivesUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	acquire(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	_, err := AcquireWait(ctx, path)
	wantText := fmt.Sprintf("wait for lock %q, held by process %d", path, os.Getpid())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), wantText) {
		t.Errorf("got %v, want %s…: %v", err, wantText, context.DeadlineExceeded)
	}
	if _, err := AcquireWait(ctx, filepath.Dir(path)); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("got %v, want %v at once", err, syscall.EISDIR)
	}
}

// TestExclusion counts with a plain variable that only the lock protects; the race detector watches
// as well.
func TestExclusion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	const workers, rounds = 4, 10
	inside, count := new(atomic.Int32), 0
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				l, err := AcquireWait(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("got %d holders, want 1", n)
				}
				count++
				inside.Add(-1)
				release(t, l)
			}
		})
	}
	wg.Wait()
	if count != workers*rounds {
		t.Errorf("got %d, want %d", count, workers*rounds)
	}
}
