package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"belabox-metrics/shared/lock"
)

// States of the file that a caller or an operator can act on. Test for them
// with errors.Is.
var (
	// ErrForeign: the file belongs to another program. It is left alone.
	ErrForeign = errors.New("the file is an SQLite database of another program; set storage.path to another file")
	// ErrNewer: a newer program has upgraded the file.
	ErrNewer = errors.New("the file was written by a newer version; install that version again or set storage.path to another file")
	// ErrFull: the disk is full, or the file has reached its bound.
	ErrFull = errors.New("disk full; free disk space, or lower storage.max_size_mb")
	// ErrBusy: another process held the write lock for longer than the busy timeout.
	ErrBusy = errors.New("database busy")
	// ErrReadOnly: the file or its file system cannot be written.
	ErrReadOnly = errors.New("read-only; this user must be able to write the file and its directory")
	// ErrIO: the disk fails, or its file system became read-only while the file was open.
	ErrIO = errors.New("disk error, or its file system became read-only after one: see dmesg; then unmount it, run fsck, mount it again, or restart the device")
	// ErrDamaged: the file is no database or fails its own checks.
	ErrDamaged = errors.New("the file is damaged or not an SQLite database; collectord or shipperd sets it aside and salvages it")
	// ErrStuck: the same disk error for stuckAfter.
	ErrStuck = errors.New("the disk error does not go away")
	// ErrPart: the record of a chunk makes no sense; Outbox.Mend.
	ErrPart = errors.New("the record of a chunk is damaged")
)

// Class says what has to be done about an error of the store. docs/decisions/0010-ways-out.md has
// the reasons.
type Class int

const (
	// Passing: it may end by itself. Try again.
	Passing Class = iota
	// OfPart: a part of the file is at fault. Call Outbox.Mend, and go on.
	OfPart
	// OfFile: the handle is of no use any more. Close it and open the file again.
	OfFile
)

// ClassOf is the only place that decides what an error of this package means.
func ClassOf(err error) Class {
	for _, of := range []error{ErrDamaged, ErrReplaced, ErrSalvage, ErrStuck, lock.ErrLost} {
		if errors.Is(err, of) {
			return OfFile
		}
	}
	if errors.Is(err, ErrPart) {
		return OfPart
	}
	return Passing
}

// errTooManySeries: the file holds as many series as its keys can tell apart.
var errTooManySeries = fmt.Errorf("more than %d series", MaxSeries)

// stuckAfter is how long an error may stay that names no event which ends it.
const stuckAfter = 2 * time.Minute

// patience keeps passing troubles from being waited for without an end.
type patience struct{ since time.Time }

// Met takes note of how an attempt ended, for the loop that does the work. An error that names no
// event that would end it, and has stayed for stuckAfter, comes back as ErrStuck; any other as it
// is.
func (h *handle) Met(err error) error {
	p := &h.patience
	switch {
	case err == nil, errors.Is(err, ErrFull), errors.Is(err, ErrBusy), errors.Is(err, ErrReadOnly),
		readOnly(filepath.Dir(h.o.Path)):
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = time.Now()
	case ClassOf(err) == Passing && time.Since(p.since) >= stuckAfter:
		return fmt.Errorf("%w: %w", ErrStuck, err)
	}
	return err
}

// classify adds the sentinel that fits an SQLite error, see https://sqlite.org/rescode.html. The
// statements of this package are right: tests run each of them. So what SQLite says beyond the
// passing troubles speaks against the file, and so does a row that is not there. Errors of others
// come back as they are.
func classify(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return damaged(err)
	}
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	var coded *sqlite.Error
	if !errors.As(err, &coded) {
		return err
	}
	var class error
	switch coded.Code() & 0xff { // the low byte is the primary result code
	case sqlite3.SQLITE_FULL:
		class = ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		class = ErrBusy
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		class = ErrReadOnly
	case sqlite3.SQLITE_IOERR:
		class = ErrIO
		if coded.Code() == sqlite3.SQLITE_IOERR_SHORT_READ || coded.Code() == sqlite3.SQLITE_IOERR_CORRUPTFS {
			class = ErrDamaged
		}
		if coded.Code() == ioerrInPage {
			class = ErrReplaced
		}
		if coded.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // the shared memory could not grow
			class = ErrFull
		}
	case sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return err
	default:
		class = ErrDamaged
	}
	if errors.Is(err, class) {
		return err
	}
	return fmt.Errorf("%w: %w", class, err)
}

// ioerrInPage is SQLITE_IOERR_IN_PAGE: the shared memory is shorter than its mapping.
const ioerrInPage = sqlite3.SQLITE_IOERR | 34<<8

// damaged makes an error one of the file, unless it has a class already.
func damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// scan reads the only row of an answer. A value that does not fit speaks against the file: the
// tables are STRICT.
func scan(row *sql.Row, into ...any) error {
	err := row.Scan(into...)
	if err == nil || row.Err() != nil {
		return classify(row.Err())
	}
	return rowFault(err)
}

// rowFault is the error of a row that was there and could not be taken over.
func rowFault(err error) error {
	var coded *sqlite.Error
	if errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrPart) {
		return classify(err)
	}
	return damaged(err)
}

// isCheckFailure reports whether a CHECK of the schema refused a row.
func isCheckFailure(err error) bool {
	var coded *sqlite.Error
	return errors.As(err, &coded) && coded.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK
}
