package ship

import (
	"context"
	"errors"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// askAtOnce is the number of samples of which a list costs hardly more than a
// count.
const askAtOnce = 500

// allThere asks for one number: how many samples the server has in the span of the
// chunks. If that is the number of rows in the file that were answered 2xx or
// are of these chunks, all of them are there. Nothing follows from another number.
// ok = the server answers questions.
func (s *Shipper) allThere(ctx context.Context, group []*parcel) (there, ok bool, err error) {
	fromMS, toMS := span(group)
	if !s.countable(group, fromMS, toMS) {
		return false, true, nil
	}
	// Of rows that were pruned the server still has the samples. Only rows that came
	// late lie among them: after a step of the clock, or letters that were retried.
	pruned, err := s.Outbox.PrunedThrough(ctx)
	if err != nil || fromMS <= pruned.TimestampMS() {
		return false, err == nil, err
	}
	want, err := s.expected(ctx, group, fromMS, toMS)
	if err != nil {
		return false, false, err
	}
	for device, expected := range want {
		n, err := s.Server.Count(ctx, victoria.Selector{DeviceID: device}, fromMS, toMS)
		switch {
		case err == nil:
		case errors.Is(err, victoria.ErrNotSupported):
			s.reading.uncountable = time.Now().Add(uncountableFor) // a receiver, say
			return false, true, nil
		case asError(err).Class == victoria.ClassRejected:
			return false, true, nil // too much for one question
		default:
			s.readFailed(ctx, err)
			return false, false, nil
		}
		if n != expected {
			s.Log.Debug("counts differ", "server", n, "file", expected, "chunks", len(group))
			return false, true, nil
		}
	}
	s.readWorks()
	return true, true, nil
}

// uncountableFor is how long a server that does not count is not asked to.
const uncountableFor = time.Hour

// countable reports whether a count over the span can be compared with the
// file: nothing in it may be of unknown fate, beside the chunks themselves, or have
// been sent under another timestamp, there or from there, or perhaps twice.
func (s *Shipper) countable(group []*parcel, fromMS, toMS int64) bool {
	now := time.Now()
	if now.Before(s.reading.uncountable) || !s.reading.thinning.IsZero() || s.reading.blurred.overlaps(fromMS, toMS) {
		return false
	}
	if len(group) == 1 && group[0].ambiguous() && group[0].n <= askAtOnce {
		return false
	}
	inGroup := make(map[*parcel]bool, len(group))
	for _, p := range group {
		inGroup[p] = true
	}
	for _, p := range s.book.open {
		if p.overlaps(fromMS, toMS) && (p.ambiguous() && !inGroup[p] || s.clamps(p)) {
			return false
		}
	}
	return true
}

// expected returns how many samples of each device should be at the server.
func (s *Shipper) expected(ctx context.Context, group []*parcel, fromMS, toMS int64) (map[string]int64, error) {
	want, err := s.Outbox.UploadedByDevice(ctx, fromMS, toMS)
	if err != nil {
		return nil, err
	}
	for _, p := range group {
		if p.State == store.Accepted {
			continue // its rows are uploaded
		}
		for _, k := range p.Keys {
			info, err := s.Outbox.Series(ctx, k.SeriesID())
			if err != nil {
				return nil, err
			}
			want[info.Device]++
		}
	}
	return want, nil
}

func span(group []*parcel) (fromMS, toMS int64) {
	fromMS, toMS = group[0].first.TimestampMS(), group[0].last.TimestampMS()
	for _, p := range group[1:] {
		fromMS, toMS = min(fromMS, p.first.TimestampMS()), max(toMS, p.last.TimestampMS())
	}
	return fromMS, toMS
}

// interval is a span of milliseconds, both ends inclusive; the zero one is empty.
type interval struct {
	from, to int64
	any      bool
}

// add widens the interval.
func (v *interval) add(from, to int64) {
	if !v.any {
		*v = interval{from, to, true}
		return
	}
	v.from, v.to = min(v.from, from), max(v.to, to)
}

func (v *interval) overlaps(from, to int64) bool { return v.any && v.from <= to && from <= v.to }
