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
)

// door is who has the database open: a lock that everybody who may write holds
// shared, and that whoever makes, examines or exchanges the files holds alone.
// docs/decisions/0005-damaged-files.md says why.
type door struct {
	path  string
	file  *os.File // metrics.db.open.lock; its lock falls when it is closed
	alone bool
	ids   [3]os.FileInfo // of the database, its WAL and its shared memory, as opened
}

// suffixes of the files that make a database.
var suffixes = [3]string{"", "-wal", "-shm"}

// enter waits for the lock: alone if nobody has the database open, else shared.
// While files are missing it has to be alone, since a second WAL or a second
// shared memory on one database corrupts it.
func enter(ctx context.Context, path string, log *slog.Logger) (*door, error) {
	d := &door{path: path}
	var err error
	if d.file, err = os.OpenFile(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, err
	}
	start, told := time.Now(), false
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if ok, err := d.try(); ok || err != nil {
			if err != nil {
				err = errors.Join(err, d.file.Close())
			}
			return d, err
		}
		if !told && time.Since(start) > time.Second {
			told = true
			log.Info("waiting for the other daemon to let go of the database", "path", path)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait until the other daemon lets go of it: %w", ctx.Err()), d.file.Close())
		case <-time.After(pause):
		}
	}
}

// beside enters for a command: beside the daemons, or when nobody has the database
// open, but not while it is being made, examined or salvaged.
func beside(path string) (*door, error) {
	if _, err := os.Stat(path); err != nil {
		return &door{path: path}, nil // opening it will say so
	}
	file, err := os.OpenFile(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, ExplainAccess(path, err)
	}
	d := &door{path: path, file: file}
	ok, err := d.flock(syscall.LOCK_SH)
	if ok && err == nil && incomplete(path) {
		ok, err = d.flock(syscall.LOCK_EX) // its WAL is yet to be made, by us alone
	}
	if err == nil && !ok {
		err = fmt.Errorf("open store %q: a daemon is starting and examines it; try again in a moment", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return d, nil
}

func (d *door) try() (ok bool, err error) {
	if d.alone, err = d.flock(syscall.LOCK_EX); d.alone || err != nil {
		return d.alone, err
	}
	if incomplete(d.path) {
		return false, nil
	}
	if ok, err = d.flock(syscall.LOCK_SH); !ok || err != nil {
		return false, err
	}
	if incomplete(d.path) { // meanwhile
		_, err = d.flock(syscall.LOCK_UN)
		return false, err
	}
	return true, nil
}

func (d *door) flock(how int) (bool, error) {
	err := syscall.Flock(int(d.file.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// incomplete reports whether a file of the database is missing, or damage has been
// noticed in it.
func incomplete(path string) bool {
	for _, s := range suffixes {
		if _, err := os.Stat(path + s); err != nil {
			return true
		}
	}
	_, err := os.Lstat(path + planSuffix)
	return !errors.Is(err, fs.ErrNotExist)
}

// settle notes which files were opened, and lets others in.
func (d *door) settle() (err error) {
	for i, s := range suffixes {
		if d.ids[i], err = os.Stat(d.path + s); err != nil {
			return fmt.Errorf("look at the files just opened: %w", err)
		}
	}
	d.write(imprint{open: true, db: idOf(d.ids[0]), wal: idOf(d.ids[1])})
	if d.alone {
		d.alone = false
		_, err = d.flock(syscall.LOCK_SH)
	}
	return err
}

// leave gives the lock back, after the database was closed. The last one notes
// whether all was in order: SQLite then has removed the WAL.
func (d *door) leave() error {
	if d.file == nil {
		return nil
	}
	last, err := d.flock(syscall.LOCK_EX)
	if !last && err == nil {
		// The other one may be leaving, too, and find us here: whoever lets go and asks
		// again last is alone.
		_, _ = d.flock(syscall.LOCK_UN) // if it fails, so does the next
		last, err = d.flock(syscall.LOCK_EX)
	}
	if last && err == nil {
		before := d.read()
		now, err := os.Stat(d.path)
		if err == nil && WALSize(d.path) == 0 && before.db == idOf(now) {
			d.write(imprint{db: before.db})
		}
	}
	return d.file.Close()
}

// imprint is what the lock file says of the last time the database was open.
type imprint struct {
	known bool
	open  bool   // not closed in order since
	db    string // device and inode
	wal   string
	boot  string // of the kernel that had it open
}

// is compares a file with one of the imprint. Devices may have other numbers after
// a boot or a mount elsewhere; then the inode must do.
func (i imprint) is(noted string, info os.FileInfo) bool {
	id := idOf(info)
	if i.boot != bootID() {
		_, id, _ = strings.Cut(id, ":")
		_, noted, _ = strings.Cut(noted, ":")
	}
	return id == noted
}

func (d *door) read() (i imprint) {
	text := make([]byte, 200)
	n, err := d.file.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return i
	}
	var state string
	if k, _ := fmt.Sscanf(string(text[:n]), "%s db %s wal %s boot %s", &state, &i.db, &i.wal, &i.boot); k < 2 || (state != "open" && state != "closed") {
		return imprint{}
	}
	i.known, i.open = true, state == "open"
	return i
}

// write is of no use on a disk that is full: then nothing is known next time, as
// before the first time.
func (d *door) write(i imprint) {
	state := "closed"
	if i.open {
		state = "open"
	}
	if i.wal == "" {
		i.wal = "none"
	}
	text := fmt.Sprintf("%s db %s wal %s boot %s\n", state, i.db, i.wal, bootID())
	if n, err := d.file.WriteAt([]byte(text), 0); err != nil {
		_ = d.file.Truncate(0)
	} else {
		_ = d.file.Truncate(int64(n))
		_ = d.file.Sync() // after a power cut the boot counts
	}
}

// idOf names a file for comparison with another time; "" where it cannot.
func idOf(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return ""
}
