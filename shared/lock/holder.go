package lock

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"belabox-metrics/shared/datafile"
)

// Holder reports whether some process holds the lock at path, and which one: pid
// is 0 when the file does not say. It makes no file and writes nothing. To find
// out it takes a shared lock for some microseconds, which Acquire sits out.
func Holder(path string) (pid int, held bool, err error) {
	f, err := datafile.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, explain(path, err)
	}
	defer f.Close()
	err = flock(f, syscall.LOCK_SH)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return readPID(f), true, nil
	} else if err != nil {
		return 0, false, explain(path, err)
	}
	return 0, false, nil
}
