package lock

import (
	"errors"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// Holder reports whether some process holds the lock at path, and which one: pid
// is 0 when the file does not say. It makes no file and writes nothing. To find
// out it takes a shared lock for some microseconds, which Acquire sits out.
func Holder(path string) (pid int, held bool, err error) {
	// For reading and without O_CREATE: a question makes no file.
	f := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := f.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, explain(path, err)
	case !free:
		return readPID(path), true, f.Close()
	}
	return 0, false, f.Unlock()
}
