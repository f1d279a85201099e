package daemon

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than its time a sleep may end. A monitor thread of the Go runtime
// sleeps 20 µs at a time while anything runs; with the kernel's 50 µs of slack its wake-ups took a
// fifth of all CPU time of both daemons. It is what hands the core on when a system call lasts
// long, so another goroutine may wait that much longer.
const timerSlack = 4 * time.Millisecond

// relaxTimers lets the sleeps of all threads, and of those to come, end late. Built with cgo
// nothing happens: then some threads are not those of the Go runtime.
func relaxTimers() {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0)
}
