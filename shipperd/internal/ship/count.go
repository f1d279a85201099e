package ship

import (
	"context"
	"errors"
	"time"

	"belabox-metrics/shipperd/internal/victoria"
)

// listAtOnce is the number of samples up to which a list costs hardly more than a count.
const listAtOnce = 500

// found is what a count says.
type found int

const (
	foundSome    found = iota // nothing can be concluded
	foundAll                  // everything is there
	foundNothing              // nothing is there
)

// count queries one number: how many samples the server has in the span of the chunks. If that is
// the number of rows in the file that were answered 2xx or are of these chunks, all of them are
// there. If it is 0, none is. Any other number proves nothing. ok = the server can be read.
func (s *Shipper) count(ctx context.Context, group []*inflight) (_ found, ok bool, err error) {
	fromMS, toMS := span(group)
	if !s.countable(group, fromMS, toMS) {
		return foundSome, true, nil
	}
	// The server still has the samples of rows that were pruned.
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return foundSome, false, err
	}
	if pruned, err := s.Outbox.Pruned(ctx, t.Ranges(fromMS, toMS)...); err != nil || pruned {
		return foundSome, err == nil, err
	}
	want, err := s.expected(ctx, group, fromMS, toMS)
	if err != nil {
		return foundSome, false, err
	}
	result := foundAll
	var sum, total int64
	for device, expected := range want {
		n, err := s.Server.Count(ctx, victoria.Selector{DeviceID: device}, fromMS, toMS)
		if errors.Is(err, victoria.ErrNotSupported) {
			s.reading.uncountable = time.Now().Add(uncountableFor) // a receiver, say
			return foundSome, true, nil
		}
		if err != nil {
			s.readFailed(ctx, err)
			return foundSome, false, nil
		}
		total += expected
		if sum += n; n != expected {
			s.Log.Debug("counts differ", "server", n, "file", expected, "chunks", len(group))
			result = foundSome
		}
	}
	s.readWorks()
	switch {
	case total == 0:
		result = foundSome // the rows have gone from the file
	case sum == 0:
		result = foundNothing
	}
	return result, true, nil
}

// uncountableFor is how long no count is queried from a server that does not support it.
const uncountableFor = time.Hour

// countable reports whether a count over the span can be compared with the file: apart from the
// chunks themselves, no rows in it may be in doubt, may have been clamped into or out of it, or
// may have been sent twice.
func (s *Shipper) countable(group []*inflight, fromMS, toMS int64) bool {
	if time.Now().Before(s.reading.uncountable) || !s.reading.dedupUntil.IsZero() || s.reading.blurred.overlaps(fromMS, toMS) {
		return false
	}
	rows := 0
	for _, c := range group {
		rows += c.n
	}
	if rows > s.readMost() || len(group) == 1 && group[0].state != accepted && rows <= listAtOnce {
		return false
	}
	inGroup := make(map[*inflight]bool, len(group))
	for _, c := range group {
		inGroup[c] = true
	}
	for _, c := range s.chunks.all {
		if c.overlaps(fromMS, toMS) && (!c.uploaded() && c.state != recorded && c.state != owed && !inGroup[c] || s.clamps(c)) {
			return false
		}
	}
	return true
}

// expected returns how many samples of each device should be at the server: the rows that were
// answered 2xx, those of the group, and not those that an answer has lacked.
func (s *Shipper) expected(ctx context.Context, group []*inflight, fromMS, toMS int64) (map[string]int64, error) {
	want, err := s.Outbox.UploadedByDevice(ctx, fromMS, toMS)
	if err != nil {
		return nil, err
	}
	add := func(c *inflight, sign int64) error {
		packed := c.packed != nil
		if err := c.unpack(); err != nil {
			return err
		}
		for _, k := range c.Keys {
			if ms := k.TimestampMS() + c.offset; ms < fromMS || ms > toMS {
				continue
			}
			info, err := s.Outbox.Series(ctx, k.SeriesID())
			if err != nil {
				return err
			}
			want[info.Device] += sign
		}
		if packed {
			c.pack()
		}
		return nil
	}
	inGroup := make(map[*inflight]bool, len(group))
	for _, c := range group {
		inGroup[c] = true
		if !c.uploaded() {
			if err := add(c, 1); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range s.chunks.all {
		if c.uploaded() && (c.state == unseen || c.state == missing) && !inGroup[c] && c.overlaps(fromMS, toMS) {
			if err := add(c, -1); err != nil {
				return nil, err
			}
		}
	}
	return want, nil
}

func span(group []*inflight) (fromMS, toMS int64) {
	fromMS, toMS = group[0].from(), group[0].to()
	for _, c := range group[1:] {
		fromMS, toMS = min(fromMS, c.from()), max(toMS, c.to())
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
