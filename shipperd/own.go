package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/skew"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/ship"
)

const (
	// saveEvery is how often shipperd's numbers are written down for collectord to
	// sample: as often as collectord looks.
	saveEvery = time.Minute
	// backlogFor is how long a count of the pending rows is good for: it reads
	// each of them.
	backlogFor = 10 * time.Second
)

// own are shipperd's own numbers.
type own struct {
	set      metrics.Set
	outbox   *store.Outbox
	duration *metrics.Distribution

	mu      sync.Mutex
	shipper *ship.Shipper            // nil while nothing is shipped
	wire    func() (sent, got int64) // bytes of all requests
	clock   *skew.Checker            // nil = nobody to compare with

	backlog store.Backlog
	counted time.Time
	failed  error // of the last count
}

// uploadBounds are for one request: loopback to remote.timeout.
var uploadBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

func newOwn(outbox *store.Outbox, clock *skew.Checker) *own {
	o := &own{outbox: outbox, clock: clock}
	total := func(m *metrics.Metric, of func(ship.Counts) int64) {
		o.set.Func(m, func(emit func(float64, ...string)) { emit(float64(of(o.counts()))) })
	}
	byReason := func(m *metrics.Metric, of func(ship.Counts) map[string]int64) {
		o.set.Func(m, func(emit func(float64, ...string)) {
			for reason, n := range of(o.counts()) {
				emit(float64(n), reason)
			}
		})
	}
	total(&metrics.Uploaded, func(c ship.Counts) int64 { return c.Uploaded })
	total(&metrics.UploadFailures, func(c ship.Counts) int64 { return c.Failures })
	o.duration = o.set.Histogram(&metrics.UploadDuration, uploadBounds...)
	total(&metrics.PartialSuccess, func(c ship.Counts) int64 { return c.Partial })
	o.set.Func(&metrics.BytesSent, func(emit func(float64, ...string)) { sent, _ := o.bytes(); emit(float64(sent)) })
	o.set.Func(&metrics.BytesReceived, func(emit func(float64, ...string)) { _, got := o.bytes(); emit(float64(got)) })
	total(&metrics.Verified, func(c ship.Counts) int64 { return c.Verified })
	total(&metrics.RequeuedTotal, func(c ship.Counts) int64 { return c.Requeued })
	byReason(&metrics.RejectedTotal, func(c ship.Counts) map[string]int64 { return c.Rejected })
	o.set.Func(&metrics.Pending, func(emit func(float64, ...string)) {
		if b, err := o.pending(context.Background()); err == nil {
			emit(float64(b.Rows))
		}
	})
	o.set.Func(&metrics.OldestPending, func(emit func(float64, ...string)) {
		if b, err := o.pending(context.Background()); err == nil {
			emit(age(b, time.Now()))
		}
	})
	byReason(&metrics.Dropped, func(c ship.Counts) map[string]int64 { return c.Dropped })
	o.set.AddBytesWritten("shipperd")
	o.set.Func(&metrics.Skew, func(emit func(float64, ...string)) {
		if o.clock == nil {
			return
		}
		if m, ok := o.clock.Last(); ok {
			emit(float64(m.Skew.Milliseconds()))
		}
	})
	return o
}

// age is that of the oldest pending row in seconds; never negative, for a clock
// may have been set back.
func age(b store.Backlog, now time.Time) float64 {
	if b.Rows == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(b.OldestMS)).Seconds())
}

// took notes the time of one request with samples.
func (o *own) took(d time.Duration) { o.duration.Observe(d.Seconds()) }

// ships tells whose counts are shown.
func (o *own) ships(s *ship.Shipper, wire func() (sent, got int64)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shipper, o.wire = s, wire
}

func (o *own) counts() ship.Counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shipper == nil {
		return ship.Counts{}
	}
	return o.shipper.Stats.Snapshot()
}

func (o *own) bytes() (sent, got int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wire == nil {
		return 0, 0
	}
	return o.wire()
}

// pending counts the pending rows, or says what it counted a moment ago.
func (o *own) pending(ctx context.Context) (store.Backlog, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counted.IsZero() || time.Since(o.counted) > backlogFor {
		o.backlog, o.failed = o.outbox.Backlog(ctx)
		o.counted = time.Now()
	}
	return o.backlog, o.failed
}

// restore makes the totals go on where the last run left them.
func (o *own) restore(ctx context.Context) error {
	stats, err := o.outbox.Stats(ctx)
	if err != nil {
		return err
	}
	o.set.Restore(metrics.FromStats(stats))
	return nil
}

// keep saves the numbers each saveEvery, and once more at the end. A disk that
// is full costs their last minute and nothing else.
func (o *own) keep(ctx context.Context, log *slog.Logger) error {
	trouble := logx.NewThrottle(saveEvery, nil)
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			final, cancel := run.Final(ctx)
			defer cancel()
			return o.save(final)
		case <-tick.C:
			if err := o.save(ctx); err != nil && ctx.Err() == nil {
				trouble.Fail(log, slog.LevelWarn, "own numbers cannot be saved", err)
				continue
			}
			trouble.Recover(log, "own numbers are saved again")
		}
	}
}

func (o *own) save(ctx context.Context) error {
	return o.outbox.SaveStats(ctx, metrics.Stats(o.set.Points()))
}
