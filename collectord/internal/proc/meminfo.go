package proc

// Meminfo is the memory in /proc/meminfo, in bytes; Absent where it is bad or missing.
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
	*m = Meminfo{Total: Absent, Available: Absent, SwapTotal: Absent, SwapFree: Absent, Estimated: true}
	var estimate, part uint64
	var firstErr error
	const total, free, swapTotal, swapFree, all = 1, 2, 4, 8, 15
	seen := 0
	b, isWhole := wholeLines(b)
	for n := 1; len(b) > 0 && (seen != all || m.Estimated); n++ {
		var line []byte
		line, b = NextLine(b)
		key, rest := NextField(line)
		var err error
		switch string(key) {
		case "MemTotal:":
			seen |= total
			err = kilobytes(rest, &m.Total)
		case "MemAvailable:":
			m.Estimated = false
			err = kilobytes(rest, &m.Available)
		case "SwapTotal:":
			seen |= swapTotal
			err = kilobytes(rest, &m.SwapTotal)
		case "SwapFree:":
			seen |= swapFree
			err = kilobytes(rest, &m.SwapFree)
		case "MemFree:":
			seen |= free
			fallthrough
		case "Active(file):", "Inactive(file):", "SReclaimable:":
			if err = kilobytes(rest, &part); err != nil {
				estimate = Absent
			} else if estimate != Absent {
				estimate += part // kilobytes keeps each below 2^60
			}
		}
		if err != nil && firstErr == nil {
			firstErr = parseError(n, line, err)
		}
	}
	if (seen != all || !isWhole) && firstErr == nil {
		firstErr = parseError(0, nil, errIncomplete)
	}
	if m.Estimated && seen&free != 0 && estimate != Absent {
		m.Available = min(estimate, m.Total)
	}
	return firstErr
}

// kilobytes reads "  24684092 kB" as bytes into n, Absent if it is bad.
func kilobytes(line []byte, n *uint64) error {
	field, rest := NextField(line)
	err := ParseCount(field, n)
	switch unit, _ := NextField(rest); {
	case err != nil:
	case string(unit) != "kB":
		err = ErrSyntax
	case *n >= 1<<50: // an exbibyte: no machine, but a sum that could overflow
		err = ErrRange
	default:
		*n <<= 10
		return nil
	}
	*n = Absent
	return err
}
