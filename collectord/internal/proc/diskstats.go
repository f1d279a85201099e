package proc

// SectorBytes is the unit of the sector counts in /proc/diskstats, whatever
// sector size the device itself has.
const SectorBytes = 512

// DiskStat is one block device in /proc/diskstats. All counters
// start at 0 when the device appears. Those of a 32-bit kernel and IOMillis
// everywhere wrap at 2^32.
type DiskStat struct {
	Device         []byte // valid until the next Read
	Reads          uint64 // completed
	SectorsRead    uint64 // of SectorBytes
	Writes         uint64 // completed
	SectorsWritten uint64 // of SectorBytes
	IOMillis       uint64 // milliseconds with at least one request under way
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
// included. A bad line costs only itself: the good ones come with the error of
// the first bad one.
func (d *DiskStats) Read() ([]DiskStat, error) {
	text, err := d.file.Read()
	if err != nil {
		return nil, err
	}
	d.list, err = parseDiskStats(text, d.list[:0])
	return d.list, inFile(d.file.Path(), err)
}

// Columns of a line. Kernels since 4.18 and 5.5 add discards and flushes behind
// them. That one column follows the last that is used proves, in a line without
// its end, that no digit is missing.
const (
	diskIDs            = 2 // major, minor
	diskCounters       = 11
	diskReads          = 0
	diskSectorsRead    = 2
	diskWrites         = 4
	diskSectorsWritten = 6
	diskIOMillis       = 9
)

// parseDiskStats appends the devices in text to list.
func parseDiskStats(text []byte, list []DiskStat) ([]DiskStat, error) {
	return parseLines(text, 1, list, parseDiskStat)
}

func parseDiskStat(line []byte) (DiskStat, error) {
	var ids [diskIDs]uint64
	rest, err := parseUints(line, ids[:])
	if err != nil {
		return DiskStat{}, err
	}
	device, rest := NextField(rest)
	var c [diskCounters]uint64
	if _, err := parseUints(rest, c[:]); err != nil {
		return DiskStat{}, err
	}
	return DiskStat{
		Device: device,
		Reads:  c[diskReads], SectorsRead: c[diskSectorsRead],
		Writes: c[diskWrites], SectorsWritten: c[diskSectorsWritten],
		IOMillis: c[diskIOMillis],
	}, nil
}
