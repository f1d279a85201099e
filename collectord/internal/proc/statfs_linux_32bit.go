//go:build linux && (386 || arm || mips || mipsle)

package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// statfs uses the call whose counts have 64 bits on a 32-bit machine too.
func statfs(path *byte, buf *unix.Statfs_t) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_STATFS64, uintptr(unsafe.Pointer(path)), unsafe.Sizeof(*buf), uintptr(unsafe.Pointer(buf)))
	return errno
}
