//go:build linux && !cgo

package daemon

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// AllThreadsSyscall ends the process if one thread answers other than the rest.
func TestRelaxTimers_EveryThread(t *testing.T) {
	prctl := func(option int, value time.Duration) time.Duration {
		ns, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, uintptr(option), uintptr(value), 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		return time.Duration(ns)
	}
	prctl(unix.PR_SET_TIMERSLACK, time.Microsecond)
	relaxTimers()
	if got := prctl(unix.PR_GET_TIMERSLACK, 0); got != timerSlack {
		t.Errorf("timer slack %v, want %v", got, timerSlack)
	}
}
