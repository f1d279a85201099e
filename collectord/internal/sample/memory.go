package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// memory reads /proc/meminfo.
type memory struct {
	meminfo                                     *proc.Reader[proc.Meminfo]
	total, used, available, swapTotal, swapUsed *Series
	node                                        *nodeKeys
}

// NewMemory returns the collector "memory".
func NewMemory(fs proc.FS, reg *Registry) Collector {
	return &memory{
		meminfo:   proc.NewMeminfo(fs),
		total:     reg.Series("memory.total_bytes"),
		used:      reg.Series("memory.used_bytes"),
		available: reg.Series("memory.available_bytes"),
		swapTotal: reg.Series("memory.swap_total_bytes"),
		swapUsed:  reg.Series("memory.swap_used_bytes"),
		node:      reg.node("meminfo").keys(memoryName),
	}
}

// Name implements Collector.
func (c *memory) Name() string { return "memory" }

// Collect implements Collector. Emulations of /proc in containers were seen to report more left
// than there is, and a negative number. Of free swap that is more than all of it nobody knows
// which of the two is wrong.
func (c *memory) Collect(_ time.Time, out *Batch) error {
	m, err := c.meminfo.Read()
	if m == nil {
		return err
	}
	total, available := number(m.Total), number(m.Available)
	out.Add(c.total, total)
	out.AddPart(c.available, available, total)
	if available <= total {
		out.Add(c.used, total-available)
	}
	swap, swapFree := number(m.SwapTotal), number(m.SwapFree)
	out.AddPart(c.swapUsed, swap-swapFree, swap)
	if swapFree <= swap {
		out.Add(c.swapTotal, swap)
	}
	c.node.addMemory(c.meminfo.Text(), total, swap, out)
	return out.part(err)
}
