// Package schedule runs collectors at times aligned to the wall clock. It promises: all samples of
// a tick share one timestamp, a multiple of an interval; two ticks in a row never have the same
// one; a collector that hangs or panics delays the others by its deadline at most, once; a tick
// that could not run in time is counted and never repeated. It does not promise that timestamps
// only grow: when the wall clock is set back, ticks continue at the new time. A tick says what the
// clocks showed when it began; the store makes a time of it that only grows.
//
// A suspend causes no missed ticks. During a suspend the kernel's counters and its monotonic clock
// stop together, so rates, which are divided by that clock, need no correction after a resume.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

// Config is when collectors run.
type Config struct {
	Interval  time.Duration            // of every collector without its own
	Intervals map[string]time.Duration // by collector name; others' names are ignored
	Deadline  time.Duration            // for one collector in one tick; 0: half the shortest interval, at most 5 s
	Ignore    sample.Ignored           // see sample.Batch
}

// Deps are what the scheduler works with.
type Deps struct {
	Collectors []sample.Collector // run in this order, so those that may be slow come last
	Now        func() time.Time   // the wall clock; nil = time.Now
}

const (
	minInterval = 10 * time.Millisecond
	maxDeadline = 5 * time.Second

	// unsupportedRetry is how often a collector without a source on this machine
	// is tried again: a driver may load late.
	unsupportedRetry = time.Minute

	// onceGap is the time between the two readings of Once.
	onceGap = time.Second
)

// Errors of a Result.
var (
	ErrDeadline = errors.New("took longer than its deadline; its result is discarded")
	ErrStuck    = errors.New("skipped: still running since an earlier tick")
)

// Tick is what all collectors of one moment gave. It is reused: valid until
// the function that got it returns.
type Tick struct {
	Time    time.Time    // the timestamp of all samples by the wall clock, whole milliseconds
	Moment  clock.Moment // when it began; zero in Once
	Samples []store.Sample
	Dated   []*store.Dated // samples with a time of their own, which need not be of this moment
	Results []Result       // one for each collector whose turn it was

	// Missed counts the ticks since the one before that should have run and did
	// not, because the process was delayed. Time in suspend does not count.
	Missed int
	// ClockStep is how far the wall clock was set since the tick before, or moved on
	// in a suspend; 0 if by less than half an interval.
	ClockStep time.Duration
}

// Result is how one collector did in one tick.
type Result struct {
	Collector   string
	Duration    time.Duration // 0 if it did not finish
	Samples     int
	Errors      []error // of single sensors
	Err         error   // of the collector: its own, a *run.PanicError, ErrDeadline or ErrStuck
	Unsupported bool    // this machine has nothing for it to read; no error

	Came, Gone []string // see sample.Batch
}

// Scheduler runs collectors. Use it for one Run or Once at a time.
type Scheduler struct {
	tasks    []*task
	clock    ticker
	deadline time.Duration // of one collector in one tick
	timer    *time.Timer   // for the deadline; one for all
	calls    chan<- *task  // to makeCalls, which is idle; nil = has not been started
	tick     Tick
}

// New checks cfg and starts nothing.
func New(cfg Config, deps Deps) (*Scheduler, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Scheduler{}
	shortest := cfg.Interval
	var g grid
	for _, c := range deps.Collectors {
		interval := cfg.Interval
		if own := cfg.Intervals[c.Name()]; own != 0 {
			interval = own
		}
		if interval < minInterval || interval%time.Millisecond != 0 {
			return nil, fmt.Errorf("interval %v of collector %q: must be whole milliseconds, at least %v", interval, c.Name(), minInterval)
		}
		shortest = min(shortest, interval)
		g = g.with(interval)
		s.tasks = append(s.tasks, newTask(c, interval, cfg.Ignore))
	}
	if len(s.tasks) == 0 {
		return nil, errors.New("no collector is enabled")
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = min(shortest/2, maxDeadline)
	}
	if cfg.Deadline < 0 {
		return nil, fmt.Errorf("deadline %v: must be positive", cfg.Deadline)
	}
	s.clock = ticker{now: deps.Now, grid: g, tolerance: shortest / 2}
	s.deadline, s.timer = cfg.Deadline, time.NewTimer(cfg.Deadline)
	s.timer.Stop()
	return s, nil
}

// Run collects at every tick until ctx ends, and hands each tick to emit, which
// should return before the next is due. It ends with the error of emit, or with
// nil once ctx is done; a tick cut short by ctx is not emitted. A collector that
// hangs does not hold Run up. A panic of emit is its error, a *run.PanicError.
func (s *Scheduler) Run(ctx context.Context, emit func(context.Context, *Tick) error) error {
	emitTick := func(ctx context.Context) error { return emit(ctx, &s.tick) }
	defer s.endCalls()
	s.clock.start()
	for {
		due, ok := s.clock.wait(ctx)
		if !ok {
			return nil
		}
		s.begin(due)
		s.tick.Moment = clock.Read()
		s.tick.Missed, s.tick.ClockStep = s.clock.events()
		if !s.collect(ctx, due) {
			return nil
		}
		if err := run.Protect(ctx, "emit", emitTick); err != nil {
			return err
		}
	}
}

// Once collects everything now, twice and a second apart so that there are
// deltas, and returns the second reading with what only the first has: strings,
// and what is read once a minute.
func (s *Scheduler) Once(ctx context.Context) (*Tick, error) {
	defer s.endCalls()
	s.begin(s.clock.now().UnixMilli())
	if !s.collect(ctx, noSlot) {
		return nil, ctx.Err()
	}
	first := slices.Clone(s.tick.Samples)
	if !s.clock.sleep(ctx, onceGap) {
		return nil, ctx.Err()
	}
	s.begin(s.clock.now().UnixMilli())
	if !s.collect(ctx, noSlot) {
		return nil, ctx.Err()
	}
	second := make(map[*store.Series]bool, len(s.tick.Samples))
	for i := range s.tick.Samples {
		second[s.tick.Samples[i].Series] = true
	}
	for i := range first {
		if !second[first[i].Series] {
			s.tick.Samples = append(s.tick.Samples, first[i])
		}
	}
	return &s.tick, nil
}

// begin empties the tick for a new time.
func (s *Scheduler) begin(ms int64) {
	clear(s.tick.Samples)
	clear(s.tick.Dated)
	clear(s.tick.Results)
	s.tick = Tick{Time: time.UnixMilli(ms), Samples: s.tick.Samples[:0], Dated: s.tick.Dated[:0], Results: s.tick.Results[:0]}
}

// collect runs the tasks whose turn it is at due, all of them for noSlot, one
// after the other: each reading has the time at which it was made. It is not ok
// if ctx ended meanwhile.
func (s *Scheduler) collect(ctx context.Context, due int64) (ok bool) {
	s.timer.Reset(s.deadline)
	defer s.timer.Stop()
	for _, t := range s.tasks {
		result := Result{Collector: t.collector.Name()}
		switch {
		case due != noSlot && !t.takeSlot(due):
			continue
		case t.isStuck():
			result.Err = ErrStuck
		case time.Now().Before(t.retryAt):
			result.Unsupported = true
		default:
			if result, ok = s.run(ctx, t); !ok {
				return false
			}
		}
		s.tick.Results = append(s.tick.Results, result)
	}
	return ctx.Err() == nil
}

// run calls a collector, waits for it until its deadline and puts its samples into
// the tick. It is not ok if ctx ended first.
func (s *Scheduler) run(ctx context.Context, t *task) (r Result, ok bool) {
	r.Collector = t.collector.Name()
	if s.calls == nil {
		calls := make(chan *task)
		s.calls = calls
		go makeCalls(calls)
	}
	t.at = time.Now()
	s.calls <- t
	if !s.wait(ctx, t) {
		s.endCalls()
		t.stuck = true
		r.Err = ErrDeadline // its batch is not ours: it may still be writing there
		return r, ctx.Err() == nil
	}
	r.Duration, r.Err, r.Errors = t.duration, t.err, t.batch.Errors
	if _, panicked := errors.AsType[*run.PanicError](t.err); !panicked {
		s.tick.Samples = append(s.tick.Samples, t.batch.Samples...)
		s.tick.Dated = append(s.tick.Dated, t.batch.Dated...)
		r.Samples, r.Came, r.Gone = len(t.batch.Samples), t.batch.Came, t.batch.Gone
	}
	if errors.Is(t.err, proc.ErrNotSupported) {
		r.Err, r.Unsupported = nil, true
		t.retryAt = time.Now().Add(unsupportedRetry)
	}
	return r, true
}

// endCalls lets the goroutine of the calls end, once a call that hangs has returned.
func (s *Scheduler) endCalls() {
	if s.calls != nil {
		close(s.calls)
		s.calls = nil
	}
}

// wait reports whether the call of t returned before its deadline and before ctx
// ended. The timer is set once a tick and only set again where it goes off too
// early: to set it for each collector was measured at 6 µs each.
func (s *Scheduler) wait(ctx context.Context, t *task) bool {
	for {
		select {
		case <-t.done:
			return true
		case <-ctx.Done():
			return false
		case <-s.timer.C:
			left := s.deadline - time.Since(t.at)
			if left <= 0 {
				s.timer.Reset(s.deadline) // for the next collector
				return false
			}
			s.timer.Reset(left)
		}
	}
}
