// Package lock keeps two processes from doing the same work on one database.
//
// A lock is an advisory flock(2) on a file of its own, with the PID of the holder inside. It
// promises that at most one process holds it, that the kernel releases it however the holder ends,
// and that no child process inherits it. The PID is a hint: after a kill it is stale, and seen from
// another container it belongs to another process. The file is never removed: if it were removed
// while one process waits for it and another creates it again, there would be two locks. Whoever
// holds a lock for long looks for that, with InPlace.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"belabox-metrics/shared/datafile"
)

const mode = 0o640

// ErrLost is what errors.Is finds in the error of a lock whose file was removed or replaced.
var ErrLost = errors.New("was removed or replaced while it was held: a second copy could run on the database; the next start takes the lock again")

// Lock is a lock that this process holds. Keep it until Release: the lock falls with the last
// reference to it.
type Lock struct {
	path string
	mu   sync.Mutex // of file
	file *os.File   // nil = released
}

// Acquire takes the lock at path without waiting for its holder; a lock that is held gives a
// *HeldError. It may take up to a tenth of a second when the file does not name a living holder,
// because that holder may be about to write its PID, or to vanish.
func Acquire(path string) (*Lock, error) {
	for deadline := time.Now().Add(100 * time.Millisecond); ; time.Sleep(10 * time.Millisecond) {
		l, err := take(path)
		held, ok := errors.AsType[*HeldError](err)
		if !ok || alive(held.PID) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// AcquireWait takes the lock at path and waits for its holder as long as ctx lasts.
func AcquireWait(ctx context.Context, path string) (*Lock, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		l, err := take(path)
		held, ok := errors.AsType[*HeldError](err)
		if !ok {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for lock %q, held by %s: %w", path, held.holder(), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Release empties the file and frees the lock. A second call does nothing.
func (l *Lock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	// While the lock is still ours. What cannot be emptied is a stale PID, as after a kill, and
	// harmless.
	_ = l.file.Truncate(0)
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("release lock %q: %w", l.path, err)
	}
	return nil
}

// InPlace returns an error that is ErrLost if the file under the name of the lock is no longer the
// one that is locked: then another process can take the lock, too.
func (l *Lock) InPlace() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	mine, err := l.file.Stat()
	if err != nil {
		return nil // nothing is known
	}
	there, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return fmt.Errorf("lock %q %w", l.path, ErrLost)
	}
	return nil
}

// take tries once.
func take(path string) (*Lock, error) {
	// Writable, because flock on NFS asks for it; package os adds O_CLOEXEC to every file it opens.
	f, err := datafile.Open(path, os.O_CREATE|os.O_RDWR, mode)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		pid := readPID(f)
		_ = f.Close() // it was only read
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{Path: path, PID: pid, Command: command(pid)}
		}
		return nil, explain(path, err)
	}
	l := &Lock{path: path, file: f}
	if err := l.settle(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func flock(f *os.File, how int) error { return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) }

// settle makes sure that the file just locked is the one that others will find, and signs it.
func (l *Lock) settle() error {
	if l.InPlace() != nil {
		// Removed between open and flock: the next process would lock another file. For the callers
		// this is as if somebody else were still at it, so they try again, with the new file.
		return &HeldError{Path: l.path}
	}
	if err := writePID(l.file); err != nil {
		return fmt.Errorf("write the process id to lock %q: %w", l.path, err)
	}
	return nil
}

// writePID overwrites what an earlier holder left.
func writePID(f *os.File) error {
	text := fmt.Sprintf("%d\n", os.Getpid())
	_, err := f.WriteAt([]byte(text), 0)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil // on a full disk only the hint is missing, not the lock
	}
	if err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// readPID returns 0 when the file names no process.
func readPID(f *os.File) int {
	text := make([]byte, 32) // whatever is in it
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// command returns the short name of a process, or "" where that is not to be had (no /proc, another
// container).
func command(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// explain returns the remedy for a lock file that cannot be opened or locked.
func explain(path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the path is named already
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		hint = ": create the directory or set another storage.path"
	case errors.Is(err, syscall.EROFS):
		hint = ": make the file system writable or set another storage.path"
	case errors.Is(err, fs.ErrPermission):
		hint = ": run as the user who owns the directory"
		if _, err := os.Lstat(path); err == nil {
			hint += "; if the lock file is of another user, run as root: " + datafile.GiveToOwner(path, path)
		}
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, errors.ErrUnsupported):
		hint = ": this file system has no locks; put the database on a local disk"
	}
	return fmt.Errorf("lock %q: %w%s", path, err, hint)
}
