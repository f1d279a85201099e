package proc

import "cmp"

// SectorBytes is the unit of the sector counts in /proc/diskstats, whatever
// sector size the device itself has.
const SectorBytes = 512

// DiskStat is one block device in /proc/diskstats. All counters
// start at 0 when the device appears. Those of a 32-bit kernel and IOMillis
// everywhere wrap at 2^32.
type DiskStat struct {
	Device         []byte // valid until the next Read
	Major, Minor   uint64
	Reads          uint64 // completed
	SectorsRead    uint64 // of SectorBytes
	Writes         uint64 // completed
	SectorsWritten uint64 // of SectorBytes
	IOMillis       uint64 // milliseconds with at least one request under way; Absent if any time of the device is bad
	Counts         []byte // all numbers of the line behind the name, valid until the next Read
}

// DiskStats reads /proc/diskstats, described in the kernel's
// Documentation/admin-guide/iostats.rst.
type DiskStats struct {
	file *File
	list []DiskStat
}

// NewDiskStats names the file; nothing is opened yet.
func NewDiskStats(fs FS) *DiskStats {
	return &DiskStats{file: NewFile(fs.ProcPath("diskstats"))}
}

// Read returns one entry for each device, partitions and virtual devices
// included. A bad number is Absent, a line without its columns is left out, and the error
// of the first comes beside the list.
func (d *DiskStats) Read() ([]DiskStat, error) {
	text, err := d.file.Read()
	if err != nil {
		return nil, err
	}
	d.list, err = parseDiskStats(text, d.list[:0])
	return d.list, inFile(d.file.Path(), err)
}

// parseDiskStats appends the devices in text to list.
func parseDiskStats(text []byte, list []DiskStat) ([]DiskStat, error) {
	list, err := parseLines(text, 1, list, parseDiskStat)
	if _, isWhole := wholeLines(text); !isWhole && len(list) > 0 {
		list[len(list)-1].Counts = nil // digits may be missing
	}
	return list, err
}

// parseDiskStat reads one line. Kernels since 4.18 and 5.5 add discards and flushes behind these
// columns. That one column follows the last that is used proves, in a line without its end, that no
// digit is missing. The kernel adds up the four times of a device together: where one is negative
// the others are no better.
func parseDiskStat(line []byte) (d DiskStat, bad, err error) {
	var ids [2][]byte
	for i := range ids {
		ids[i], line = NextField(line)
	}
	badID := cmp.Or(ParseCount(ids[0], &d.Major), ParseCount(ids[1], &d.Minor))
	d.Device, line = NextField(line)
	d.Counts = line
	var reading, writing, weighted uint64
	bad, err = parseCounts(line,
		&d.Reads, nil, &d.SectorsRead, &reading,
		&d.Writes, nil, &d.SectorsWritten, &writing,
		nil, &d.IOMillis, &weighted)
	if reading == Absent || writing == Absent || weighted == Absent {
		d.IOMillis = Absent
	}
	return d, bad, cmp.Or(badID, err)
}
