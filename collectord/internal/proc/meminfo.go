package proc

// Meminfo is the memory in /proc/meminfo, in bytes.
// Source: Documentation/filesystems/proc.rst, section "meminfo".
type Meminfo struct {
	Total     uint64
	Available uint64 // see Estimated
	SwapTotal uint64
	SwapFree  uint64

	// Estimated: the kernel has no MemAvailable (before 3.14).
	// Available is then MemFree + Active(file) + Inactive(file) + SReclaimable:
	// what the kernel's own estimate is made of, without the reserve that it
	// takes off, so a little too high.
	Estimated bool
}

// NewMeminfo returns the reader of /proc/meminfo.
func NewMeminfo(fs FS) *Reader[Meminfo] {
	return &Reader[Meminfo]{file: NewSingle(fs.ProcPath("meminfo")), parse: parseMeminfo}
}

func parseMeminfo(b []byte, m *Meminfo) error {
	*m = Meminfo{Estimated: true}
	var estimate uint64
	const total, free, swapTotal, swapFree, all = 1, 2, 4, 8, 15
	seen := 0
	for n := 1; len(b) > 0 && (seen != all || m.Estimated); n++ {
		var line []byte
		line, b = NextLine(b)
		key, rest := NextField(line)
		var err error
		switch string(key) {
		case "MemTotal:":
			seen |= total
			m.Total, err = kilobytes(rest)
		case "MemAvailable:":
			m.Estimated = false
			m.Available, err = kilobytes(rest)
		case "SwapTotal:":
			seen |= swapTotal
			m.SwapTotal, err = kilobytes(rest)
		case "SwapFree:":
			seen |= swapFree
			m.SwapFree, err = kilobytes(rest)
		case "MemFree:":
			seen |= free
			fallthrough
		case "Active(file):", "Inactive(file):", "SReclaimable:":
			var part uint64
			part, err = kilobytes(rest)
			estimate += part // kilobytes keeps each below 2^60
		}
		if err != nil {
			return parseError(n, line, err)
		}
	}
	if seen != all {
		return parseError(0, nil, errIncomplete)
	}
	if m.Estimated {
		m.Available = min(estimate, m.Total)
	}
	return nil
}

// kilobytes reads "  24684092 kB" as bytes.
func kilobytes(line []byte) (uint64, error) {
	field, rest := NextField(line)
	n, err := ParseUint(field)
	if err != nil {
		return 0, err
	}
	if unit, _ := NextField(rest); string(unit) != "kB" {
		return 0, ErrSyntax
	}
	if n >= 1<<50 { // an exbibyte: no machine, but a sum that could overflow
		return 0, ErrRange
	}
	return n << 10, nil
}
