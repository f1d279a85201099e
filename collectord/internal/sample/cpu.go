package sample

import (
	"fmt"
	"strconv"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// cpu reads all of /proc/stat, because the kernel takes
// long to print that file, and the frequency of each online core.
type cpu struct {
	registry *Registry
	stat     *proc.Reader[proc.Stat]
	freq     *frequencies
	node     *nodeStat

	usage, iowait, steal, switches, running, blocked *Series

	readings uint64 // of /proc/stat that went well
	online   int    // cores in the last one
	all      cpuReading
	cores    []*core // by number; nil = never seen
}

// core is what is kept of one core.
type core struct {
	usage *Series
	cpuReading
}

// cpuReading is the last reading of a core.
type cpuReading struct {
	times   proc.CPUTimes
	at      time.Time
	reading uint64 // which reading it was: a gap means that the core was offline
}

// NewCPU returns the collector "cpu".
func NewCPU(fs proc.FS, reg *Registry) Collector {
	return &cpu{
		registry: reg,
		stat:     proc.NewStat(fs),
		freq:     newFrequencies(fs, reg),
		node:     newNodeStat(reg),
		usage:    reg.Series("cpu.usage_percent", "all"),
		iowait:   reg.Series("cpu.iowait_percent"),
		steal:    reg.Series("cpu.steal_percent"),
		switches: reg.Series("system.context_switches_total"),
		running:  reg.Series("system.processes_running"),
		blocked:  reg.Series("system.processes_blocked"),
	}
}

// Name implements Collector.
func (c *cpu) Name() string { return "cpu" }

// Collect implements Collector.
func (c *cpu) Collect(at time.Time, out *Batch) error {
	stat, err := c.stat.Read()
	if stat == nil {
		return err
	}
	good := !stat.All.Absent || len(stat.Cores) > 0
	if good { // else the next one goes on from the last good one
		c.readings++
	}
	if s, ok := c.all.update(at, &stat.All, c.readings); ok && s.havePassed(out, c.usage, c.countCores(len(stat.Cores))) {
		out.Add(c.usage, s.usage)
		out.Add(c.iowait, s.iowait)
		out.Add(c.steal, s.steal)
	}
	for i := range stat.Cores {
		now := &stat.Cores[i]
		core := c.core(now.ID)
		if s, ok := core.update(at, &now.CPUTimes, c.readings); ok && s.havePassed(out, core.usage, 1) {
			out.Add(core.usage, s.usage)
		}
		c.freq.collect(now.ID, at, out)
	}
	out.Add(c.switches, number(stat.ContextSwitches))
	out.Add(c.running, number(stat.ProcessesRunning))
	out.Add(c.blocked, number(stat.ProcessesBlocked))
	c.node.add(c.stat.Text(), out)
	if good && err != nil { // also in the first reading, which has no shares
		out.Fail(err)
		return nil
	}
	return out.part(err)
}

func (c *cpu) core(id int) *core {
	for len(c.cores) <= id {
		c.cores = append(c.cores, nil)
	}
	if c.cores[id] == nil {
		c.cores[id] = &core{usage: c.registry.Series("cpu.usage_percent", strconv.Itoa(id))}
	}
	return c.cores[id]
}

// update takes a new reading and returns the shares since the one before it.
// There are none if the reading before this one did not have the core.
func (r *cpuReading) update(at time.Time, now *proc.CPUTimes, reading uint64) (s cpuShares, ok bool) {
	if now.Absent {
		return s, false
	}
	if reading > 1 && r.reading == reading-1 {
		s, ok = shares(&r.times, now)
		s.elapsed = at.Sub(r.at).Seconds()
	}
	r.times, r.at, r.reading = *now, at, reading
	return s, ok
}

// countCores returns how many cores can have counted time since the last reading, which had
// c.online.
func (c *cpu) countCores(online int) int {
	n := max(online, c.online)
	c.online = online
	if n == 0 {
		n = maxCores // the file does not list them
	}
	return n
}

// maxCores is how many cores a kernel can have.
const maxCores = 8192

// cpuShares are percentages of the time between two readings.
type cpuShares struct {
	usage, iowait, steal float64
	seconds              float64 // that the cores counted
	elapsed              float64 // seconds between the readings
}

// userHz is the unit of /proc/stat, in ticks per second, on all architectures of today.
const userHz = 100

// havePassed reports whether so many cores can have counted that time, and reports it as a
// fault of the series if not.
func (s *cpuShares) havePassed(out *Batch, series *Series, cores int) bool {
	if canHavePassed(s.seconds/float64(cores), s.elapsed) {
		return true
	}
	out.Fail(fmt.Errorf("impossible CPU time: %.0f s on %d cores in %.3f s", s.seconds, cores, s.elapsed), series.parts...)
	return false
}

// shares compares two readings of one core. It is not ok if no time passed or
// a counter went backwards, which is a reset or a core that was away. Only
// iowait may go back: the kernel documents that, and it then counts as no
// waiting. User and nice hold the guest times.
func shares(last, now *proc.CPUTimes) (s cpuShares, ok bool) {
	if now.User < last.User || now.Nice < last.Nice || now.System < last.System || now.Idle < last.Idle ||
		now.IRQ < last.IRQ || now.SoftIRQ < last.SoftIRQ || now.Steal < last.Steal {
		return s, false
	}
	// As float64 from here on: the sum of differences of any two readings fits.
	var iowait float64
	if now.IOWait > last.IOWait {
		iowait = float64(now.IOWait - last.IOWait)
	}
	steal := float64(now.Steal - last.Steal)
	busy := float64(now.User-last.User) + float64(now.Nice-last.Nice) + float64(now.System-last.System) +
		float64(now.IRQ-last.IRQ) + float64(now.SoftIRQ-last.SoftIRQ) + steal
	total := busy + float64(now.Idle-last.Idle) + iowait
	if total == 0 {
		return s, false
	}
	return cpuShares{
		usage: quotient(100 * (busy / total)), iowait: quotient(100 * (iowait / total)), steal: quotient(100 * (steal / total)),
		seconds: total / userHz,
	}, true
}
