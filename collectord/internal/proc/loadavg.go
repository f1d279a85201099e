package proc

import (
	"bytes"
	"cmp"
	"math"
)

// Loadavg is /proc/loadavg: the mean number of tasks that ran, wanted
// to run or waited for a disk, over three spans of time. A bad one is NaN.
// Source: proc_loadavg(5).
type Loadavg struct {
	One, Five, Fifteen float64 // minutes
}

// NewLoadavg returns the reader of /proc/loadavg.
func NewLoadavg(fs FS) *Reader[Loadavg] {
	return &Reader[Loadavg]{file: NewSingle(fs.ProcPath("loadavg")), parse: parseLoadavg}
}

func parseLoadavg(b []byte, l *Loadavg) error {
	line, _ := NextLine(b)
	rest := line
	var bad error
	for _, v := range [...]*float64{&l.One, &l.Five, &l.Fifteen} {
		var err error
		if *v, rest, err = nextTime(rest); err != nil {
			*v, bad = math.NaN(), cmp.Or(bad, err)
		}
	}
	if next, _ := NextField(rest); len(next) == 0 && bytes.IndexByte(b, '\n') < 0 { // digits may be missing
		l.Fifteen, bad = math.NaN(), cmp.Or(bad, errColumns)
	}
	if bad != nil {
		return parseError(1, line, bad)
	}
	return nil
}

// nextTime reads the next field as a number that is never negative.
func nextTime(line []byte) (v float64, rest []byte, err error) {
	field, rest := NextField(line)
	if v, err = ParseFloat(field); err != nil {
		return 0, rest, err
	}
	if v < 0 {
		return 0, rest, ErrRange
	}
	return v, rest, nil
}
