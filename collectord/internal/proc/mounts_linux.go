package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountWatch detects changes of the mount table without reading it: poll returns POLLPRI once for
// each change since the last call. Source: proc_pid_mounts(5).
type mountWatch struct {
	path  string
	file  *os.File // not shared: each open file has its own state of what poll has returned
	plain bool     // a file that poll does not support
}

func newMountWatch(path string) *mountWatch { return &mountWatch{path: path} }

// changed is true at the first call and where poll does not work.
func (w *mountWatch) changed() bool {
	if w.plain {
		return true
	}
	if w.file == nil {
		w.open()
		return true
	}
	fds := [1]unix.PollFd{{Fd: int32(w.file.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds[:], 0)
	return err != nil || n > 0
}

func (w *mountWatch) open() {
	f, err := open(w.path)
	if err != nil {
		return // the reader fails too and reports it; the next call tries again
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || int64(st.Type) != unix.PROC_SUPER_MAGIC {
		w.plain = true
		_ = f.Close()
		return
	}
	w.file = f
}
