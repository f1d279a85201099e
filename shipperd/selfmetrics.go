package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/skew"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/ship"
)

const (
	saveEvery = time.Minute     // as often as collectord samples the self-metrics of shipperd from the file
	saveFirst = 5 * time.Second // by then the clock has been compared, which collectord learns from here alone
)

// Label values that are there from the start, with 0, so that increase() sees the first event. The
// reasons of other samples appear when there are any.
var (
	rejectedFor = []string{
		"rejected", "not_stored", string(chunk.NoValue), string(chunk.NotFinite), string(chunk.NameTooLong),
		string(chunk.TooManyLabels), string(chunk.LabelTooLong), string(chunk.TooLarge),
	}
	droppedFor   = []string{"size", "unproven"}
	correctedHow = []string{string(store.HowKernel), string(store.HowServer), string(store.HowEstimated)}
)

// selfMetrics are shipperd's metrics about itself, the queue and the clock.
type selfMetrics struct {
	set      metrics.Set
	outbox   *store.Outbox
	duration *metrics.Distribution
	panics   *metrics.Total
	refused  func(reason string)
	backlog  *health.Remembered[store.Backlog]
	clock    *skew.Checker // nil = there is no clock to compare with
	link     *linkMeter
	uploaded time.Time // when an earlier run last uploaded; zero = not known

	mu      sync.Mutex                                       // guards the rest
	failing map[string]int64                                 // see uploadFailing
	shipper *ship.Shipper                                    // nil while nothing is shipped, as the next two
	wire    func() (sent, received int64)                    // bytes of all requests
	ahead   func() (by time.Duration, at time.Time, ok bool) // of the server's clock, see victoria.Client.Ahead
}

// uploadBounds are for one request, in seconds: loopback to remote.timeout.
var uploadBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

func newSelfMetrics(outbox *store.Outbox, clock *skew.Checker, link *linkMeter) *selfMetrics {
	m := &selfMetrics{outbox: outbox, clock: clock, link: link, backlog: &health.Remembered[store.Backlog]{Read: outbox.Backlog}, failing: map[string]int64{}}
	value := func(metric *metrics.Metric, read func() (value float64, known bool)) {
		m.set.Func(metric, func(emit func(float64, ...string)) {
			if v, known := read(); known {
				emit(v)
			}
		})
	}
	total := func(metric *metrics.Metric, of func(ship.Counts) int64) {
		value(metric, func() (float64, bool) { return float64(of(m.counts())), true })
	}
	byReason := func(metric *metrics.Metric, known []string, of func(ship.Counts) map[string]int64) {
		m.set.Func(metric, func(emit func(float64, ...string)) {
			counts := of(m.counts())
			others := slices.DeleteFunc(slices.Sorted(maps.Keys(counts)), func(r string) bool { return slices.Contains(known, r) })
			for _, reason := range slices.Concat(known, others) {
				emit(float64(counts[reason]), reason)
			}
		})
	}
	total(&metrics.Uploaded, func(c ship.Counts) int64 { return c.Uploaded })
	total(&metrics.UploadFailures, func(c ship.Counts) int64 { return c.Failures })
	byReason(&metrics.UploadFailing, nil, m.uploadFailing)
	m.duration = m.set.Histogram(&metrics.UploadDuration, uploadBounds...)
	total(&metrics.PartialSuccess, func(c ship.Counts) int64 { return c.Partial })
	value(&metrics.BytesSent, func() (float64, bool) { sent, _ := m.bytes(); return float64(sent), true })
	value(&metrics.BytesReceived, func() (float64, bool) { _, received := m.bytes(); return float64(received), true })
	total(&metrics.Verified, func(c ship.Counts) int64 { return c.Verified })
	total(&metrics.RequeuedTotal, func(c ship.Counts) int64 { return c.Requeued })
	byReason(&metrics.RejectedTotal, rejectedFor, func(c ship.Counts) map[string]int64 { return c.Rejected })
	value(&metrics.Pending, func() (float64, bool) {
		b, err := m.backlog.Get(context.Background())
		return float64(b.Rows), err == nil
	})
	value(&metrics.OldestPending, func() (float64, bool) {
		b, err := m.backlog.Get(context.Background())
		now, fault := m.now(context.Background())
		if err != nil || fault != nil {
			return 0, false
		}
		return age(b, now), true
	})
	byReason(&metrics.Dropped, droppedFor, func(c ship.Counts) map[string]int64 { return c.Dropped })
	byReason(&metrics.SamplesCorrected, correctedHow, func(c ship.Counts) map[string]int64 { return c.Corrected })
	link.metrics(&m.set)
	m.set.AddBytesWritten("shipperd")
	m.panics = m.set.Counter(&metrics.Panics, "shipperd")
	m.refused = m.set.AddHTTPRefused("shipperd", health.Refusals())
	value(&metrics.Skew, func() (float64, bool) {
		if m.clock == nil {
			return 0, false
		}
		measured, known := m.clock.Last()
		return float64(measured.Skew.Milliseconds()), known
	})
	return m
}

// uploadFailing returns 1 for each cause that holds now, and 0 for those that held earlier, also in
// an earlier run: the last samples of a series that ends have no witness.
func (m *selfMetrics) uploadFailing(counts ship.Counts) map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for code := range m.failing {
		m.failing[code] = 0
	}
	for _, code := range failing(counts) {
		m.failing[code] = 1
	}
	return maps.Clone(m.failing)
}

// failing returns why uploads fail, and which conditions of reading back hold: from there
// collectord's page and the command status learn it.
func failing(counts ship.Counts) (codes []string) {
	if counts.LastError != nil {
		codes = append(codes, cmp.Or(causeOf(counts.LastError, "").Code, "other"))
	}
	if cond := unread(counts); cond != nil {
		codes = append(codes, cond.Code)
	}
	if !counts.NotVisible.IsZero() {
		codes = append(codes, health.NotVisible.Code)
	}
	if !counts.Unkept.IsZero() {
		codes = append(codes, health.NotKept.Code)
	}
	return codes
}

// now is the true time as far as the file knows it.
func (m *selfMetrics) now(ctx context.Context) (time.Time, error) {
	t, err := m.outbox.Timeline(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return t.Now(clock.Read()), nil
}

// age is that of the oldest pending row in seconds; never negative, for the clock may have been set
// back.
func age(b store.Backlog, now time.Time) float64 {
	if b.Rows == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(b.OldestMS)).Seconds())
}

// took notes the time of one request with samples.
func (m *selfMetrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }

// ships sets the sources of the metrics of the delivery.
func (m *selfMetrics) ships(s *ship.Shipper, wire func() (sent, received int64), ahead func() (time.Duration, time.Time, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shipper, m.wire, m.ahead = s, wire, ahead
}

func (m *selfMetrics) counts() ship.Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shipper == nil {
		return ship.Counts{}
	}
	return m.shipper.Stats.Snapshot()
}

func (m *selfMetrics) bytes() (sent, received int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wire == nil {
		return 0, 0
	}
	return m.wire()
}

// aheadOfServer returns how far the clock is ahead of the server's, as its answers to uploads
// showed at that time.
func (m *selfMetrics) aheadOfServer() (by time.Duration, at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ahead == nil {
		return 0, time.Time{}, false
	}
	return m.ahead()
}

// panicked counts err if it is a panic.
func (m *selfMetrics) panicked(err error) {
	if _, ok := errors.AsType[*run.PanicError](err); ok {
		m.panics.Inc()
	}
}

// restore makes the totals go on where the last run left them, and reads when it last uploaded.
func (m *selfMetrics) restore(ctx context.Context) error {
	stats, err := m.outbox.Stats(ctx, "shipperd")
	if err != nil {
		return err
	}
	m.set.Restore(metrics.FromStats(stats))
	m.link.carried = link.Interface(stats)
	for _, code := range metrics.UploadFailing.LabelsIn(stats) {
		m.failing[code] = 0
	}
	if m.uploaded, _, err = m.outbox.LastDelivery(ctx); err != nil || m.uploaded.IsZero() {
		return err
	}
	t, err := m.outbox.Timeline(ctx)
	if err == nil { // health goes by the wall clock
		at := clock.Read()
		m.uploaded = m.uploaded.Add(at.Wall.Sub(t.Now(at)))
	}
	return err
}

// keep saves the self-metrics each saveEvery until ctx ends. A full disk costs their last minute
// and nothing else.
func (m *selfMetrics) keep(ctx context.Context, log *slog.Logger) error {
	failures := logx.NewThrottle(saveEvery, nil)
	tick := time.NewTicker(saveFirst)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			tick.Reset(run.Together(saveEvery))
			if err := m.save(ctx); err != nil && ctx.Err() == nil {
				failures.Fail(log, slog.LevelWarn, "self-metrics not saved", err)
				continue
			}
			failures.Recover(log, "self-metrics saved again")
		}
	}
}

func (m *selfMetrics) save(ctx context.Context) error {
	return m.outbox.SaveStats(ctx, metrics.Stats(m.set.Points()))
}
