package sample

import (
	"errors"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// pressure reads /proc/pressure. It takes the totals, not the averages of the
// file: a share of the span between two readings is exact and has no memory of
// the time before.
type pressure struct{ resources []*stall }

// stall is one file of /proc/pressure.
type stall struct {
	reader     *proc.Reader[proc.Pressure]
	some, full *store.Series // full is nil for the cpu, where it means nothing
	last       proc.Pressure
	at         time.Time // of last; zero = none
}

// NewPressure returns the collector "pressure".
func NewPressure(fs proc.FS, reg *Registry) Collector {
	return &pressure{[]*stall{
		{reader: proc.NewPressure(fs, "cpu"), some: reg.Series("pressure.cpu_some_percent")},
		{reader: proc.NewPressure(fs, "memory"), some: reg.Series("pressure.memory_some_percent"), full: reg.Series("pressure.memory_full_percent")},
		{reader: proc.NewPressure(fs, "io"), some: reg.Series("pressure.io_some_percent"), full: reg.Series("pressure.io_full_percent")},
	}}
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
	if err != nil {
		s.at = time.Time{} // a share of a longer span would be right, but late
		return err
	}
	if !s.at.IsZero() {
		elapsed := at.Sub(s.at)
		s.add(out, s.some, s.last.Some, now.Some, elapsed)
		if s.full != nil && now.HasFull && s.last.HasFull {
			s.add(out, s.full, s.last.Full, now.Full, elapsed)
		}
	}
	s.last, s.at = *now, at
	return nil
}

func (s *stall) add(out *Batch, series *store.Series, last, now uint64, elapsed time.Duration) {
	if share, ok := stallPercent(last, now, elapsed); ok {
		out.Add(series, share)
	}
}

// stallPercent returns which share of elapsed the microseconds between two
// totals are. It is not ok after a reset or if no time passed. The file is read
// a little later than elapsed says, so that a full stall can come out just over
// 100; that is cut.
func stallPercent(last, now uint64, elapsed time.Duration) (percent float64, ok bool) {
	if now < last || elapsed <= 0 {
		return 0, false
	}
	return quotient(min(100, 100*float64(now-last)/(elapsed.Seconds()*1e6))), true
}
