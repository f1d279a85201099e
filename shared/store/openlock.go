package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/lock"
)

// openLock is the lock on the open database: every process that may write holds it shared, and a
// process holds it exclusively while it creates, examines or exchanges the files.
// docs/decisions/0005-damaged-files.md has the reasons.
type openLock struct {
	path  string
	file  *os.File // metrics.db.open.lock; its lock falls when it is closed
	alone bool
	// daemon is the lock that keeps other copies of this daemon away; nil = none.
	daemon *lock.Lock
	ids    [3]os.FileInfo // of the database, its WAL and its shared memory, as opened
	shm    *os.File       // the shared memory; closing it before SQLite does would drop SQLite's locks on it
}

// suffixes of the files that make a database.
var suffixes = [3]string{"", "-wal", "-shm"}

// lockOpen waits for the lock: alone if no other process has the database open, else shared.
// While files are missing it has to be alone, since a second WAL or a second
// shared memory on one database corrupts it.
func lockOpen(ctx context.Context, path string, log *slog.Logger) (*openLock, error) {
	l := &openLock{path: path}
	var err error
	if l.file, err = datafile.Open(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, err
	}
	start, logged := time.Now(), false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if ok, err := l.try(); ok || err != nil {
			if err != nil {
				err = errors.Join(err, l.file.Close())
			}
			return l, err
		}
		if !logged && time.Since(start) > time.Second {
			logged = true
			log.Info("database in use by the other daemon, waiting", "path", path)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the other daemon to close it: %w", ctx.Err()), l.file.Close())
		case <-time.After(pause):
		}
	}
}

// lockBeside takes the lock for a command: beside the daemons, or when no process has the
// database open, but not while it is made, examined or salvaged.
func lockBeside(path string) (*openLock, error) {
	if _, err := os.Stat(path); err != nil {
		return &openLock{path: path}, nil // opening it will say so
	}
	file, err := datafile.Open(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, ExplainAccess(path, err)
	}
	l := &openLock{path: path, file: file}
	ok, err := l.flock(syscall.LOCK_SH)
	if ok && err == nil && incomplete(path) {
		ok, err = l.flock(syscall.LOCK_EX) // its WAL is yet to be made, by us alone
	}
	if err == nil && !ok {
		err = fmt.Errorf("open store %q: a daemon is starting and examines it; try again in a moment", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func (l *openLock) try() (ok bool, err error) {
	if l.alone, err = l.flock(syscall.LOCK_EX); l.alone || err != nil {
		return l.alone, err
	}
	if incomplete(l.path) {
		return false, nil
	}
	if ok, err = l.flock(syscall.LOCK_SH); !ok || err != nil {
		return false, err
	}
	if incomplete(l.path) { // meanwhile
		_, err = l.flock(syscall.LOCK_UN)
		return false, err
	}
	return true, nil
}

func (l *openLock) flock(how int) (bool, error) {
	err := syscall.Flock(int(l.file.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// incomplete reports whether a file of the database is missing, or damage has been
// noticed in it.
func incomplete(path string) bool {
	for _, s := range suffixes {
		if info, err := os.Stat(path + s); err != nil || s == suffixes[2] && info.Size() < shmLeast {
			return true
		}
	}
	_, err := os.Lstat(path + planSuffix)
	return !errors.Is(err, fs.ErrNotExist)
}

// opened notes which files were opened, and lets others in.
func (l *openLock) opened() (err error) {
	for i, s := range suffixes {
		if l.ids[i], err = os.Stat(l.path + s); errors.Is(err, fs.ErrNotExist) {
			return replaced(i, "removed")
		} else if err != nil {
			return fmt.Errorf("stat the opened files: %w", err)
		}
	}
	if l.shm, err = datafile.Open(l.path+suffixes[2], os.O_RDONLY, 0); err != nil {
		return fmt.Errorf("open the shared memory: %w", err)
	}
	l.write(lastOpen{open: true, db: idOf(l.ids[0]), wal: idOf(l.ids[1])})
	if l.alone {
		l.alone = false
		_, err = l.flock(syscall.LOCK_SH)
	}
	return err
}

// release gives the lock back, after the database was closed. The last one notes
// whether all was in order: SQLite then has removed the WAL.
func (l *openLock) release() error {
	if l.shm != nil {
		_ = l.shm.Close() // it was only read
	}
	if l.file == nil {
		return nil
	}
	last, err := l.flock(syscall.LOCK_EX)
	if !last && err == nil {
		// The other process may be closing, too, and find this one: the last to release and request
		// the lock again gets it exclusively.
		_, _ = l.flock(syscall.LOCK_UN) // if it fails, so does the next
		last, err = l.flock(syscall.LOCK_EX)
	}
	if last && err == nil {
		before := l.read()
		now, err := os.Stat(l.path)
		if err == nil && WALSize(l.path) == 0 && before.db == idOf(now) {
			l.write(lastOpen{db: before.db})
		}
	}
	return l.file.Close()
}

// lastOpen is what the lock file says about the last time the database was open.
type lastOpen struct {
	known bool
	open  bool   // not closed in order since
	db    string // device and inode
	wal   string
	boot  string // of the kernel that had it open
}

// is compares a file with one of the lastOpen. Devices may have other numbers after
// a boot or a mount elsewhere; then the inode must do.
func (i lastOpen) is(noted string, info os.FileInfo) bool {
	id := idOf(info)
	if i.boot != clock.BootID() {
		_, id, _ = strings.Cut(id, ":")
		_, noted, _ = strings.Cut(noted, ":")
	}
	return id == noted
}

func (l *openLock) read() (i lastOpen) {
	text := make([]byte, 200)
	n, err := l.file.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return i
	}
	var state string
	if k, _ := fmt.Sscanf(string(text[:n]), "%s db %s wal %s boot %s", &state, &i.db, &i.wal, &i.boot); k < 2 || (state != "open" && state != "closed") {
		return lastOpen{}
	}
	i.known, i.open = true, state == "open"
	return i
}

// write is of no use on a disk that is full: then nothing is known next time, as
// before the first time.
func (l *openLock) write(i lastOpen) {
	state := "closed"
	if i.open {
		state = "open"
	}
	if i.wal == "" {
		i.wal = "none"
	}
	text := fmt.Sprintf("%s db %s wal %s boot %s\n", state, i.db, i.wal, clock.BootID())
	if n, err := l.file.WriteAt([]byte(text), 0); err != nil {
		_ = l.file.Truncate(0)
	} else {
		_ = l.file.Truncate(int64(n))
		_ = l.file.Sync() // after a power cut the boot counts
	}
}

// idOf names a file for comparison with another time; "" where it cannot.
func idOf(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return ""
}
