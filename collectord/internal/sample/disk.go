package sample

import (
	"errors"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// DefaultDisks are the names of whole devices: SATA, USB and SCSI, IDE, virtio,
// Xen, NVMe, and SD cards and eMMC. Partitions, the boot and RPMB areas of an
// eMMC, and what only stands on other devices (loop, ram, zram, dm, md) match
// none, so that nothing is counted twice.
var DefaultDisks = []string{`sd[a-z]+`, `hd[a-z]+`, `vd[a-z]+`, `xvd[a-z]+`, `nvme\d+n\d+`, `mmcblk\d+`}

// DiskOptions are the configuration of the disk collector.
type DiskOptions struct {
	// AllowedDevices are regular expressions for whole names of devices, in place
	// of DefaultDisks. None: DefaultDisks.
	AllowedDevices []string
}

// Numbers of the metrics in diskMetrics.
const (
	diskReadBytes = iota
	diskWrittenBytes
	diskReads
	diskWrites
	diskReadBytesRate
	diskWrittenBytesRate
	diskReadsRate
	diskWritesRate
	diskBusy
	diskSectorSize
	diskPhysicalSectorSize
	diskMetricCount
)

var diskLabels = []string{"device"}

var diskMetrics = []*Metric{
	diskReadBytes: {
		Name: "disk.read_bytes_total", Kind: KindCounter, Unit: "bytes", Labels: diskLabels,
		Help:   "Bytes read since the device appeared. The kernel counts 512-byte units whatever sector size the device has.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskWrittenBytes: {
		Name: "disk.written_bytes_total", Kind: KindCounter, Unit: "bytes", Labels: diskLabels,
		Help:   "Bytes written since the device appeared.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskReads: {
		Name: "disk.reads_total", Kind: KindCounter, Labels: diskLabels,
		Help:   "Reads completed since the device appeared; neighbouring requests that were merged count as one.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskWrites: {
		Name: "disk.writes_total", Kind: KindCounter, Labels: diskLabels,
		Help:   "Writes completed since the device appeared; merged ones count as one.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskReadBytesRate: {
		Name: "disk.read_bytes_per_second", Kind: KindGauge, Unit: "bytes per second", Labels: diskLabels,
		Help:   "Bytes read per second since the last reading. No sample at the first reading and after a reset or wrap of a counter.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskWrittenBytesRate: {
		Name: "disk.written_bytes_per_second", Kind: KindGauge, Unit: "bytes per second", Labels: diskLabels,
		Help:   "Bytes written per second since the last reading.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskReadsRate: {
		Name: "disk.reads_per_second", Kind: KindGauge, Unit: "per second", Labels: diskLabels,
		Help:   "Reads completed per second since the last reading.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskWritesRate: {
		Name: "disk.writes_per_second", Kind: KindGauge, Unit: "per second", Labels: diskLabels,
		Help:   "Writes completed per second since the last reading.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskBusy: {
		Name: "disk.busy_percent", Kind: KindGauge, Unit: "percent", Labels: diskLabels,
		Help:   "Share of the time since the last reading in which at least one request was under way, 0 to 100. A device that serves many at once is not full at 100.",
		Source: "/proc/diskstats", Collector: "disk",
	},
	diskSectorSize: {
		Name: "disk.sector_size_bytes", Kind: KindGauge, Unit: "bytes", Labels: diskLabels,
		Help:   "Logical sector size: the smallest unit that the device can be asked for. Read when the device appears and every minute. No sample where sysfs does not tell.",
		Source: "/sys/block/*/queue/logical_block_size", Collector: "disk",
	},
	diskPhysicalSectorSize: {
		Name: "disk.physical_sector_size_bytes", Kind: KindGauge, Unit: "bytes", Labels: diskLabels,
		Help:   "Physical sector size: the smallest unit that the device writes without reading first.",
		Source: "/sys/block/*/queue/physical_block_size", Collector: "disk",
	},
}

// disks reads /proc/diskstats.
type disks struct {
	fs       proc.FS
	registry *Registry
	allowed  names
	stats    *proc.DiskStats
	devices  *devices[disk]
}

// disk is what is kept of one device.
type disk struct {
	name    string
	allowed bool
	series  [diskMetricCount]*store.Series
	growth  growth

	sizesRead         time.Time // zero: not yet, or not well
	logical, physical uint64    // bytes; 0 = not to be known
}

// NewDisk returns the collector "disk". A wrong expression is an error.
func NewDisk(fs proc.FS, reg *Registry, opt DiskOptions) (Collector, error) {
	exprs := opt.AllowedDevices
	if len(exprs) == 0 {
		exprs = DefaultDisks
	}
	allowed, err := compileNames("disk.allowed_devices", exprs)
	if err != nil {
		return nil, err
	}
	c := &disks{fs: fs, registry: reg, allowed: allowed, stats: proc.NewDiskStats(fs)}
	c.devices = newDevices(c.newDisk)
	return c, nil
}

func (c *disks) newDisk(name string) *disk {
	d := &disk{name: name, allowed: c.allowed.match(name)}
	if d.allowed {
		for i, m := range diskMetrics {
			d.series[i] = c.registry.Series(m, labelText(name))
		}
	}
	return d
}

// Name implements Collector.
func (c *disks) Name() string { return "disk" }

// Collect implements Collector.
func (c *disks) Collect(at time.Time, out *Batch) error {
	stats, err := c.stats.Read()
	if err := out.failPart(len(stats), err); err != nil {
		return err
	}
	c.devices.begin()
	for i := range stats {
		d, _ := c.devices.see(stats[i].Device)
		if d == nil || !d.allowed {
			continue
		}
		d.addCounters(at, &stats[i], out)
		c.addSizes(at, d, out)
	}
	c.devices.end()
	return nil
}

// addCounters adds the totals of a disk and, where there are any, its rates.
func (d *disk) addCounters(at time.Time, now *proc.DiskStat, out *Batch) {
	// Sectors become bytes as float64, where no product is too large.
	out.Add(d.series[diskReadBytes], float64(now.SectorsRead)*proc.SectorBytes)
	out.Add(d.series[diskWrittenBytes], float64(now.SectorsWritten)*proc.SectorBytes)
	out.Add(d.series[diskReads], float64(now.Reads))
	out.Add(d.series[diskWrites], float64(now.Writes))

	seconds, ok := d.growth.update(at, now.SectorsRead, now.SectorsWritten, now.Reads, now.Writes, now.IOMillis)
	if !ok {
		return
	}
	out.Add(d.series[diskReadBytesRate], d.growth.perSecond(0, seconds)*proc.SectorBytes)
	out.Add(d.series[diskWrittenBytesRate], d.growth.perSecond(1, seconds)*proc.SectorBytes)
	out.Add(d.series[diskReadsRate], d.growth.perSecond(2, seconds))
	out.Add(d.series[diskWritesRate], d.growth.perSecond(3, seconds))
	// The kernel counts whole ticks of its own clock, so that a busy disk comes
	// out a little above the time that passed.
	out.Add(d.series[diskBusy], min(100, d.growth.perSecond(4, seconds)/1000*100))
}

// addSizes adds the sector sizes. They are looked at again now and then because
// a loop device and an NVMe namespace can get another one without going away.
func (c *disks) addSizes(at time.Time, d *disk, out *Batch) {
	if d.sizesRead.IsZero() || at.Sub(d.sizesRead) >= relistInterval {
		var err error
		d.sizesRead = at
		d.logical, d.physical, err = proc.BlockSizes(c.fs, d.name)
		if err != nil && !errors.Is(err, proc.ErrNotSupported) {
			d.sizesRead = time.Time{}
			out.Fail(err)
		}
	}
	if d.logical > 0 {
		out.Add(d.series[diskSectorSize], float64(d.logical))
	}
	if d.physical > 0 {
		out.Add(d.series[diskPhysicalSectorSize], float64(d.physical))
	}
}
