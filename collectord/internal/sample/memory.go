package sample

import (
	"fmt"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

var (
	memoryTotal = Metric{
		Name: "memory.total_bytes", Kind: KindGauge, Unit: "bytes",
		Help:   "Memory that the kernel can use, which is less than what is built in (MemTotal).",
		Source: "/proc/meminfo", Collector: "memory",
	}
	memoryUsed = Metric{
		Name: "memory.used_bytes", Kind: KindGauge, Unit: "bytes",
		Help:   "MemTotal − MemAvailable: what programs and the kernel hold and could not give back without swapping.",
		Source: "/proc/meminfo", Collector: "memory",
	}
	memoryAvailable = Metric{
		Name: "memory.available_bytes", Kind: KindGauge, Unit: "bytes",
		Help:   "What new programs could get without swapping (MemAvailable). Kernels before 3.14 do not tell; there it is MemFree + Active(file) + Inactive(file) + SReclaimable, a little too high.",
		Source: "/proc/meminfo", Collector: "memory",
	}
	memorySwapTotal = Metric{
		Name: "memory.swap_total_bytes", Kind: KindGauge, Unit: "bytes",
		Help:   "Size of all swap areas; 0 without swap.",
		Source: "/proc/meminfo", Collector: "memory",
	}
	memorySwapUsed = Metric{
		Name: "memory.swap_used_bytes", Kind: KindGauge, Unit: "bytes",
		Help:   "SwapTotal − SwapFree.",
		Source: "/proc/meminfo", Collector: "memory",
	}
)

var memoryMetrics = []*Metric{&memoryTotal, &memoryUsed, &memoryAvailable, &memorySwapTotal, &memorySwapUsed}

// memory reads /proc/meminfo.
type memory struct {
	meminfo                                     *proc.Reader[proc.Meminfo]
	total, used, available, swapTotal, swapUsed *store.Series
}

// NewMemory returns the collector "memory".
func NewMemory(fs proc.FS, reg *Registry) Collector {
	return &memory{
		meminfo:   proc.NewMeminfo(fs),
		total:     reg.Series(&memoryTotal),
		used:      reg.Series(&memoryUsed),
		available: reg.Series(&memoryAvailable),
		swapTotal: reg.Series(&memorySwapTotal),
		swapUsed:  reg.Series(&memorySwapUsed),
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
