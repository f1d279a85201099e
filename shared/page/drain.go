package page

import "time"

// drain measures how fast the backlog shrinks.
type drain struct{ seen []seen }

type seen struct {
	at   time.Time
	rows int64
}

const (
	drainWindow = 2 * time.Minute // that the speed is measured over
	drainGap    = 5 * time.Minute // between two counts of a backlog so large that counting it takes seconds
	maxSeen     = 64
)

// draining is the progress of a backlog that shrinks.
type draining struct {
	Rows          int64   `json:"rows"`
	PeakRows      int64   `json:"peak_rows"`       // of this backlog, as far as it is known
	RowsPerSecond float64 `json:"rows_per_second"` // over the last minutes, what comes in counted off
	SecondsLeft   float64 `json:"seconds_left"`    // at that speed, down to one batch
	Done          float64 `json:"done"`            // 0 to 1, of the peak
}

// watch adds a count of the pending rows and returns the progress; nil when there is no backlog of
// more than one batch, or it does not shrink.
func (d *drain) watch(at time.Time, rows, batch int64, stored rise) *draining {
	if n := len(d.seen); n > 0 && (at.Before(d.seen[n-1].at) || at.Sub(d.seen[n-1].at) > drainGap) {
		d.seen = nil // the page was closed meanwhile, or the clock was set back
	}
	if n := len(d.seen); n == 0 || at.After(d.seen[n-1].at) {
		d.seen = append(d.seen, seen{at, rows})
	}
	for n := len(d.seen); n > maxSeen || n > 2 && at.Sub(d.seen[0].at) > drainWindow; n-- {
		d.seen = d.seen[1:]
	}
	first, last := d.seen[0], d.seen[len(d.seen)-1]
	if rows <= batch || last.rows >= first.rows {
		return nil
	}
	speed := float64(first.rows-last.rows) / last.at.Sub(first.at).Seconds()
	top := max(first.rows, int64(stored))
	return &draining{
		Rows: rows, PeakRows: top, RowsPerSecond: speed,
		SecondsLeft: float64(rows-batch) / speed, Done: 1 - float64(rows)/float64(top),
	}
}
