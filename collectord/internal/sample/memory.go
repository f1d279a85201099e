package sample

import (
	"fmt"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// memory reads /proc/meminfo.
type memory struct {
	meminfo                                     *proc.Reader[proc.Meminfo]
	total, used, available, swapTotal, swapUsed *store.Series
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
	}
}

// Name implements Collector.
func (c *memory) Name() string { return "memory" }

// Collect implements Collector.
func (c *memory) Collect(_ time.Time, out *Batch) error {
	m, err := c.meminfo.Read()
	if err != nil {
		return err
	}
	out.Add(c.total, float64(m.Total))
	out.Add(c.available, float64(m.Available))
	out.Add(c.swapTotal, float64(m.SwapTotal))
	c.difference(out, c.used, m.Total, m.Available)
	c.difference(out, c.swapUsed, m.SwapTotal, m.SwapFree)
	return nil
}

// difference adds total − rest. Emulations of /proc in containers were seen to
// report more left than there is; that gives no sample rather than a wrong one.
func (c *memory) difference(out *Batch, s *store.Series, total, rest uint64) {
	if rest > total {
		out.Fail(fmt.Errorf("%s: %d bytes left of %d", s.Name, rest, total))
		return
	}
	out.Add(s, float64(total-rest))
}
