package main

import (
	"context"
	"fmt"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/human"
	"belabox-metrics/shipperd/internal/ship"
)

// healthSource says how shipperd is: the uploads, the file, the clock.
func healthSource(c config.Config, o *own, started time.Time) health.Source {
	return func(ctx context.Context) health.Input {
		counts := o.counts()
		return health.Input{Uploader: o.uploader(ctx, c, counts, started), Storage: o.storage(ctx, c, counts), Time: o.clockState(c)}
	}
}

// unreadAfter is how long the server may answer no question before that is worth a
// word: what takes no uploads either has another one much sooner.
const unreadAfter = 10 * time.Minute

func (o *own) uploader(ctx context.Context, c config.Config, counts ship.Counts, started time.Time) *health.Uploader {
	u := &health.Uploader{Started: started, LastUpload: counts.LastAccepted, Error: counts.LastError}
	if u.LastUpload.IsZero() && !o.uploaded.After(started) { // else the clock was set back
		u.LastUpload = o.uploaded
	}
	note := func(f health.Fault, message string) { u.Faults = append(u.Faults, f.Reason(message, time.Time{})) }
	if first, err := o.outbox.DeadLetters(ctx, 0, 1); err == nil && len(first) > 0 {
		u.Faults = append(u.Faults, health.DeadLetters.Reason(
			"samples could not be delivered: 'belabox-shipperd deadletter list' shows them", first[0].Created))
	}
	if !c.Remote.Enabled {
		note(health.UploadsOff, "remote.enabled is false: nothing is shipped, samples stay in the database")
		return u
	}
	if counts.Unproven || !c.Remote.Verify.Enabled {
		note(health.Unproven, "the server is not read back: delivery is at least once and unproven; give the credentials read access, or see remote.verify")
	} else if !counts.ReadFailing.IsZero() && time.Since(counts.ReadFailing) > unreadAfter {
		u.Faults = append(u.Faults, health.Unread.Reason("what was sent cannot be read back, so nothing is proven: "+counts.ReadError, counts.ReadFailing))
	}
	if !counts.Unkept.IsZero() {
		u.Faults = append(u.Faults, health.NotKept.Reason(fmt.Sprintf("the server accepts samples and does not keep them, the oldest of them of %s UTC (%s ago): see its -retentionPeriod and limits",
			counts.Unkept.UTC().Format(time.DateTime), human.Duration(time.Since(counts.Unkept))), counts.UnkeptSince))
	}
	if counts.Thinning {
		note(health.ServerThins, "the server keeps one sample of several (-dedup.minScrapeInterval): what it leaves out counts as verified")
	}
	return u
}

// storage looks at the file, at what waits in it, and at whether collectord
// fills it.
func (o *own) storage(ctx context.Context, c config.Config, counts ship.Counts) *health.Storage {
	s := &health.Storage{DatabaseBytes: store.FileSize(c.Storage.Path), WALBytes: store.WALSize(c.Storage.Path)}
	fault := func(f health.Fault, message string, since time.Time) {
		s.Faults = append(s.Faults, f.Reason(message, since))
	}
	if counts.StoreError != "" {
		fault(health.DeliveryWaits, "delivery waits, because the database cannot be used: "+counts.StoreError, counts.StoreFailing)
	}
	waiting, err := o.backlog.Get(ctx)
	if err != nil {
		fault(health.DatabaseUnreadable, err.Error(), time.Time{})
	}
	s.Pending = waiting.Rows
	if waiting.Rows > 0 {
		s.OldestPending = time.UnixMilli(waiting.OldestMS).UTC()
	}
	if notice := store.DamageNotice(c.Storage.Path); notice != "" {
		fault(health.DatabaseDamaged, notice, lastDamage(c.Storage.Path))
	}
	switch _, running, err := lock.Holder(c.Storage.Path + ".collectord.lock"); {
	case err != nil:
		fault(health.CollectordAway, "whether collectord runs cannot be told: "+err.Error(), time.Time{})
	case !running:
		fault(health.CollectordAway, "collectord does not run: nothing new is sampled until it is started", o.newest(ctx))
	}
	return s
}

// lastDamage is when the last damaged file was set aside.
func lastDamage(path string) time.Time {
	files, err := store.DamagedFiles(path)
	if err != nil || len(files) == 0 {
		return time.Time{}
	}
	return files[len(files)-1].Time
}

// newest is the time of the newest row, zero without one.
func (o *own) newest(ctx context.Context) time.Time {
	key, err := o.outbox.LastKey(ctx)
	if err != nil || key == 0 {
		return time.Time{}
	}
	return time.UnixMilli(key.TimestampMS())
}

// grossly is from where on the clock is called wrong by the server's answers alone, where nothing else is there to
// compare with: what an upload takes is not in it.
const grossly = 5 * time.Minute

func (o *own) aheadOfServer() (by time.Duration, at time.Time, ok bool) {
	o.mu.Lock()
	ahead := o.ahead
	o.mu.Unlock()
	if ahead == nil {
		return 0, time.Time{}, false
	}
	return ahead()
}

func (o *own) clockState(c config.Config) *health.Clock {
	if o.clock == nil {
		if by, at, ok := o.aheadOfServer(); ok && by.Abs() > grossly {
			return &health.Clock{Checked: at.UTC(), SkewMS: by.Milliseconds(), Source: c.Remote.URL}
		}
		return &health.Clock{Faults: []health.Reason{health.ClockUnchecked.Reason(
			"the clock is not compared with any: monitoring.clock_skew_url is empty", time.Time{})}}
	}
	m, ok := o.clock.Last()
	if !ok {
		return &health.Clock{Source: c.Monitoring.ClockSkewURL, Faults: []health.Reason{health.ClockUnknown.Reason(
			"the clock could not be compared lately: see the log", time.Time{})}}
	}
	return &health.Clock{Checked: m.Checked.UTC(), SkewMS: m.Skew.Milliseconds(), Source: c.Monitoring.ClockSkewURL}
}
