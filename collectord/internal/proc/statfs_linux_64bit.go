//go:build linux && !(386 || arm || mips || mipsle)

package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func statfs(path *byte, buf *unix.Statfs_t) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_STATFS, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(buf)), 0)
	return errno
}
