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

	"belabox-metrics/shared/datafile"
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
	f(dir, datafile.ErrNotRegular, "it is a directory; remove it or move it away")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "made"), link); err != nil {
		t.Fatal(err)
	}
	f(link, datafile.ErrNotRegular, "it is a symbolic link; remove it or move it away")
	if _, err := os.Lstat(filepath.Join(dir, "made")); err == nil {
		t.Error("a file was made through a link")
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f(pipe, datafile.ErrNotRegular, "it is a named pipe; remove it or move it away")
	if _, _, err := Holder(pipe); !errors.Is(err, datafile.ErrNotRegular) {
		t.Errorf("the holder of a pipe: got %v", err)
	}
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
		`lock "/x/a.lock": permission denied: run as the user who owns the directory`)
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
	f := func(content string, want int) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got := readPID(file); got != want {
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

// TestInPlace has somebody remove and remake the file of a lock that is held. Between open and
// flock it must not count as taken, later the holder must be told.
func TestInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.lock")
	l := acquire(t, path)
	f := func(what string, wantErr error, wantSettled error) {
		t.Helper()
		if err := l.InPlace(); !errors.Is(err, wantErr) {
			t.Errorf("%s: got %v, want %v", what, err, wantErr)
		}
		if err := l.settle(); !errors.Is(err, wantSettled) {
			t.Errorf("%s: settle: got %v, want %v", what, err, wantSettled)
		}
	}
	f("the file in place", nil, nil)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	f("a removed file", ErrLost, ErrHeld)
	other := acquire(t, path)
	f("a replaced file", ErrLost, ErrHeld)
	release(t, l)
	wantContent(t, path, fmt.Sprintf("%d\n", os.Getpid())) // of the other
	release(t, other)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := l.InPlace(); err != nil {
		t.Errorf("released: got %v", err)
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
	if _, err := AcquireWait(ctx, filepath.Dir(path)); !errors.Is(err, datafile.ErrNotRegular) {
		t.Errorf("got %v, want %v at once", err, datafile.ErrNotRegular)
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
