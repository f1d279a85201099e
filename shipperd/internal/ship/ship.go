// Package ship delivers the rows of the outbox: it takes pending rows, records
// what it is about to send, sends it, marks it, reads it back and prunes it.
//
// It promises that every committed sample is read back from the server exactly once, or is still
// in the file, or is a dead letter with a reason, or was dropped by the size budget and counted.
// It is based on one rule: nothing counts without evidence. A sample is delivered when the server
// shows it, and lost when the server lacks it and shows one of the same series that was sent
// later (docs/decisions/0008-evidence.md).
//
// A chunk is a state machine: machine.go has the table and DESIGN.md the diagram. One goroutine
// takes what is due, does one step and records it. Durations are measured with the monotonic
// clock; the wall clock is used only for times that are stored.
package ship

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"belabox-metrics/shared/link"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/truetime"
	"belabox-metrics/shipperd/internal/victoria"
)

// Config is how to deliver; see section remote of the configuration.
type Config struct {
	UploadInterval        time.Duration
	BatchSize             int   // rows of a normal upload; a backlog of more is caught up
	MaxWaiting            int   // rows that may wait for an upload: it comes sooner; 0 = any number
	NewestFirst           bool  // the present is sent before the backlog; not in Drain
	CatchUpBytesPerSecond int64 // 0 = unlimited
	Retry                 RetryConfig
	Verify                VerifyConfig
	Retention             time.Duration
	MaxDataBytes          int64         // what the data may take in the file; 0 = unbounded
	MaxPast, MaxFuture    time.Duration // limits to which timestamps are clamped; 0 = none
	CatchUpRows           int           // rows read at once when catching up; 0 = 100,000
}

// RetryConfig says how often and when a request is retried in one cycle.
type RetryConfig struct {
	Enabled        bool
	MaxAttempts    int
	InitialBackoff time.Duration
	MaxBackoff     time.Duration
	Multiplier     float64
	JitterPercent  float64
}

// VerifyConfig says how delivery is proven.
type VerifyConfig struct {
	Enabled    bool
	Delay      time.Duration // from acceptance to reading back
	Settle     time.Duration // between two answers that must agree, and between an attempt and the first
	MaxResends int           // times a row may be found lost before it is a dead letter
}

// Server is the edge to VictoriaMetrics; *victoria.Client is the real one.
type Server interface {
	Import(ctx context.Context, body []byte, id string) (victoria.Reply, error)
	Export(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func(labels []store.Tag, timestamps []int64) error) error
	Count(ctx context.Context, sel victoria.Selector, fromMS, toMS int64) (int64, error)
	ServerTimes(maxAge time.Duration) []victoria.ServerTime
	FetchTime(ctx context.Context) error
	HungUp(from, to time.Time) bool
}

// Deps are what a Shipper works with.
type Deps struct {
	Outbox  *store.Outbox
	Server  Server
	Builder *chunk.Builder
	Log     *slog.Logger
	Now     func() time.Time    // wall clock for stored times; nil = time.Now
	Rand    *rand.Rand          // nil = seeded by the system; jitter and spread
	Beat    func()              // called whenever the loop advances; nil = nothing
	Took    func(time.Duration) // called with the duration of each request with samples; nil = nothing
	// Present reads the device's clocks. Its boot clock is that of victoria.Config; required.
	Present func() truetime.Present
	// OtherClock is the time of a source beside the server and the device, such as
	// monitoring.clock_skew_url, and its uncertainty; nil = there is none.
	OtherClock func() (now time.Time, by time.Duration, ok bool)
	// Thrift says how much to save for the link budget; nil = nothing.
	Thrift func(ctx context.Context) link.Thrift
	Crash  func(point string) // called at named crash points; nil = nothing
	// EnsureHeadroom is called before each cycle, which adds some MB to the WAL at most.
	// It waits for a while when the WAL is nearly full. nil = nothing.
	EnsureHeadroom func(ctx context.Context)
	// AfterCycles is called when nothing more can be done for now; nil = nothing.
	AfterCycles func()
}

// Shipper is the delivery loop. Make it with New, then call Run or Drain once.
type Shipper struct {
	cfg Config
	Deps

	Stats Stats // read by health and the metrics

	// Owned by the loop, like all that follows. Times are monotonic.
	chunks      inflights
	times       store.Timeline // as last read
	order       order
	loaded      bool        // chunks are those of the file
	resumed     bool        // what an earlier run left has been logged
	unmarked    []*inflight // answered 2xx, not marked yet
	pressed     bool        // the file may be full: what can be proven should be soon
	pace        pace
	size        sizer
	thrift      link.Thrift
	flow        flow
	nextBatch   time.Time // when pending rows are to be taken
	backlog     bool      // more of them are left, to be taken as soon as pace allows
	notBefore   time.Time // no request with samples before this: the server needs a pause
	pruneAfter  time.Time
	budgetAfter time.Time
	drain       *drain // nil in Run

	moved func(*inflight, step) // called with each transition; nil = nothing

	sending sender
	reading reading

	faults    int   // how often a cycle could not continue
	lastFault error // the last of them
	storeLog  *logx.Throttle
	notices   map[noticed]*logx.Throttle
}

// New checks nothing that config has not checked; it only wires.
func New(cfg Config, deps Deps) *Shipper {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if deps.Beat == nil {
		deps.Beat = func() {}
	}
	if deps.AfterCycles == nil {
		deps.AfterCycles = func() {}
	}
	if deps.Took == nil {
		deps.Took = func(time.Duration) {}
	}
	if deps.OtherClock == nil {
		deps.OtherClock = func() (time.Time, time.Duration, bool) { return time.Time{}, 0, false }
	}
	if deps.Thrift == nil {
		deps.Thrift = func(context.Context) link.Thrift { return link.Thrift{} }
	}
	if deps.Crash == nil {
		deps.Crash = func(string) {}
	}
	if deps.EnsureHeadroom == nil {
		deps.EnsureHeadroom = func(context.Context) {}
	}
	if cfg.CatchUpRows == 0 {
		cfg.CatchUpRows = 100_000
	}
	s := &Shipper{
		cfg: cfg, Deps: deps,
		pace:    pace{bytesPerSecond: cfg.CatchUpBytesPerSecond},
		sending: sender{log: logx.NewThrottle(time.Minute, nil)},
		reading: reading{
			log: logx.NewThrottle(time.Minute, nil), lost: logx.NewThrottle(time.Minute, nil),
			hidden: logx.NewThrottle(10*time.Minute, nil), clock: logx.NewThrottle(10*time.Minute, nil),
		},
		storeLog: logx.NewThrottle(time.Minute, nil),
		notices:  map[noticed]*logx.Throttle{},
	}
	s.Stats.unproven(!cfg.Verify.Enabled)
	return s
}

// Run delivers until ctx ends. The first batch is sent at a random moment of the first interval,
// and each later one with jitter, so that devices of a fleet that lost their network at the same
// time do not send at the same time.
func (s *Shipper) Run(ctx context.Context) error {
	defer s.quiet(0) // log the notices that are not over
	s.nextBatch = s.firstBatch(ctx)
	if err := s.load(ctx); err != nil {
		if err := s.storeTrouble(ctx, err); err != nil {
			return err
		}
	}
	for s.wait(ctx, s.nextWake()) {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = s.cycle(ctx); err != nil {
				return err
			}
		}
		s.AfterCycles()
	}
	return nil
}

// newFile is the time from the start with an empty file to the first upload: somebody waits for the
// first values, and rates and CPU usage need two ticks.
const newFile = 30 * time.Second

func (s *Shipper) firstBatch(ctx context.Context) time.Time {
	wait := time.Duration(s.Rand.Float64() * float64(s.cfg.UploadInterval))
	if last, err := s.Outbox.LastKey(ctx); err == nil && last == 0 {
		wait = min(newFile, s.cfg.UploadInterval)
	}
	return time.Now().Add(wait)
}

// cycle does everything that can be done now, once. more = there is a backlog
// and the server accepts requests: call again at once. err is an error of the store
// that cannot end by itself.
func (s *Shipper) cycle(ctx context.Context) (more bool, err error) {
	s.Beat()
	s.EnsureHeadroom(ctx)
	if err = s.load(ctx); err == nil {
		err = s.verify(ctx)
	}
	if err == nil && !time.Now().Before(s.notBefore) {
		more, err = s.send(ctx)
	}
	if err == nil || isFull(err) {
		err = errors.Join(err, s.maintain(ctx, isFull(err)))
	}
	if err != nil {
		return false, s.storeTrouble(ctx, err)
	}
	_ = s.Outbox.Met(nil)
	s.storeLog.Recover(s.Log, "database usable again")
	s.Stats.store(nil, time.Time{})
	s.report()
	s.quiet(max(quietAfter, 2*s.interval()))
	return more, nil
}

// nextWake is when something can be done again: take pending rows, settle or resend a parked
// chunk, or prune.
func (s *Shipper) nextWake() time.Time {
	if !s.loaded {
		return s.nextBatch // the database is in trouble
	}
	next := later(s.nextBatch, s.notBefore)
	if s.backlog {
		next = earliest(next, later(s.pace.free, s.notBefore))
	}
	read := s.reading.notBefore
	if !s.cfg.Verify.Enabled {
		read = time.Time{} // nothing is read
	}
	for _, c := range s.chunks.all {
		switch c.state {
		case accepted:
			next = earliest(next, later(c.due.Add(s.together()), read))
		case recorded, owed:
			next = earliest(next, later(c.due, s.notBefore))
		case unseen:
			next = earliest(next, later(later(c.due, s.reading.unseenAfter), read))
		default:
			next = earliest(next, later(c.due, read))
		}
	}
	// The minimum keeps a loop that makes no progress from spinning.
	return later(earliest(next, s.budgetAfter), time.Now().Add(time.Second))
}

// wait returns true at the given moment and false when ctx ends. It calls Beat while it waits,
// because an idle loop is alive, but rarely, because each call wakes the process.
func (s *Shipper) wait(ctx context.Context, until time.Time) bool {
	for {
		s.Beat()
		left := time.Until(until)
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, run.Together(10*time.Second))):
		}
	}
}

// fault notes why a cycle could not continue.
func (s *Shipper) fault(err error) {
	s.faults++
	s.lastFault = err
}
