package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"belabox-metrics/shared/run"
)

var (
	// ErrReplaced: the files that are open are no longer those under their names.
	ErrReplaced = errors.New("the database was removed or replaced while it was open")
	// ErrSalvage: another process found the damage; the next start repairs it.
	ErrSalvage = errors.New("the database was found damaged by another process; the next start sets it aside and salvages it")
)

// watchEvery is how long samples may go into a file that has lost its name. Each look
// wakes the process: every 2 s it would cost half as much as all sampling at 10 s.
const watchEvery = 10 * time.Second

func (l *openLock) watch(ctx context.Context, every time.Duration) error {
	every = cmp.Or(every, watchEvery)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			tick.Reset(run.Together(every))
			if err := l.inPlace(); err != nil {
				return fmt.Errorf("database %q: %w", l.path, err)
			}
		}
	}
}

// inPlace compares the files under their names with those that were opened.
func (l *openLock) inPlace() error {
	for i, s := range suffixes {
		now, err := os.Stat(l.path + s)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return replaced(i, "removed")
		case err != nil:
			continue // the directory cannot be read at the moment, say: nothing is known
		case !os.SameFile(now, l.ids[i]):
			return replaced(i, "replaced by another file")
		case i == 0 && now.Size() < l.ids[0].Size(): // it never shrinks
			return fmt.Errorf("%w: it was cut off while it was open", ErrDamaged)
		case i == 2 && now.Size() < shmLeast:
			return replaced(i, "cut off")
		}
		l.ids[i] = now
	}
	if l.walCut() {
		return fmt.Errorf("%w: %w", ErrDamaged, errWALCut)
	}
	if _, err := os.Lstat(l.path + planSuffix); err == nil {
		return ErrSalvage
	}
	// Without its lock, another process examines and exchanges files that are in use.
	mine, err := l.file.Stat()
	if err != nil {
		return nil
	}
	now, err := os.Lstat(l.file.Name())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, now) {
		return fmt.Errorf("%w: its lock %s is no longer the file that is locked; the next start creates it again", ErrReplaced, l.file.Name())
	}
	if l.daemon != nil {
		return l.daemon.InPlace()
	}
	return nil
}

// shmLeast is the size of the shared memory with which SQLite begins.
const shmLeast = 32 << 10

// errWALCut: samples that were committed are lost, and nobody knows how many.
var errWALCut = errors.New("its WAL was cut off while it was open")

// walCut reports whether the WAL is shorter than the shared memory says. That is read twice: a
// checkpoint sets it to zero before it shortens the WAL.
// https://sqlite.org/walformat.html#the_wal_index_header
func (l *openLock) walCut() bool {
	before, ok := l.walSize()
	info, err := os.Stat(l.path + suffixes[1])
	after, again := l.walSize()
	return ok && again && err == nil && before == after && info.Size() < before
}

// walSize is what the WAL must have at least, by the shared memory. ok is false while that changes.
func (l *openLock) walSize() (size int64, ok bool) {
	var head [96]byte // twice the same
	if l.shm == nil {
		return 0, false
	}
	if _, err := l.shm.ReadAt(head[:], 0); err != nil || !bytes.Equal(head[:48], head[48:]) {
		return 0, false
	}
	page, frames := int64(binary.NativeEndian.Uint16(head[14:])), int64(binary.NativeEndian.Uint32(head[16:]))
	if page == 1 {
		page = 65536
	}
	if frames == 0 {
		return 0, true
	}
	return 32 + frames*(24+page), true
}

// replaced says what happened to one of the files, and what follows.
func replaced(which int, how string) error {
	if which == 0 {
		return fmt.Errorf("%w: it was %s; its content is being saved, and the next start uses the file that is there then; stop both daemons before you change it",
			ErrReplaced, how)
	}
	return fmt.Errorf("%w: its %s file was %s; what was committed is being copied into the database; stop both daemons before you change it",
		ErrReplaced, suffixes[which][1:], how)
}

// Rescue saves what is in a database that has lost its name, through the handle
// that still has it open. One that was removed is back with the next start; one
// that was replaced is kept beside the other file. When the database is in place it
// does nothing. Nobody may insert any more.
func (in *Inserter) Rescue(ctx context.Context) error {
	return in.lock.rescue(ctx, in.db, in.o)
}

// Rescue is Inserter.Rescue, for the time while collectord is not running. When its lock was
// removed too, that is not known: so this waits until no other process has the old
// files open, and leaves it to them when they stay.
func (ob *Outbox) Rescue(ctx context.Context) error {
	if now, err := os.Stat(ob.o.Path); err == nil && os.SameFile(now, ob.lock.ids[0]) {
		return nil
	}
	if alone, err := ob.lock.waitAlone(cmp.Or(ob.o.watchEvery, watchEvery) + rescueTakes); err != nil || !alone {
		return err
	}
	if p, err := readPlan(ob.o.Path); err != nil || p != nil {
		return err // it is saved already
	}
	return ob.lock.rescue(ctx, ob.db, ob.o)
}

// rescueTakes is how long the other daemon may take to save what was in the database,
// after it has noticed.
const rescueTakes = 10 * time.Second

// waitAlone waits until no other process has the database open.
func (l *openLock) waitAlone(limit time.Duration) (alone bool, err error) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if alone, err = l.flock(syscall.LOCK_EX); alone || err != nil {
			return alone, err
		}
		if _, err = l.flock(syscall.LOCK_SH); err != nil { // asking for more has cost it
			return false, err
		}
	}
	return false, nil
}

func (l *openLock) rescue(ctx context.Context, db *sql.DB, o Options) error {
	now, err := os.Stat(l.path)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone || err == nil && os.SameFile(now, l.ids[0]) {
		return err
	}
	found := o.Now().UTC()
	aside, err := asideName(l.path, found)
	if err != nil {
		return err
	}
	report := Salvaged{Time: found, Aside: aside, Lost: new(int64), Reason: "it was replaced while it was in use: this is the old one"}
	to := aside
	if gone {
		to, report.Reason = l.path+newSuffix, "it was removed while it was in use, and is back"
		if err := errors.Join(MakeFolder(l.path), removeFile(to)); err != nil {
			return fmt.Errorf("save what was in the database: %w", err)
		}
	}
	// https://sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (WHERE uploaded = 0) FROM metrics").Scan(&report.Rows, &report.Pending)
	}
	if err == nil {
		err = syncLike(to, l.path+".open.lock")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("save what was in the database: %w", classify(err)), removeFile(to))
	}
	report.Bytes = FileSize(to)
	o.Log.Warn("database copied", "rows", report.Rows, "file", to)
	if !gone {
		// The next start must not apply them to the other file. Behind a dot, nobody
		// takes them for those of the copy.
		for _, s := range suffixes[1:] {
			if err := os.Rename(l.path+s, aside+"."+s[1:]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return report.write()
	}
	return plan{Found: found, Reason: report.Reason, Made: &report, Rescued: true}.write(l.path)
}
