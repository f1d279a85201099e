// Package lock keeps two processes from doing the same work on one database.
//
// A lock is an advisory flock(2) on a file of its own, with the PID of the holder inside. It
// promises that at most one process holds it, that the kernel releases it however the holder ends,
// and that no child process inherits it. The PID is a hint: after a kill it is stale, and seen from
// another container it belongs to another process. The file is never removed: if it were removed
// while one process waits for it and another creates it again, there would be two locks.
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
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const mode = 0o640

// Lock is a lock that this process holds. Keep it until Release: the lock falls with the last
// reference to it.
type Lock struct {
	file *flock.Flock
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

// Release frees the lock and empties its file. A second call does nothing.
func (l *Lock) Release() error {
	if !l.file.Locked() {
		return nil
	}
	// While the lock is still ours. What cannot be emptied is a stale PID, as after a kill, and
	// harmless.
	_ = os.Truncate(l.file.Path(), 0)
	if err := l.file.Unlock(); err != nil {
		return fmt.Errorf("release lock %q: %w", l.file.Path(), err)
	}
	return nil
}

// take tries once.
func take(path string) (*Lock, error) {
	// Writable, because flock on NFS asks for it; package os adds O_CLOEXEC to every file it opens.
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(mode))
	locked, err := f.TryLock()
	if err != nil {
		return nil, explain(path, err)
	}
	if !locked {
		pid := readPID(path)
		return nil, &HeldError{Path: path, PID: pid, Command: command(pid)}
	}
	l := &Lock{file: f}
	if err := l.settle(); err != nil {
		return nil, errors.Join(err, f.Unlock())
	}
	return l, nil
}

// settle makes sure that the file just locked is the one that others will find, and signs it.
func (l *Lock) settle() error {
	path := l.file.Path()
	mine, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("lock %q: %w", path, err)
	}
	there, err := os.Stat(path)
	if err != nil || !os.SameFile(mine, there) {
		// Removed between open and flock: the next process would lock another file. For the callers
		// this is as if somebody else were still at it, so they try again, with the new file.
		return &HeldError{Path: path}
	}
	if err := writePID(path); err != nil {
		return fmt.Errorf("write the process id to lock %q: %w", path, err)
	}
	return nil
}

// writePID overwrites what an earlier holder left. Closing this second descriptor does not free the
// lock: an flock belongs to the open file, unlike the locks of fcntl(2).
func writePID(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil // on a full disk only the hint is missing, not the lock
	}
	if err != nil {
		return err
	}
	return f.Truncate(int64(n))
}

// readPID returns 0 when the file names no process.
func readPID(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 32)) // whatever file stands there
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
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
	case errors.Is(err, syscall.EISDIR):
		hint = ": a directory stands in the place of the lock file; remove it"
	case errors.Is(err, syscall.EROFS):
		hint = ": make the file system writable or set another storage.path"
	case errors.Is(err, fs.ErrPermission):
		hint = ": run as the user who owns the directory and the lock file, or give them to this one"
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, errors.ErrUnsupported):
		hint = ": this file system has no locks; put the database on a local disk"
	}
	return fmt.Errorf("lock %q: %w%s", path, err, hint)
}
