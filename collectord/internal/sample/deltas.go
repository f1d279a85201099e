package sample

import (
	"math"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// deltas follows a group of counters that begin and are reset together, those
// of one disk or of one interface, from reading to reading. The zero value has
// seen nothing.
type deltas struct {
	at   time.Time
	last []uint64
	by   []float64 // what each counter grew by, valid after an update that was ok; NaN where one reading lacks it
}

// update takes the next reading and returns the seconds since the one before
// it. It is not ok where there is no rate: at the first reading, if no time
// has passed, and if any counter went backwards. That is a wrap of 32 or 64 bits
// or a device that was reset or replaced, and then what the others grew by means
// nothing either.
func (d *deltas) update(at time.Time, now ...uint64) (seconds float64, ok bool) {
	if d.last == nil {
		d.last, d.by = make([]uint64, len(now)), make([]float64, len(now))
	} else {
		seconds = at.Sub(d.at).Seconds()
		ok = seconds > 0
	}
	for i, n := range now {
		if last := d.last[i]; n == proc.Absent || last == proc.Absent {
			d.by[i] = math.NaN()
		} else {
			ok = ok && n >= last
			d.by[i] = float64(n - last)
		}
		d.last[i] = n
	}
	d.at = at
	return seconds, ok
}

// perSecond returns the rate of counter i over the seconds that update gave.
func (d *deltas) perSecond(i int, seconds float64) float64 {
	return quotient(d.by[i] / seconds)
}
