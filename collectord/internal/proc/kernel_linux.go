package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Uname returns the names of the system as label names and values in turn: sysname, release,
// version, machine, nodename, domainname. Source: uname(2).
func Uname() ([]string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	text := func(b [65]byte) string { return unix.ByteSliceToString(b[:]) }
	return []string{
		"sysname", text(u.Sysname), "release", text(u.Release), "version", text(u.Version),
		"machine", text(u.Machine), "nodename", text(u.Nodename), "domainname", text(u.Domainname),
	}, nil
}

// Timex is how the kernel keeps its clock. The zero value has read nothing.
type Timex struct{ t unix.Timex }

// TimexNames are what Read gives, as node_exporter calls it.
var TimexNames = []string{
	"sync_status", "offset_seconds", "frequency_adjustment_ratio", "maxerror_seconds", "estimated_error_seconds",
	"status", "loop_time_constant", "tick_seconds", "tai_offset_seconds",
}

// Read returns one value for each of the TimexNames. ProtectClock= of systemd forbids it.
// Source: adjtimex(2).
func (x *Timex) Read() (values [9]float64, err error) {
	x.t = unix.Timex{} // asks, and changes nothing
	state, err := unix.Adjtimex(&x.t)
	if err != nil {
		return values, fmt.Errorf("adjtimex: %w", err)
	}
	t, part := &x.t, 1e6
	if t.Status&unix.STA_NANO != 0 {
		part = 1e9
	}
	sync := 1.0
	if state == unix.TIME_ERROR {
		sync = 0
	}
	const ppm = 1e6 * (1 << 16) // a frequency is in parts of a million, with 16 bits behind the point
	return [...]float64{
		sync, float64(t.Offset) / part, 1 + float64(t.Freq)/ppm, float64(t.Maxerror) / 1e6, float64(t.Esterror) / 1e6,
		float64(t.Status), float64(t.Constant), float64(t.Tick) / 1e6, float64(t.Tai),
	}, nil
}
