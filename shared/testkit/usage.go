package testkit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of utime and stime in /proc/PID/stat. The kernel shows
// them in USER_HZ, which is 100 a second on every architecture Go runs on.
const clockTick = 10 * time.Millisecond

// Usage is what a process has used since its start.
type Usage struct {
	User, System time.Duration // CPU time, to 10 ms while the process runs
	RSS          int64         // resident bytes now (VmRSS)
	PeakRSS      int64         // resident bytes at their highest (VmHWM)
	WrittenBytes int64         // bytes caused to be sent to the block device (write_bytes of /proc/PID/io)
}

// CPU returns user and system time together.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// Usage reads the child's usage from /proc while it runs. It is to be read before
// the child ends: afterwards only CPUTime is known.
func (p *Proc) Usage() (Usage, error) { return ReadUsage(p.PID()) }

// CPUTime returns the exact CPU time of a child that has ended (see Done).
func (p *Proc) CPUTime() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// ReadUsage reads the usage of any process of this machine from /proc (Linux
// only; see proc(5): stat, status, io).
func ReadUsage(pid int) (Usage, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	var texts [3]string
	for i, name := range []string{"stat", "status", "io"} {
		text, err := os.ReadFile(dir + name)
		if err != nil {
			return Usage{}, fmt.Errorf("read usage of pid %d: %w", pid, err)
		}
		texts[i] = string(text)
	}
	u, err := parseUsage(texts[0], texts[1], texts[2])
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of pid %d: %w", pid, err)
	}
	return u, nil
}

func parseUsage(stat, status, io string) (u Usage, err error) {
	// The second field is the program's name in brackets and may hold anything,
	// brackets and blanks too; the numbers begin after the last bracket. utime
	// and stime are fields 14 and 15, the 12th and 13th after the name.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, fmt.Errorf("stat is too short: %q", stat)
	}
	for i, to := range []*time.Duration{&u.User, &u.System} {
		ticks, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("stat %q: %w", stat, err)
		}
		*to = time.Duration(ticks) * clockTick
	}
	if u.WrittenBytes, err = field(io, "write_bytes:"); err != nil {
		return Usage{}, err
	}
	for key, to := range map[string]*int64{"VmRSS:": &u.RSS, "VmHWM:": &u.PeakRSS} {
		kib, err := field(status, key)
		if err != nil {
			return Usage{}, err // a zombie has no Vm lines: the process has ended
		}
		*to = kib * 1024
	}
	return u, nil
}

// field returns the number after key at the beginning of a line.
func field(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, key)
		if !ok {
			continue
		}
		if words := strings.Fields(rest); len(words) > 0 {
			return strconv.ParseInt(words[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("no number after %q", key)
}
