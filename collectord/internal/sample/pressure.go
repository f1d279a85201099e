package sample

import (
	"errors"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// pressure reads /proc/pressure. It takes the totals, not the averages of the
// file: a share of the span between two readings is exact and has no memory of
// the time before.
type pressure struct{ resources []*stall }

// stall is one file of /proc/pressure.
type stall struct {
	reader     *proc.Reader[proc.Pressure]
	some, full *Series   // full is nil for the cpu, where it means nothing
	node       []*Series // of both, without that of full where it is nil
	last       proc.Pressure
	at         time.Time // of last; zero = none
}

// NewPressure returns the collector "pressure".
func NewPressure(fs proc.FS, reg *Registry) Collector {
	c := &pressure{[]*stall{
		{reader: proc.NewPressure(fs, "cpu"), some: reg.Series("pressure.cpu_some_percent")},
		{reader: proc.NewPressure(fs, "memory"), some: reg.Series("pressure.memory_some_percent"), full: reg.Series("pressure.memory_full_percent")},
		{reader: proc.NewPressure(fs, "io"), some: reg.Series("pressure.io_some_percent"), full: reg.Series("pressure.io_full_percent")},
	}}
	for i, resource := range []string{"cpu", "memory", "io"} {
		prefix := "node_pressure_" + resource
		c.resources[i].node = reg.node("pressure").columns([]nodeColumn{{prefix + "_waiting_seconds_total", 1e6}, {prefix + "_stalled_seconds_total", 1e6}})
	}
	return c
}

// Name implements Collector.
func (c *pressure) Name() string { return "pressure" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has
// none of the files.
func (c *pressure) Collect(at time.Time, out *Batch) error {
	var absent error
	missing := 0
	for _, s := range c.resources {
		err := s.collect(at, out)
		switch {
		case errors.Is(err, proc.ErrNotSupported):
			absent = err
			missing++
		case err != nil:
			out.Fail(err)
		}
	}
	if missing == len(c.resources) {
		return absent
	}
	return nil
}

func (s *stall) collect(at time.Time, out *Batch) error {
	now, err := s.reader.Read()
	if now == nil {
		s.at = time.Time{} // a share of a longer span would be right, but late
		return err
	}
	for i, n := range s.node {
		if i == 0 {
			out.Add(n, number(now.Some)/n.per)
		} else if s.full != nil {
			out.Add(n, number(now.Full)/n.per)
		}
	}
	if elapsed := at.Sub(s.at).Seconds(); !s.at.IsZero() && elapsed > 0 {
		addStall(out, s.some, s.last.Some, now.Some, elapsed)
		if s.full != nil {
			addStall(out, s.full, s.last.Full, now.Full, elapsed)
		}
	}
	s.last, s.at = *now, at
	return err
}

// addStall adds which share of elapsed the microseconds between two totals are, unless
// one is absent or there was a reset.
func addStall(out *Batch, series *Series, last, now uint64, elapsed float64) {
	if last == proc.Absent || now == proc.Absent || now < last {
		return
	}
	out.addShare(series, float64(now-last)/1e6, elapsed)
}
