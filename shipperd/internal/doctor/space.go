package doctor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// readOnly returns EROFS if a file is on a file system that became read-only after an error. Since
// Linux 6.15 ext4 tells only who opens a file, which changes nothing.
func readOnly(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == nil {
		_ = unix.Close(fd) // nothing was written
	}
	if errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

// mayWrite returns why this user cannot write to a directory.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK) }

// freeBytes returns the free space of a file system for users other than root.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(uint64(st.Bavail) * uint64(st.Bsize)), nil
}
