package sample

import (
	"errors"
	"regexp"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// diskTotals and diskRates are in the order of the counters of addCounters.
var (
	diskTotals = []string{"disk.read_bytes_total", "disk.written_bytes_total", "disk.reads_total", "disk.writes_total"}
	diskRates  = []string{
		"disk.read_bytes_per_second", "disk.written_bytes_per_second", "disk.reads_per_second", "disk.writes_per_second",
	}
)

// disks reads /proc/diskstats.
type disks struct {
	fs       proc.FS
	registry *Registry
	allowed  []*regexp.Regexp
	stats    *proc.DiskStats
	uevents  *proc.Uevents
	devices  *devices[disk]
}

// disk is what is kept of one device.
type disk struct {
	name          string
	allowed       bool
	number        *proc.Identity
	id            diskID
	totals, rates []*Series
	busy          *Series
	node          []*Series
	deltas        deltas

	sectorSize, physicalSectorSize *Series
	sizesRead                      time.Time // zero: not yet, or not well
	logical, physical              uint64    // bytes; 0 = not to be known
}

// NewDisk returns the collector "disk" of the devices whose names match an
// expression of disk.allowed_devices. A wrong expression is an error.
func NewDisk(fs proc.FS, reg *Registry, allowedDevices []string) (Collector, error) {
	allowed, err := compileNames("disk.allowed_devices", allowedDevices)
	if err != nil {
		return nil, err
	}
	c := &disks{fs: fs, registry: reg, allowed: allowed, stats: proc.NewDiskStats(fs), uevents: proc.NewUevents(fs)}
	c.devices = newDevices(c.newDisk)
	return c, nil
}

// diskID is what tells a disk from others that have had its name; a number of 0 is not known.
type diskID struct{ major, minor, number uint64 }

// read returns the identity of the device that has the name of d now.
func (d *disk) read(stat *proc.DiskStat) diskID {
	return diskID{stat.Major, stat.Minor, d.number.Read()}
}

// isOther reports whether two identities are of two disks.
func (i diskID) isOther(o diskID) bool {
	return i.major != o.major || i.minor != o.minor || i.number != 0 && o.number != 0 && i.number != o.number
}

// replaced forgets the disks that are others than in the previous tick under their names, and
// returns whether there are any.
func (c *disks) replaced(stats []proc.DiskStat) (found bool) {
	complete := true
	for i := range stats {
		d := c.devices.get(stats[i].Device)
		if d == nil || !d.allowed {
			continue
		}
		id := d.read(&stats[i])
		switch {
		case d.id != (diskID{}) && id.isOther(d.id):
			c.devices.replace(stats[i].Device)
			found = true
		case id.number == 0 && d.id.number != 0:
			complete = false // it is leaving, or another is coming
		default:
			d.id = id
		}
	}
	if complete && !found { // else the numbers are read again, after which there may be others
		c.uevents.Settle()
	}
	return found
}

func (c *disks) newDisk(name string) *disk {
	d := &disk{name: name, allowed: matchesAny(c.allowed, name)}
	if d.allowed {
		d.number = proc.DiskNumber(c.fs, name)
		label := labelText(name)
		d.totals, d.rates = c.registry.each(diskTotals, label), c.registry.each(diskRates, label)
		d.busy = c.registry.Series("disk.busy_percent", label)
		d.node = c.registry.node("diskstats").columns(diskColumns, "device", name)
		d.sectorSize = c.registry.Series("disk.sector_size_bytes", label)
		d.physicalSectorSize = c.registry.Series("disk.physical_sector_size_bytes", label)
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
	if c.uevents.Moved() && c.replaced(stats) { // the numbers may be of before that
		if stats, err = c.stats.Read(); err != nil && len(stats) == 0 {
			return err
		}
	}
	for i := range stats {
		d, created := c.devices.see(stats[i].Device)
		if d == nil || !d.allowed {
			continue
		}
		if created {
			d.id = d.read(&stats[i])
		}
		d.addCounters(at, &stats[i], out)
		c.addSizes(at, d, out)
	}
	c.devices.end()
	return nil
}

// addCounters adds the totals of a disk and, where there are any, its rates.
func (d *disk) addCounters(at time.Time, now *proc.DiskStat, out *Batch) {
	counters := [...]uint64{now.SectorsRead, now.SectorsWritten, now.Reads, now.Writes, now.IOMillis}
	// Sectors become bytes as float64, where no product is too large.
	units := [...]float64{proc.SectorBytes, proc.SectorBytes, 1, 1}
	for i, total := range d.totals {
		out.Add(total, number(counters[i])*units[i])
	}
	out.addColumns(d.node, now.Counts)
	seconds, ok := d.deltas.update(at, counters[:]...)
	if !ok {
		return
	}
	for i, rate := range d.rates {
		out.Add(rate, d.deltas.perSecond(i, seconds)*units[i])
	}
	// The kernel counts whole ticks of its own clock, so that a busy disk comes
	// out a little above the time that passed.
	out.addShare(d.busy, d.deltas.by[4]/1000, seconds)
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
			out.Fail(err, labelText(d.name))
		}
	}
	if d.logical > 0 {
		out.Add(d.sectorSize, float64(d.logical))
	}
	if d.physical > 0 {
		out.Add(d.physicalSectorSize, float64(d.physical))
	}
}
