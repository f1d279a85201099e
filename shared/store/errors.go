package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
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
	ErrDamaged = errors.New("the file is damaged or not an SQLite database; the next start of collectord or shipperd sets it aside and salvages it")
)

// errTooManySeries: the file holds as many series as its keys can tell apart.
var errTooManySeries = fmt.Errorf("more than %d series", MaxSeries)

// classify adds the sentinel that fits an SQLite error, see
// https://sqlite.org/rescode.html. Other errors come back as they are.
func classify(err error) error {
	var coded *sqlite.Error
	if !errors.As(err, &coded) {
		return err
	}
	var class error
	switch coded.Code() & 0xff { // the low byte is the primary result code
	case sqlite3.SQLITE_FULL:
		class = ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		class = ErrBusy
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		class = ErrReadOnly
	case sqlite3.SQLITE_IOERR:
		class = ErrIO
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		class = ErrDamaged
	default:
		return err
	}
	return fmt.Errorf("%w: %w", class, err)
}

// isCheckFailure reports whether a CHECK of the schema refused a row.
func isCheckFailure(err error) bool {
	var coded *sqlite.Error
	return errors.As(err, &coded) && coded.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK
}
