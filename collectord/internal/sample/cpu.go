package sample

import (
	"strconv"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// cpu reads all of /proc/stat, because the kernel takes
// long to print that file, and the frequency of each online core.
type cpu struct {
	registry *Registry
	stat     *proc.Reader[proc.Stat]
	freq     *frequencies

	usage, iowait, steal, switches, running, blocked *store.Series

	readings uint64 // of /proc/stat that went well
	all      cpuReading
	cores    []*core // by number; nil = never seen
}

// core is what is kept of one core.
type core struct {
	usage *store.Series
	cpuReading
}

// cpuReading is the last reading of a core.
type cpuReading struct {
	times   proc.CPUTimes
	reading uint64 // which reading it was: a gap means that the core was offline
}

// NewCPU returns the collector "cpu".
func NewCPU(fs proc.FS, reg *Registry) Collector {
	return &cpu{
		registry: reg,
		stat:     proc.NewStat(fs),
		freq:     newFrequencies(fs, reg),
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
	if err != nil {
		return err
	}
	c.readings++
	if s, ok := c.all.update(&stat.All, c.readings); ok {
		out.Add(c.usage, s.usage)
		out.Add(c.iowait, s.iowait)
		out.Add(c.steal, s.steal)
	}
	for i := range stat.Cores {
		now := &stat.Cores[i]
		core := c.core(now.ID)
		if s, ok := core.update(&now.CPUTimes, c.readings); ok {
			out.Add(core.usage, s.usage)
		}
		c.freq.collect(now.ID, at, out)
	}
	out.Add(c.switches, float64(stat.ContextSwitches))
	out.Add(c.running, float64(stat.ProcessesRunning))
	out.Add(c.blocked, float64(stat.ProcessesBlocked))
	return nil
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
func (r *cpuReading) update(now *proc.CPUTimes, reading uint64) (s cpuShares, ok bool) {
	if reading > 1 && r.reading == reading-1 {
		s, ok = shares(&r.times, now)
	}
	r.times, r.reading = *now, reading
	return s, ok
}

// cpuShares are percentages of the time between two readings.
type cpuShares struct{ usage, iowait, steal float64 }

// shares compares two readings of one core. It is not ok if no time passed or
// a counter went backwards, which is a reset or a core that was away. Only
// iowait may go back: the kernel documents that, and it then counts as no
// waiting. User and nice hold the guest times already.
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
	}, true
}
