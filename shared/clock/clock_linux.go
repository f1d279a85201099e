package clock

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is the time since the boot.
func Boot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started) // a kernel before 2.6.39
	}
	return time.Duration(t.Nano())
}

var started = time.Now()

// timesync is where systemd-timesyncd works; in it stands a file as soon as the clock is right.
// https://www.freedesktop.org/software/systemd/man/latest/systemd-timesyncd.service.html
const timesync = "/run/systemd/timesync"

// Synchronised says whether the wall clock is kept right. The kernel knows, whoever does it. The
// sandbox of the units forbids the question (ProtectClock=): then timesyncd's file tells, and of
// other programs nobody can tell.
func Synchronised() Sync {
	if s, ok := ofKernel(unix.Adjtimex); ok {
		return s
	}
	return ofTimesyncd(timesync)
}

// forbidden spares a system call that is refused each time.
var forbidden atomic.Bool

var question struct {
	sync.Mutex
	unix.Timex
}

func ofKernel(adjtimex func(*unix.Timex) (int, error)) (s Sync, ok bool) {
	if forbidden.Load() {
		return Unknown, false
	}
	// One for all calls: it escapes where the compiler does not inline this.
	question.Lock()
	defer question.Unlock()
	t := &question.Timex
	*t = unix.Timex{} // asks, and changes nothing
	if _, err := adjtimex(t); err != nil {
		forbidden.Store(true)
		return Unknown, false
	}
	if t.Status&unix.STA_UNSYNC != 0 {
		return No, true
	}
	return Yes, true
}

func ofTimesyncd(dir string) Sync {
	switch {
	case unix.Access(dir+"/synchronized", unix.F_OK) == nil:
		return Yes
	case unix.Access(dir, unix.F_OK) == nil:
		return No // it runs
	}
	return Unknown
}
