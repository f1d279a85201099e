package proc

import (
	"bytes"
	"errors"
)

// Stat is the processors and the scheduler in /proc/stat.
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
// Guest and Nice holds GuestNice, so those two add nothing to a total. The
// kernel documents that IOWait may decrease. Kernels before 2.6.33 leave the
// last columns out; they read as 0.
type CPUTimes struct {
	User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal, Guest, GuestNice uint64
}

// NewStat returns the reader of /proc/stat.
func NewStat(fs FS) *Reader[Stat] {
	return &Reader[Stat]{file: NewSingle(fs.ProcPath("stat")), parse: parseStat}
}

// maxCores bounds the number of a processor; Linux is built for 8192 at most.
const maxCores = 1 << 16

var errIncomplete = errors.New("lines are missing")

func parseStat(b []byte, s *Stat) error {
	*s = Stat{Cores: s.Cores[:0]}
	const ctxt, btime, running, blocked, cpu, all = 1, 2, 4, 8, 16, 31
	seen := 0
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
			s.ContextSwitches, err = oneUint(rest)
		case "btime":
			seen |= btime
			s.BootTime, err = oneUint(rest)
		case "procs_running":
			seen |= running
			s.ProcessesRunning, err = oneUint(rest)
		case "procs_blocked":
			seen |= blocked
			s.ProcessesBlocked, err = oneUint(rest)
		default:
			if number, ok := bytes.CutPrefix(key, []byte("cpu")); ok {
				s.Cores = append(s.Cores, Core{})
				err = parseCore(number, rest, &s.Cores[len(s.Cores)-1])
			}
		}
		if err != nil {
			return parseError(n, line, err)
		}
	}
	if seen != all {
		return parseError(0, nil, errIncomplete)
	}
	return nil
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
	columns := [...]*uint64{
		&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait,
		&t.IRQ, &t.SoftIRQ, &t.Steal, &t.Guest, &t.GuestNice,
	}
	for i, column := range columns {
		var field []byte
		field, line = NextField(line)
		if len(field) == 0 && i >= 4 { // the first four were always there
			return nil
		}
		n, err := ParseUint(field)
		if err != nil {
			return err
		}
		*column = n
	}
	return nil
}

// oneUint reads the first field of a line.
func oneUint(line []byte) (uint64, error) {
	field, _ := NextField(line)
	return ParseUint(field)
}
