// Package audit compares the file with the server, sample by sample, while both daemons run. It
// checks the delivery loop independently: it shares the names and the bytes of a chunk with it, but
// not the read-back.
//
// It promises that every row of the span is in the Report: at the server exactly once, pending, in
// flight, too old, or a difference; and that each difference was checked twice, so that changes
// which the daemons made meanwhile are not reported. It compares series and timestamps, not values,
// of which the server keeps 12 to 15 digits. Its memory does not grow with the span, only by some
// 40 bytes for each row whose timestamp was clamped.
//
// It cannot judge samples older than the oldest row, whose rows have been pruned, and spans longer
// than Config.Gap without a row, in which rows may have been pruned before the clock was set back.
package audit

import (
	"context"
	"math"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// Config says what to compare.
type Config struct {
	Since time.Duration // only rows that are at most this old; 0 = all

	// MaxPast and MaxFuture are the limits to which chunks were clamped. The server may have
	// dropped samples that are older than MaxPast.
	MaxPast, MaxFuture time.Duration

	Gap        time.Duration    // longest span without a row that is queried, 0 = 10 min
	WindowRows int              // rows compared at once, 0 = 25,000
	Now        func() time.Time // nil = time.Now
}

const (
	defaultGap = 10 * time.Minute
	// The response for so many rows has some 200 kB, which a slow link transfers within
	// remote.timeout.
	defaultWindowRows = 25_000
)

// Export reads samples from the server, as victoria.Client.Export does.
type Export func(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func(labels []store.Tag, timestamps []int64) error) error

// Run compares. It calls progress, if not nil, with the number of rows that are done. An error
// means that the comparison was not finished; then there is no result.
func Run(ctx context.Context, file *store.Reader, export Export, cfg Config, progress func(done, total int64)) (*Report, error) {
	if cfg.Gap == 0 {
		cfg.Gap = defaultGap
	}
	if cfg.WindowRows == 0 {
		cfg.WindowRows = defaultWindowRows
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	a := &auditor{
		cfg: cfg, file: file, export: export, progress: progress, now: cfg.Now(),
		names: newNames(file), report: &Report{Differences: []*Difference{}},
	}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	var err error
	a.report.Ledger, err = file.Ledger(ctx)
	return a.report, err
}

// auditor is one comparison.
type auditor struct {
	cfg      Config
	file     *store.Reader
	export   Export
	progress func(done, total int64)
	now      time.Time // when it began
	fromMS   int64     // rows that are older are not compared
	names    *names
	moved    movedRows
	report   *Report

	rows   []expected // of the current window, reused
	strays []stray    // samples that no row of the window explains
}

func (a *auditor) run(ctx context.Context) error {
	oldest, newest, ok, err := a.file.Span(ctx)
	if err != nil || !ok {
		return err
	}
	if err := a.names.load(ctx); err != nil {
		return err
	}
	a.report.Devices = a.names.devices()
	a.fromMS = math.MinInt64
	if a.cfg.Since > 0 {
		a.fromMS = a.now.Add(-a.cfg.Since).UnixMilli()
		young := a.names.times.Ranges(a.fromMS, math.MaxInt64/2)
		if len(young) == 0 {
			return nil
		}
		oldest = max(oldest, young[0].From)
	}
	// Rows that are inserted from now on are left to the next audit. Those without a true time
	// wait.
	to := newest
	if known := a.names.times.Known(); to >= known {
		if a.report.Pending, err = a.file.Count(ctx, known, to); err != nil {
			return err
		}
		to = known - 1
	}
	if err := a.loadMoved(ctx); err != nil {
		return err
	}
	total, err := a.file.Count(ctx, oldest, to)
	if err != nil {
		return err
	}
	if err := a.walk(ctx, oldest, to, total); err != nil {
		return err
	}
	return a.walkMoved(ctx)
}

// walk compares the rows from key from up to key to, window by window.
func (a *auditor) walk(ctx context.Context, from, to store.Key, total int64) error {
	var done int64
	w := &window{next: from}
	for !w.last {
		a.progress(done, total)
		n, err := a.fill(ctx, w, to)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := a.markOpen(ctx); err != nil {
			return err
		}
		a.report.span(w.startMS, w.endMS)
		if err := a.compare(ctx, w.startMS, w.endMS, true); err != nil {
			return err
		}
		done += int64(n)
	}
	a.progress(done, max(done, total))
	return nil
}

// compare compares the server's samples of a span of time with a.rows. judgeStrays: samples without
// a row count.
func (a *auditor) compare(ctx context.Context, startMS, endMS int64, judgeStrays bool) error {
	a.report.Windows++
	a.names.sortRows(a.rows)
	for _, sel := range a.names.selectors() {
		err := a.export(ctx, sel, startMS, endMS, func(labels []store.Tag, timestamps []int64) error {
			// Series without a device_id may belong to other senders.
			return a.match(ctx, labels, timestamps, judgeStrays && sel.DeviceID != "")
		})
		if err != nil {
			return err
		}
	}
	if err := a.judgeRows(ctx, judgeStrays); err != nil {
		return err
	}
	return a.judgeStrays(ctx)
}

// oldestStored is the timestamp below which the server may have dropped a sample because of its
// age.
func (a *auditor) oldestStored() int64 {
	if a.cfg.MaxPast <= 0 {
		return math.MinInt64
	}
	return a.now.Add(-a.cfg.MaxPast).UnixMilli()
}
