package sample

import (
	"errors"
	"fmt"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// system reads how long the machine is up and what it is.
type system struct {
	uptime         *proc.Reader[float64]
	uptimeSeries   *Series
	last           float64 // uptime of the last tick
	boot           bootTime
	bootTimeSeries *Series
	texts          []*text
}

// NewSystem returns the collector "system". The os-release file is separate
// from fs, because it belongs to neither tree.
func NewSystem(fs proc.FS, osRelease string, reg *Registry) Collector {
	return &system{
		uptime:         proc.NewUptime(fs),
		uptimeSeries:   reg.Series("system.uptime_seconds"),
		boot:           bootTime{stat: proc.NewStat(fs)},
		bootTimeSeries: reg.Series("system.boot_time_seconds"),
		texts: []*text{
			{series: reg.Series("system.kernel_release"), read: func() (string, error) { return proc.KernelRelease(fs) }},
			{series: reg.Series("system.os_name"), read: func() (string, error) { return proc.OSName(osRelease) }},
			{series: reg.Series("system.board_model"), read: func() (string, error) { return proc.BoardModel(fs) }},
		},
	}
}

// Name implements Collector.
func (c *system) Name() string { return "system" }

// Collect implements Collector.
func (c *system) Collect(at time.Time, out *Batch) error {
	for _, t := range c.texts {
		t.collect(at, out)
	}
	up, err := c.uptime.Read()
	if err != nil {
		return err
	}
	last := c.last
	c.last = *up // the next one is compared with this one, right or not
	if *up < last {
		out.Fail(fmt.Errorf("impossible value %v after %v: the time since boot never goes back", *up, last), c.uptimeSeries.parts...)
		return nil
	}
	out.Add(c.uptimeSeries, *up)
	boot, err := c.boot.read(at, time.Duration(*up*float64(time.Second)))
	if err != nil {
		out.Fail(err, c.bootTimeSeries.parts...)
		return nil
	}
	out.Add(c.bootTimeSeries, boot)
	return nil
}

// bootTime is the time of the boot. The kernel prints it in /proc/stat, which
// is dear to read, so it is read again only when the wall clock was set.
type bootTime struct {
	stat   *proc.Reader[proc.Stat]
	value  float64
	offset time.Time // wall clock minus uptime when value was read; zero = not read
}

// read returns the boot time in Unix seconds.
func (b *bootTime) read(at time.Time, uptime time.Duration) (float64, error) {
	offset := at.Round(0).Add(-uptime) // without the monotonic part, which no clock step moves
	if !b.offset.IsZero() && offset.Sub(b.offset).Abs() < time.Second {
		return b.value, nil
	}
	stat, err := b.stat.Read()
	if stat == nil || stat.BootTime == proc.Absent {
		return 0, err
	}
	b.value, b.offset = float64(stat.BootTime), offset
	_ = b.stat.Close() // read-only; not needed again for long
	return b.value, nil
}

// text is a string that is stored when a process starts, when it changes, and
// once an hour besides: the row of an old text is pruned like any other, and a
// tick may be lost to a full disk.
type text struct {
	series *Series
	read   func() (string, error)
	last   string
	stored time.Time // when it was last added
	looked time.Time
}

const (
	textInterval = time.Minute // how often a string is looked at: it changes with an upgrade
	textRepeat   = time.Hour
)

func (t *text) collect(at time.Time, out *Batch) {
	if !t.looked.IsZero() && at.Sub(t.looked) < textInterval {
		return
	}
	t.looked = at
	now, err := t.read()
	switch {
	case errors.Is(err, proc.ErrNotSupported):
		return
	case err != nil:
		out.Fail(err, t.series.parts...)
		t.looked = time.Time{} // so that it fails in every tick until it works again
	case now != t.last || at.Sub(t.stored) >= textRepeat:
		out.AddText(t.series, now)
		t.last, t.stored = now, at
	}
}
