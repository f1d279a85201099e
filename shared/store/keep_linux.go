package store

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/datafile"
)

// https://sqlite.org/fileformat2.html#the_lock_byte_page: a connection holds a shared lock on these
// bytes while it has the file open.
const (
	sharedFirst = 0x40000000 + 2
	sharedSize  = 510
)

// keepFromCheckpoint makes SQLite believe that another process has the file open, until release:
// then the last connection that closes it makes no checkpoint. The lock belongs to the descriptor,
// not to the process, so it conflicts with those of SQLite in this one. release comes after SQLite
// has closed the file: it would drop SQLite's locks.
func keepFromCheckpoint(path string) (release func(), err error) {
	f, err := datafile.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return func() {}, nil // it has lost its name; then nobody opens what is written to it
	}
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: sharedFirst, Len: sharedSize}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		return func() { _ = f.Close() }, fmt.Errorf("keep the damaged database as it is: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
