package proc

import (
	"bytes"
	"errors"
)

// Stat is the processors and the scheduler in /proc/stat.
// What is bad or missing is Absent, and a bad core is left out.
// Source: Documentation/filesystems/proc.rst, section 1.7.
type Stat struct {
	All   CPUTimes // of all processors, also those that went offline
	Cores []Core   // online processors in the order of the file

	ContextSwitches  uint64 // since boot
	BootTime         uint64 // Unix seconds; moves when the wall clock is set
	ProcessesRunning uint64 // on a processor or waiting for one
	ProcessesBlocked uint64 // waiting for I/O
}

// Core is one processor.
type Core struct {
	ID int // the number of cpuN
	CPUTimes
}

// CPUTimes are ticks (USER_HZ, usually 100 a second) since boot. User holds
// the time of guests, so that the two columns for it add nothing to a total. The
// kernel documents that IOWait may decrease. Kernels before 2.6.33 leave the
// last columns out; they read as 0. A share of the time needs all columns, so that one bad column
// makes them all absent.
type CPUTimes struct {
	Absent bool

	User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal uint64
}

// NewStat returns the reader of /proc/stat.
func NewStat(fs FS) *Reader[Stat] {
	return &Reader[Stat]{file: NewSingle(fs.ProcPath("stat")), parse: parseStat}
}

// maxCores bounds the number of a processor; Linux is built for 8192 at most.
const maxCores = 1 << 16

var errIncomplete = errors.New("lines are missing")

func parseStat(b []byte, s *Stat) error {
	*s = Stat{
		All: CPUTimes{Absent: true}, Cores: s.Cores[:0],
		ContextSwitches: Absent, BootTime: Absent, ProcessesRunning: Absent, ProcessesBlocked: Absent,
	}
	var firstErr error
	const ctxt, btime, running, blocked, cpu, all = 1, 2, 4, 8, 16, 31
	seen := 0
	b, isWhole := wholeLines(b)
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = NextLine(b)
		key, rest := NextField(line)
		var err error
		switch string(key) {
		case "cpu":
			seen |= cpu
			err = parseCPUTimes(rest, &s.All)
		case "ctxt":
			seen |= ctxt
			err = firstCount(rest, &s.ContextSwitches)
		case "btime":
			seen |= btime
			err = firstCount(rest, &s.BootTime)
		case "procs_running":
			seen |= running
			err = firstCount(rest, &s.ProcessesRunning)
		case "procs_blocked":
			seen |= blocked
			err = firstCount(rest, &s.ProcessesBlocked)
		default:
			if number, ok := bytes.CutPrefix(key, []byte("cpu")); ok {
				s.Cores = append(s.Cores, Core{})
				if err = parseCore(number, rest, &s.Cores[len(s.Cores)-1]); err != nil {
					s.Cores = s.Cores[:len(s.Cores)-1]
				}
			}
		}
		if err != nil && firstErr == nil {
			firstErr = parseError(n, line, err)
		}
	}
	if (seen != all || !isWhole) && firstErr == nil {
		firstErr = parseError(0, nil, errIncomplete)
	}
	return firstErr
}

func parseCore(number, times []byte, c *Core) error {
	id, err := ParseUint(number)
	if err != nil {
		return err
	}
	if id >= maxCores {
		return ErrRange
	}
	c.ID = int(id)
	return parseCPUTimes(times, &c.CPUTimes)
}

func parseCPUTimes(line []byte, t *CPUTimes) error {
	*t = CPUTimes{Absent: true}
	columns := [...]*uint64{&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal}
	for i, column := range columns {
		var field []byte
		field, line = NextField(line)
		if len(field) == 0 && i >= 4 { // the first four were always there
			break
		}
		if err := ParseCount(field, column); err != nil {
			return err
		}
	}
	t.Absent = false
	return nil
}

// firstCount reads the first field of a line.
func firstCount(line []byte, n *uint64) error {
	field, _ := NextField(line)
	return ParseCount(field, n)
}
