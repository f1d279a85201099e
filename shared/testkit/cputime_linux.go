package testkit

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// ReadCPUTime returns the CPU time of a running process, user and system of all
// its threads, to the nanosecond: the clock that clock_getcpuclockid(3) names. The
// number of that clock is the kernel's own (CPUCLOCK_SCHED in its
// include/linux/posix-timers_types.h).
func ReadCPUTime(pid int) (time.Duration, error) {
	const sched = 2
	clock := ^pid<<3 | sched
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read CPU time of pid %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}
