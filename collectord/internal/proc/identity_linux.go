package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mark tells whether an entry is still that of the device that was read: sysfs has an inode for
// each.
type mark struct {
	inode          uint64
	major, minor   uint32
	changed, wrote unix.StatxTimestamp
}

// look returns the mark of the entry, not of the folder to which it points: the way there is long.
// It is not ok without statx (before Linux 4.11). The functions of package os and syscall would
// allocate the path each time.
func (i *Identity) look() (m mark, ok bool) {
	cwd := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(cwd), uintptr(unsafe.Pointer(&i.entry[0])), unix.AT_SYMLINK_NOFOLLOW,
		unix.STATX_INO|unix.STATX_MTIME|unix.STATX_CTIME, uintptr(unsafe.Pointer(&i.stat)), 0)
	s := &i.stat
	return mark{s.Ino, s.Dev_major, s.Dev_minor, s.Ctime, s.Mtime}, errno == 0
}

type stat = unix.Statx_t

// read returns the text of the file, nil if it cannot be read.
func (i *Identity) read() []byte {
	cwd := unix.AT_FDCWD
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&i.path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil
	}
	n, err := unix.Read(int(fd), i.buf[:])
	_ = unix.Close(int(fd)) // read-only: nothing to lose
	if err != nil {
		return nil
	}
	return i.buf[:n]
}
