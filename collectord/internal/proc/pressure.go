package proc

import "bytes"

// Pressure is one file of /proc/pressure: for how many microseconds
// since boot tasks stood still for want of a resource; Absent what is bad or missing. The averages
// in the file are left out, because the totals give the exact share of any span.
// Source: Documentation/accounting/psi.rst.
type Pressure struct {
	Some uint64 // µs in which at least one task waited
	Full uint64 // µs in which all tasks that were not idle waited; /proc/pressure/cpu has none before Linux 5.13
}

// NewPressure returns the reader of /proc/pressure/RESOURCE (cpu, memory or
// io). Kernels without pressure accounting, or with it switched off at boot,
// give ErrNotSupported.
func NewPressure(fs FS, resource string) *Reader[Pressure] {
	return &Reader[Pressure]{
		file:     NewSingle(fs.ProcPath("pressure", resource)),
		parse:    parsePressure,
		optional: true,
	}
}

func parsePressure(b []byte, p *Pressure) error {
	*p = Pressure{Some: Absent, Full: Absent}
	hasSome := false
	b, isWhole := wholeLines(b)
	var firstErr error
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = NextLine(b)
		key, rest := NextField(line)
		var err error
		switch string(key) {
		case "some":
			hasSome = true
			err = pressureTotal(rest, &p.Some)
		case "full":
			err = pressureTotal(rest, &p.Full)
		}
		if err != nil && firstErr == nil {
			firstErr = parseError(n, line, err)
		}
	}
	if (!hasSome || !isWhole) && firstErr == nil {
		firstErr = parseError(0, nil, errIncomplete)
	}
	return firstErr
}

// pressureTotal finds total=N in "avg10=0.00 avg60=0.00 avg300=0.00 total=N".
func pressureTotal(line []byte, n *uint64) error {
	for field, rest := NextField(line); len(field) > 0; field, rest = NextField(rest) {
		if number, ok := bytes.CutPrefix(field, []byte("total=")); ok {
			return ParseCount(number, n)
		}
	}
	return ErrSyntax
}
