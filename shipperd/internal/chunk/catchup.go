package chunk

import (
	"math"
	"time"

	"belabox-metrics/shared/store"
)

// A body of a backlog aims at this part of MaxBytes: 200 of 256 KiB. The rest is
// for estimates that were too low.
const fill = 200.0 / 256

// firstGuess is the compressed size of a row before anything was measured.
const firstGuess = 4.0

// BuildCatchUp makes the requests of a backlog, of one body each: a contiguous range of
// rows, as many as fill 128 to 200 KiB of a MaxBytes of 256, however many lines
// that takes. rows that make several bodies make them of equal size. Where it
// can, it cuts between two ticks, so that a body has its time range for itself.
// For the rest see Build.
func (b *Builder) BuildCatchUp(rows []store.Row, series SeriesFunc, created time.Time, offset int64) (requests []*Request, refused []Refused, text store.KeySet, err error) {
	s, err := b.sift(rows, series)
	if err != nil {
		return nil, nil, nil, err
	}
	add := func(r *Request) {
		requests = append(requests, r)
		b.perRow = float64(len(r.Gzip)) / float64(r.Rows())
	}
	for rest := s; len(rest.rows) > 0; {
		n := b.nextCut(rest.rows)
		if err := b.fit([]selection{rest.cut(0, n)}, created, offset, halveByTime, add, &s.refused); err != nil {
			return nil, nil, nil, err
		}
		rest = rest.cut(n, len(rest.rows))
	}
	return requests, s.refused, s.text, nil
}

// CatchUpRows returns how many rows fill one body of BuildCatchUp, by the size
// of the last ones.
func (b *Builder) CatchUpRows() int {
	return max(1, int(fill*float64(b.cfg.MaxBytes)/b.perRow))
}

// nextCut returns how many of the rows make the next body.
func (b *Builder) nextCut(rows []store.Row) int {
	parts := math.Ceil(float64(len(rows)) / float64(b.CatchUpRows()))
	n := int(math.Ceil(float64(len(rows)) / parts))
	if n == len(rows) {
		return n
	}
	// Back to the start of the tick, unless that takes away too much.
	for i := n; i > n*3/4; i-- {
		if rows[i].Key.TimestampMS() != rows[i-1].Key.TimestampMS() {
			return i
		}
	}
	return n
}

// halveByTime keeps both halves contiguous.
func halveByTime(s selection) (selection, selection) {
	n := len(s.rows) / 2
	return s.cut(0, n), s.cut(n, len(s.rows))
}
