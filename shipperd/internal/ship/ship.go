// Package ship delivers the rows of the outbox: it takes pending rows, records
// what it is about to send, sends it, marks it, reads it back and prunes it.
//
// It promises that every committed sample is read back from the server exactly
// once, or is still in the file, or is a dead letter with a reason. It rests on
// two rules. What may have reached the server is never sent again before the
// server was asked what it has, and an absence is believed only Settle after
// the attempt ended. And nothing counts as delivered because of a 2xx: only
// because it was read back (docs/decisions/0003-delivery.md).
//
// One goroutine does it all, so a chunk is in one state at a time. Waiting is
// never sleeping in the loop: a chunk that waits is parked with the time at
// which something can be done about it.
package ship

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// Config is how to deliver; see section remote of the configuration.
type Config struct {
	UploadInterval        time.Duration
	BatchSize             int   // rows of a normal upload; a backlog of more is caught up
	CatchUpBytesPerSecond int64 // 0 = unlimited
	Retry                 RetryConfig
	Verify                VerifyConfig
	Retention             time.Duration
	MaxPast, MaxFuture    time.Duration // as the chunks are clamped; 0 = not
	CatchUpRows           int           // rows read at once when catching up; 0 = 100,000
}

// RetryConfig says how often and when a request is tried again in one cycle.
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
	Settle     time.Duration // from the end of an attempt to believing an absence
	MaxResends int           // times a row may be found missing before it is a dead letter
}

// Server is the edge to VictoriaMetrics; *victoria.Client is the real one.
type Server interface {
	Import(ctx context.Context, body []byte, id string) (victoria.Reply, error)
	Export(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func(labels []store.Tag, timestamps []int64) error) error
	Count(ctx context.Context, sel victoria.Selector, fromMS, toMS int64) (int64, error)
}

// Deps are what a Shipper works with.
type Deps struct {
	Outbox  *store.Outbox
	Server  Server
	Builder *chunk.Builder
	Log     *slog.Logger
	Now     func() time.Time   // wall clock for stored times; nil = time.Now
	Rand    *rand.Rand         // nil = seeded by the system; jitter and spread
	Beat    func()             // called whenever the loop advances; nil = nothing
	Crash   func(point string) // called at named crash points; nil = nothing
}

// Shipper is the delivery loop. Make it with New, then call Run or Drain once.
type Shipper struct {
	cfg Config
	Deps

	Stats Stats // read by health and the metrics

	// Owned by the loop.
	book        book
	failures    int       // failed cycles in a row
	notBefore   time.Time // monotonic; the server asked for patience, or we give it some
	lastAway    time.Time // wall clock; when the server was last seen not to answer
	pruneAfter  time.Time // monotonic
	pace        pace
	draining    bool // Drain, not Run: nobody waits for company
	sendTrouble *logx.Throttle

	// The reading side, see prove.go.
	readAfter            time.Time // monotonic; not to be asked before
	readFails            int       // failed questions in a row
	readRefused          int       // of them, answered with 401, 403, 404 or a redirect
	acceptedSinceRefusal bool      // uploads go well meanwhile
	unproven             bool      // the server lets us write but not read
	readTrouble          *logx.Throttle
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
	if deps.Crash == nil {
		deps.Crash = func(string) {}
	}
	if cfg.CatchUpRows == 0 {
		cfg.CatchUpRows = 100_000
	}
	return &Shipper{
		cfg: cfg, Deps: deps,
		sendTrouble: logx.NewThrottle(time.Minute, deps.Now),
		readTrouble: logx.NewThrottle(time.Minute, deps.Now),
		pace:        pace{bytesPerSecond: cfg.CatchUpBytesPerSecond},
	}
}

// Run delivers until ctx ends. The first cycle comes at a random moment of the
// first interval, and each later one with jitter, so that a fleet that was cut
// off together does not come back together.
func (s *Shipper) Run(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	next := time.Now().Add(time.Duration(s.Rand.Float64() * float64(s.cfg.UploadInterval)))
	for s.wait(ctx, next) {
		more, err := s.cycle(ctx)
		if err != nil {
			return err
		}
		next = time.Now()
		if !more {
			next = s.nextCycle(next)
		}
	}
	return nil
}

// Drain delivers until nothing is owed any more: no pending row, no chunk that
// is not proven. It reports progress after each cycle and ends early with ctx.
func (s *Shipper) Drain(ctx context.Context, progress func(Counts)) error {
	s.draining = true
	if err := s.load(ctx); err != nil {
		return err
	}
	for {
		more, err := s.cycle(ctx)
		if err != nil {
			return err
		}
		progress(s.Stats.Snapshot())
		if !more && len(s.book.open) == 0 && s.failures == 0 {
			return nil
		}
		next := time.Now()
		if !more {
			next = earliest(s.book.nextDue(), next.Add(time.Second), s.notBefore)
		}
		if !s.wait(ctx, next) {
			return ctx.Err()
		}
	}
}

// load takes up the chunks that an earlier run left open. Crash window: one that
// is Sending may have reached the server, wholly or in part, so it is asked. When
// the attempts ended is not asked of the clock, which may have been anything
// before the restart: they ended before now, so Settle from now is long enough
// to believe an absence, for accepted chunks too.
func (s *Shipper) load(ctx context.Context) error {
	chunks, err := s.Outbox.OpenChunks(ctx)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		p := &parcel{Chunk: c, due: time.Now()}
		if c.State != store.Requeued {
			p.due = p.due.Add(s.cfg.Verify.Settle)
		}
		s.book.add(p)
	}
	if len(chunks) > 0 {
		s.Log.Info("taking up chunks of the last run", "chunks", len(chunks))
	}
	return nil
}

// cycle does everything that can be done now, once. more = there is a backlog
// and the server is fine: come back at once. Only an error of the store that
// cannot heal by itself comes back.
func (s *Shipper) cycle(ctx context.Context) (more bool, err error) {
	s.Beat()
	if err := s.prove(ctx); err != nil {
		return false, s.storeTrouble(ctx, err)
	}
	if time.Now().Before(s.notBefore) {
		return false, nil
	}
	more, err = s.send(ctx)
	if err != nil {
		return false, s.storeTrouble(ctx, err)
	}
	if err := s.prune(ctx); err != nil {
		return false, s.storeTrouble(ctx, err)
	}
	return more, nil
}

// storeTrouble keeps the daemon alive through what passes: a full disk, a busy
// or read-only file. Nothing is lost meanwhile, for no state has changed.
func (s *Shipper) storeTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrReadOnly) {
		s.sendTrouble.Fail(s.Log, slog.LevelError, "database cannot be written, delivery waits", err)
		s.failures++
		// What the book says may be ahead of the file: read it again.
		s.book = book{}
		return s.load(ctx)
	}
	return err
}

// nextCycle is when to come back: the interval with jitter, later when the
// server wants patience, sooner when a parked chunk is due.
func (s *Shipper) nextCycle(now time.Time) time.Time {
	next := now.Add(jitter(s.cfg.UploadInterval, s.cfg.Retry.JitterPercent, s.Rand))
	if s.notBefore.After(next) {
		return s.notBefore
	}
	return next
}

// wait returns true at the given moment and false when ctx ends. It beats while
// it waits, for an idle loop is a living one.
func (s *Shipper) wait(ctx context.Context, until time.Time) bool {
	for {
		s.Beat()
		left := time.Until(until)
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, 5*time.Second)):
		}
	}
}
