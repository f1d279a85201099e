package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// Statfs returns the usage of the file system at a mount point. Nothing stays open,
// so that it never prevents an unmount. On a network file system whose server is
// away it may hang for as long as the mount options allow, which can be for ever.
// Source: statfs(2).
func Statfs(path string) (FilesystemUsage, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return FilesystemUsage{}, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	return usageOf(&st), nil
}

// usageOf makes bytes of the counts. What is available may be negative, on a server that is a BSD:
// root has taken of what is kept for it, and nothing is left for others.
func usageOf(st *unix.Statfs_t) FilesystemUsage {
	// The counts are in units of f_frsize; f_bsize is only what a good read is.
	unit := float64(st.Frsize)
	if unit == 0 {
		unit = float64(st.Bsize)
	}
	return FilesystemUsage{
		Size:      float64(st.Blocks) * unit,
		Free:      float64(st.Bfree) * unit,
		Available: float64(max(0, int64(st.Bavail))) * unit,
		Files:     st.Files,
		FilesFree: st.Ffree,
	}
}
