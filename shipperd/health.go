package main

import (
	"context"
	"errors"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shipperd/internal/ship"
	"belabox-metrics/shipperd/internal/victoria"
)

// healthSource returns the state of shipperd: the uploads, the file, the clock.
func healthSource(c config.Config, m *selfMetrics, started time.Time) health.Source {
	return func(ctx context.Context) health.Input {
		counts := m.counts()
		in := health.Input{Uploader: m.uploader(ctx, c, counts, started), Storage: m.storage(ctx, c, counts), Time: m.clockState(c, counts)}
		m.link.judge(ctx, &in)
		return in
	}
}

const (
	// unreadAfter is how long reading back may fail before it is a condition: a server that takes
	// no uploads either has one much sooner.
	unreadAfter = 10 * time.Minute
	// refusedAfter is the same where reads are refused, or answered by something else than the
	// server: that does not heal by waiting.
	refusedAfter = time.Minute
	// freedFor is how long samples that were dropped unproven are a condition.
	freedFor = time.Hour
)

func (m *selfMetrics) uploader(ctx context.Context, c config.Config, counts ship.Counts, started time.Time) *health.Uploader {
	u := &health.Uploader{Started: started, LastUpload: counts.LastAccepted}
	if u.LastUpload.IsZero() && !m.uploaded.After(started) { // else the clock was set back
		u.LastUpload = m.uploaded
	}
	if counts.LastError != nil {
		u.Error, u.Cause = counts.LastError.Error(), causeOf(counts.LastError, c.Remote.URL)
	}
	found := func(cond *health.Condition, since time.Time, args ...any) {
		u.Found = append(u.Found, cond.Active(since, args...))
	}
	if first, err := m.outbox.DeadLetters(ctx, 0, 1); err == nil && len(first) > 0 {
		found(health.DeadLetters, first[0].Created)
	}
	if !c.Remote.Enabled {
		found(health.UploadsOff, time.Time{})
		return u
	}
	if counts.Unproven || !c.Remote.Verify.Enabled {
		found(health.Unproven, time.Time{})
	} else if cond := unread(counts); cond != nil {
		found(cond, counts.ReadFailing, counts.ReadError)
	}
	if !counts.NotVisible.IsZero() {
		found(health.NotVisible, counts.NotVisibleSince, human.Time(counts.NotVisible))
	}
	if !counts.FreedUnproven.IsZero() && time.Since(counts.FreedUnproven) < freedFor {
		found(health.UnprovenDropped, counts.FreedUnproven)
	}
	if !counts.Unkept.IsZero() {
		found(health.NotKept, counts.UnkeptSince, human.Time(counts.Unkept), human.Duration(time.Since(counts.Unkept)))
	}
	if counts.Deduplicating {
		found(health.ServerThins, time.Time{})
	}
	return u
}

// unread returns the condition of failing reads, nil while they work or have not failed for long.
func unread(counts ship.Counts) *health.Condition {
	if counts.ReadError == nil {
		return nil
	}
	lasts := time.Since(counts.ReadFailing)
	if fault, ok := errors.AsType[*victoria.Error](counts.ReadError); ok && fault.Evidence() != victoria.Unreachable {
		if lasts > refusedAfter {
			return health.ReadsRefused
		}
		return nil
	}
	if lasts > unreadAfter {
		return health.Unread
	}
	return nil
}

// storage looks at the file and at collectord, which fills it.
func (m *selfMetrics) storage(ctx context.Context, c config.Config, counts ship.Counts) *health.Storage {
	s := health.StorageOf(ctx, c.Storage, m.backlog)
	if counts.StoreError != "" {
		s.Found = append(s.Found, health.DeliveryWaits.Active(counts.StoreFailing, counts.StoreError))
	}
	s.Found = append(s.Found, health.Away(health.CollectordAway, c.Storage.Path, "collectord", func() time.Time { return m.newest(ctx) })...)
	return s
}

// newest is the time of the newest row, zero without one.
func (m *selfMetrics) newest(ctx context.Context) time.Time {
	key, err := m.outbox.LastKey(ctx)
	if err != nil || key == 0 {
		return time.Time{}
	}
	t, err := m.outbox.Timeline(ctx)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(t.MS(key))
}

// grossSkew is from where on the clock counts as wrong by the server's answers alone: they include
// the time that an upload took.
const grossSkew = 5 * time.Minute

func (m *selfMetrics) clockState(c config.Config, counts ship.Counts) *health.Clock {
	state := m.compared(c)
	state.Synchronised = clock.Synchronised() == clock.Yes
	if !counts.Unconfirmed.IsZero() {
		state.Found = append(state.Found, health.TimeUnconfirmed.Active(counts.Unconfirmed, counts.UnconfirmedWhy))
	}
	return state
}

// compared is what comparing the clock has shown.
func (m *selfMetrics) compared(c config.Config) *health.Clock {
	if m.clock == nil {
		if by, at, ok := m.aheadOfServer(); ok && by.Abs() > grossSkew {
			return &health.Clock{Checked: at.UTC(), SkewMS: by.Milliseconds(), Source: c.Remote.URL}
		}
		return &health.Clock{Found: []health.Active{health.ClockUnchecked.Active(time.Time{})}}
	}
	measured, ok := m.clock.Last()
	if !ok {
		return &health.Clock{Source: c.Monitoring.ClockSkewURL, Found: []health.Active{health.ClockUnknown.Active(time.Time{})}}
	}
	return &health.Clock{Checked: measured.Checked.UTC(), SkewMS: measured.Skew.Milliseconds(), Source: c.Monitoring.ClockSkewURL}
}
