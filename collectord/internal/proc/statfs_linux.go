package proc

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// rawStatfs is what the system call reads and writes. unix.Statfs would copy
// the path at every call.
type rawStatfs struct {
	path []byte // ends with NUL
	buf  unix.Statfs_t
}

func newRawStatfs(path string) rawStatfs {
	return rawStatfs{path: append([]byte(path), 0)}
}

// Usage asks now. On a network file system whose server is away it may hang for
// as long as the mount was told to wait, which can be for ever.
// Source: statfs(2).
func (s *FilesystemStat) Usage() (FilesystemUsage, error) {
	if bytes.IndexByte(s.raw.path, 0) != len(s.raw.path)-1 {
		return FilesystemUsage{}, &os.PathError{Op: "statfs", Path: s.path, Err: unix.EINVAL}
	}
	st := &s.raw.buf
	for {
		errno := statfs(&s.raw.path[0], st)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return FilesystemUsage{}, &os.PathError{Op: "statfs", Path: s.path, Err: errno}
		}
	}
	// The counts are in units of f_frsize; f_bsize is only what a good read is.
	unit := float64(st.Frsize)
	if unit == 0 {
		unit = float64(st.Bsize)
	}
	return FilesystemUsage{
		Size:      float64(st.Blocks) * unit,
		Free:      float64(st.Bfree) * unit,
		Available: float64(st.Bavail) * unit,
		Files:     st.Files,
		FilesFree: st.Ffree,
	}, nil
}
