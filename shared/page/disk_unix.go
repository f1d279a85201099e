//go:build unix

package page

import "golang.org/x/sys/unix"

// diskFree is what programs without root's rights can still write below a directory.
func diskFree(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
