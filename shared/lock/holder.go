package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Holder tells whether some process holds the lock at path, and which one: pid
// is 0 when the file does not say. It makes no file and writes nothing. To find
// out it takes a shared lock for some microseconds, which Acquire sits out.
func Holder(path string) (pid int, held bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, explain(path, err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	switch {
	case err == nil:
		return 0, false, nil // closing the file frees it
	case errors.Is(err, unix.EWOULDBLOCK):
		return readPID(path), true, nil
	}
	return 0, false, fmt.Errorf("lock %q: %w", path, err)
}
