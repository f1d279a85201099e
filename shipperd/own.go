package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/skew"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/ship"
)

const (
	// saveEvery is how often shipperd's numbers are written down for collectord to
	// sample: as often as collectord looks.
	saveEvery = time.Minute
	// saveFirst is when they are written down for the first time: the clock has
	// been compared by then, of which collectord knows nothing else.
	saveFirst = 5 * time.Second
)

// Label values that show from the start, with 0: who asks how fast something
// grows needs to see it before it begins. The reasons of other samples appear
// when there are any.
var (
	rejectedFor = []string{
		"rejected", "not_stored", string(chunk.NoValue), string(chunk.NotFinite), string(chunk.NameTooLong),
		string(chunk.TooManyLabels), string(chunk.LabelTooLong), string(chunk.TooLarge),
	}
	droppedFor = []string{"size"}
)

// own are shipperd's own numbers.
type own struct {
	set      metrics.Set
	outbox   *store.Outbox
	duration *metrics.Distribution
	panics   *metrics.Total
	backlog  *health.Remembered[store.Backlog]

	mu      sync.Mutex
	shipper *ship.Shipper                                    // nil while nothing is shipped
	wire    func() (sent, got int64)                         // bytes of all requests
	clock   *skew.Checker                                    // nil = nobody to compare with
	ahead   func() (by time.Duration, at time.Time, ok bool) // of the server, see victoria.Client.Ahead; nil = nothing is shipped

	uploaded time.Time // when an earlier run last uploaded; zero = not known
}

// uploadBounds are for one request: loopback to remote.timeout.
var uploadBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

func newOwn(outbox *store.Outbox, clock *skew.Checker) *own {
	o := &own{outbox: outbox, clock: clock, backlog: &health.Remembered[store.Backlog]{Ask: outbox.Backlog}}
	total := func(m *metrics.Metric, of func(ship.Counts) int64) {
		o.set.Func(m, func(emit func(float64, ...string)) { emit(float64(of(o.counts()))) })
	}
	byReason := func(m *metrics.Metric, known []string, of func(ship.Counts) map[string]int64) {
		o.set.Func(m, func(emit func(float64, ...string)) {
			counts := of(o.counts())
			further := slices.DeleteFunc(slices.Sorted(maps.Keys(counts)), func(r string) bool { return slices.Contains(known, r) })
			for _, reason := range slices.Concat(known, further) {
				emit(float64(counts[reason]), reason)
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
	byReason(&metrics.RejectedTotal, rejectedFor, func(c ship.Counts) map[string]int64 { return c.Rejected })
	o.set.Func(&metrics.Pending, func(emit func(float64, ...string)) {
		if b, err := o.backlog.Get(context.Background()); err == nil {
			emit(float64(b.Rows))
		}
	})
	o.set.Func(&metrics.OldestPending, func(emit func(float64, ...string)) {
		if b, err := o.backlog.Get(context.Background()); err == nil {
			emit(age(b, time.Now()))
		}
	})
	byReason(&metrics.Dropped, droppedFor, func(c ship.Counts) map[string]int64 { return c.Dropped })
	o.set.AddBytesWritten("shipperd")
	o.panics = o.set.Counter(&metrics.Panics, "shipperd")
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

// hears tells who knows how far the clock is ahead of the server's.
func (o *own) hears(ahead func() (by time.Duration, at time.Time, ok bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ahead = ahead
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

// panicked counts err if it is a panic.
func (o *own) panicked(err error) {
	if _, ok := errors.AsType[*run.PanicError](err); ok {
		o.panics.Inc()
	}
}

// restore makes the totals go on where the last run left them, and takes over when it
// last uploaded.
func (o *own) restore(ctx context.Context) error {
	stats, err := o.outbox.Stats(ctx)
	if err != nil {
		return err
	}
	o.set.Restore(metrics.FromStats(stats))
	o.uploaded, err = o.outbox.LastAccepted(ctx)
	return err
}

// keep saves the numbers each saveEvery until ctx ends. A disk that is full
// costs their last minute and nothing else.
func (o *own) keep(ctx context.Context, log *slog.Logger) error {
	trouble := logx.NewThrottle(saveEvery, nil)
	tick := time.NewTicker(saveFirst)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			tick.Reset(saveEvery)
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
