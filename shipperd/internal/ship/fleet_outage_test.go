package ship

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// What a fleet does to a server that comes back. The devices are models: a number of rows that
// wait, and requests whose sizes are those measured in docs/victoriametrics-setup.md. When they
// come, how long they wait after which failure, how much they take at once and what they do about
// an answer that did not come is decided by the Shipper's own code: judge, failed, afterInterval,
// pace; when they read back by worthReading and readFailed.

// fleetPlan is one run.
type fleetPlan struct {
	name    string
	devices int
	outage  time.Duration
	spread  bool // jitter, and the first upload at a random moment of the interval
	refuses int  // requests under way from which on the server answers 429; 0 = they queue
	vary    bool // it says 1 to 30 s at random in Retry-After, not 1 s to all

	interval time.Duration // remote.upload_interval; 0 = 30 s
	crash    time.Duration // the server is killed so long after it is back; 0 = it is not
}

// loses reports whether the kill costs the server what it accepted at a moment. It keeps the last
// ten seconds in memory only.
func (s *fleetServer) loses(at time.Time) bool {
	killed := s.back.Add(s.plan.crash)
	return s.plan.crash > 0 && !at.After(killed) && killed.Sub(at) < fleetForgets
}

var fleetDevices = flag.Int("fleet.devices", 300, "devices of TestFleet_Outage; the server's power is scaled with them")

const (
	fleetSeries  = 100
	fleetRows    = fleetSeries / 10.0 // a second: 100 metrics each 10 s
	fleetWorkers = 8                  // requests at a time: 4 CPUs
	// The model's cost of a request on one of the workers: handling it, and 0.36 µs of CPU for each
	// sample, two workers to a CPU. It is the cost for a fleet of fleetFull; for a smaller one it
	// is as many times larger.
	fleetFull    = 10_000
	fleetRequest = time.Millisecond
	fleetSample  = 720 * time.Nanosecond
	// A count costs a cluster 4.6 ms of CPU, an export 5.3 ms, measured with 100 series over five
	// minutes. What one more sample costs is an estimate.
	fleetCount      = 2 * 4600 * time.Microsecond
	fleetExport     = 2 * 5300 * time.Microsecond
	fleetReadSample = 2 * 20 * time.Nanosecond
	// A server that is killed is away for fleetRestart, and has lost fleetForgets.
	fleetRestart = 5 * time.Second
	fleetForgets = 10 * time.Second
	// fleetCatchUp is how many rows fit in a request while catching up, and fleetBytes what a row
	// takes in it.
	fleetCatchUp = 50_000
	fleetBytes   = 2.4
)

// scaled is how long something takes one worker of a server for so few devices.
func (p fleetPlan) scaled(d time.Duration) time.Duration {
	return d * fleetFull / time.Duration(p.devices)
}

// fleetServer has a limited number of workers, and counts.
type fleetServer struct {
	back    time.Time // it is away before
	workers chan struct{}
	plan    fleetPlan
	rand    *rand.Rand // guarded by mu

	mu                 sync.Mutex
	arrivals           map[int64]int // by second since it is back
	reads              map[int64]int // those of them that are read-backs
	resent             int           // rows that were lost and sent again
	lateness           time.Duration // the longest time from the kill to such a request
	importing, reading time.Duration // of the workers
	waiting            int
	refused            int
	timeouts           int
}

// imports is one request with n samples.
func (s *fleetServer) imports(n int) *victoria.Error {
	return s.do(fleetRequest+time.Duration(n)*fleetSample, &s.importing)
}

// readBack is a count or an export of n samples.
func (s *fleetServer) readBack(takes time.Duration, n int) *victoria.Error {
	if since := time.Since(s.back); since >= 0 {
		s.mu.Lock()
		s.reads[int64(since/time.Second)]++
		s.mu.Unlock()
	}
	return s.do(takes+time.Duration(n)*fleetReadSample, &s.reading)
}

// do is one request that takes a worker for so long, which is added to sum.
func (s *fleetServer) do(takes time.Duration, sum *time.Duration) *victoria.Error {
	now := time.Now()
	killed := s.back.Add(s.plan.crash)
	if now.Before(s.back) || s.plan.crash > 0 && now.After(killed) && now.Before(killed.Add(fleetRestart)) {
		return &victoria.Error{Class: victoria.ClassNetwork}
	}
	s.mu.Lock()
	s.arrivals[int64(now.Sub(s.back)/time.Second)]++
	if s.plan.refuses > 0 && s.waiting >= s.plan.refuses {
		s.refused++
		after := time.Second
		if s.plan.vary {
			after *= time.Duration(1 + s.rand.IntN(30))
		}
		s.mu.Unlock()
		return &victoria.Error{Class: victoria.ClassThrottled, Status: 429, RetryAfter: after}
	}
	s.waiting++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	timeout := time.NewTimer(30 * time.Second) // remote.timeout
	defer timeout.Stop()
	select {
	case s.workers <- struct{}{}:
	case <-timeout.C:
		s.mu.Lock()
		s.timeouts++
		s.mu.Unlock()
		return &victoria.Error{Class: victoria.ClassTimeout, Ambiguous: true}
	}
	time.Sleep(s.plan.scaled(takes))
	<-s.workers
	s.mu.Lock()
	*sum += takes
	s.mu.Unlock()
	return nil
}

// fleetDevice is one shipper with its backlog.
type fleetDevice struct {
	*Shipper
	server *fleetServer
	since  time.Time // when its backlog begins
	done   float64   // rows that were taken off it
	parked []fleetChunk
	sent   []*inflight // accepted, and not read back
}

// fleetChunk is a request that got no answer: it is read back at due, and then sent again.
type fleetChunk struct {
	rows int
	due  time.Time
}

func newFleetDevice(plan fleetPlan, server *fleetServer, r *rand.Rand) *fleetDevice {
	cfg := Config{
		UploadInterval: 30 * time.Second, BatchSize: 2500, // half the default interval: twice the load
		Retry:  RetryConfig{Enabled: true, MaxAttempts: 3, InitialBackoff: time.Second, MaxBackoff: time.Minute, Multiplier: 2, JitterPercent: 20},
		Verify: VerifyConfig{Enabled: true, Delay: 30 * time.Second, Settle: 15 * time.Second, MaxResends: 5},
	}
	if plan.interval > 0 {
		cfg.UploadInterval = plan.interval
	}
	if !plan.spread {
		cfg.Retry.JitterPercent = 0
	}
	d := &fleetDevice{Shipper: New(cfg, Deps{Rand: r, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}), server: server}
	d.order.newest = 1 // the server is known
	d.nextBatch = time.Now()
	if plan.spread {
		d.nextBatch = d.nextBatch.Add(time.Duration(r.Float64() * float64(cfg.UploadInterval))) // as Run does
	}
	return d
}

// sleep is wait without the beats, which cost a simulation of many devices most of its time.
func (d *fleetDevice) sleep(ctx context.Context, until time.Time) bool {
	if left := time.Until(until); left > 0 {
		time.Sleep(left)
	}
	return ctx.Err() == nil
}

// pendingRows is how many rows wait.
func (d *fleetDevice) pendingRows() int { return int(fleetRows*time.Since(d.since).Seconds() - d.done) }

// drained: nothing is parked, and what waits came since the last upload.
func (d *fleetDevice) drained() bool {
	return len(d.parked) == 0 && d.pendingRows() <= max(d.cfg.BatchSize, int(fleetRows*d.cfg.UploadInterval.Seconds()))
}

// deliver works until the backlog is gone and read back, and returns when each was.
func (d *fleetDevice) deliver(ctx context.Context) (gone, proven time.Time) {
	for {
		wake := d.nextBatch
		for _, c := range d.sent {
			due := c.due
			if c.absent.IsZero() {
				due = due.Add(d.together())
			}
			wake = earliest(wake, later(due, d.reading.notBefore))
		}
		for _, c := range d.parked {
			wake = earliest(wake, c.due)
		}
		wake = later(wake, time.Now().Add(time.Second)) // as nextWake
		if !d.sleep(ctx, later(wake, d.notBefore)) {
			return gone, proven
		}
		d.verifyModel(ctx)
		for more := true; more; {
			more = d.fleetCycle(ctx)
		}
		if gone.IsZero() && time.Now().After(d.server.back.Add(d.server.plan.crash)) && d.drained() {
			gone = time.Now()
		}
		if !gone.IsZero() && !slices.ContainsFunc(d.sent, func(c *inflight) bool { return !c.tried.After(gone) }) {
			return gone, time.Now()
		}
	}
}

// verifyModel is Shipper.verify for a model: counts of groups, and what was lost is read twice and
// sent again.
func (d *fleetDevice) verifyModel(ctx context.Context) {
	now := time.Now()
	if now.Before(d.reading.notBefore) {
		return
	}
	var accepted, absent []*inflight
	for _, c := range d.sent {
		switch {
		case now.Before(c.due):
		case c.absent.IsZero():
			accepted = append(accepted, c)
		default:
			absent = append(absent, c)
		}
	}
	for _, c := range absent {
		if !d.readModel(ctx, fleetExport, c.n) {
			return
		}
		lost := time.Since(d.server.back.Add(d.server.plan.crash))
		d.settled(c)
		if !d.request(ctx, c.n) {
			return
		}
		d.server.mu.Lock()
		d.server.resent += c.n
		d.server.lateness = max(d.server.lateness, lost)
		d.server.mu.Unlock()
	}
	if d.worthReading(accepted, now) {
		d.readTogetherModel(ctx, accepted)
	}
}

// readTogetherModel is Shipper.readTogether for a model.
func (d *fleetDevice) readTogetherModel(ctx context.Context, group []*inflight) (ok bool) {
	rows, lost := 0, false
	for _, c := range group {
		rows += c.n
		lost = lost || d.server.loses(c.tried)
	}
	if !d.readModel(ctx, fleetCount, rows) {
		return false
	}
	switch half := len(group) / 2; {
	case !lost:
		d.settled(group...)
		return true
	case half == 0:
		if !d.readModel(ctx, fleetExport, rows) {
			return false
		}
		group[0].absent = time.Now()
		group[0].due = group[0].absent.Add(d.cfg.Verify.Settle)
		return true
	default:
		return d.readTogetherModel(ctx, group[:half]) && d.readTogetherModel(ctx, group[half:])
	}
}

// readModel is one read of rows.
func (d *fleetDevice) readModel(ctx context.Context, takes time.Duration, rows int) (ok bool) {
	if fault := d.server.readBack(takes, rows); fault != nil {
		d.readFailed(ctx, fault)
		return false
	}
	d.readWorks()
	return true
}

// settled takes chunks off those to be read back.
func (d *fleetDevice) settled(chunks ...*inflight) {
	d.sent = slices.DeleteFunc(d.sent, func(c *inflight) bool { return slices.Contains(chunks, c) })
}

// fleetCycle is Shipper.send for a model: chunks whose fate is unknown, then pending rows, one
// batch after a failure and large requests else.
func (d *fleetDevice) fleetCycle(ctx context.Context) (more bool) {
	for i := 0; i < len(d.parked); i++ {
		c := d.parked[i]
		if time.Now().Before(c.due) {
			continue
		}
		d.parked = slices.Delete(d.parked, i, i+1)
		i--
		if fault := d.server.readBack(fleetExport, c.rows); fault != nil {
			d.parked = append(d.parked, fleetChunk{c.rows, time.Now().Add(d.cfg.Verify.Settle)})
			d.failed([]*inflight{{Chunk: &store.Chunk{}, n: c.rows}}, fault, d.Log)
			return false
		}
		if !d.request(ctx, c.rows) {
			return false
		}
	}
	rows := d.pendingRows()
	if rows == 0 {
		d.nextBatch = d.afterInterval()
		return false
	}
	take, most := min(rows, d.cfg.BatchSize), d.cfg.BatchSize/2 // 100 metrics of 25 values are two chunks of 50 metrics
	if more = rows > d.cfg.BatchSize; more && d.sending.failures == 0 {
		take, most = min(rows, d.cfg.CatchUpRows), fleetCatchUp
	}
	for take > 0 {
		n := min(take, most)
		take -= n
		d.done += float64(n)
		if !d.request(ctx, n) {
			d.nextBatch = d.afterInterval()
			return false
		}
		if more && !d.sleep(ctx, d.pace.spent(int(fleetBytes*float64(n)), time.Now())) {
			return false
		}
	}
	if !more {
		d.nextBatch = d.afterInterval()
	}
	return more
}

// request is Shipper.transmit for a model. Rows that certainly did not arrive wait again.
func (d *fleetDevice) request(ctx context.Context, rows int) (ok bool) {
	c := &inflight{Chunk: &store.Chunk{}, n: rows, state: recorded}
	for attempt := 1; ; attempt++ {
		d.move(c, evSend, sending)
		fault := d.server.imports(rows)
		if fault == nil {
			d.sending.failures = 0
			c.tried = time.Now()
			c.due = c.tried.Add(d.cfg.Verify.Delay)
			d.sent = append(d.sent, c)
			return true
		}
		d.noteFault(c, fault)
		again, wait := d.again(fault, attempt)
		if !again {
			if c.state == recorded {
				d.done -= float64(rows)
			} else {
				d.parked = append(d.parked, fleetChunk{rows, time.Now().Add(d.cfg.Verify.Settle)})
			}
			return d.failed([]*inflight{c}, fault, d.Log)
		}
		if !d.sleep(ctx, time.Now().Add(wait)) {
			return false
		}
	}
}

// fleetResult is what the server saw.
type fleetResult struct {
	fleetPlan
	peak, second int // most requests in one second, and which
	requests     int
	reads        int // of the requests
	readPeak     int // most of them in one second
	refused      int
	timeouts     int
	resent       int           // rows that the killed server had lost
	lateness     time.Duration // from the kill until the last of them was sent again
	half, all    time.Duration // from the server's return until so many devices have nothing left
	proven       time.Duration // until all of it was read back

	importing, reading time.Duration // CPU time
}

func (r fleetResult) String() string {
	return fmt.Sprintf("%s: peak %d requests/s (second %d), %d requests, %d refused, %d timed out; half drained after %v, all after %v; "+
		"%d reads, at most %d/s, all proven after %v; %d rows sent again, the last %v after the kill; CPU %v for imports, %v for reads",
		r.name, r.peak, r.second, r.requests, r.refused, r.timeouts, r.half.Round(time.Second), r.all.Round(time.Second),
		r.reads, r.readPeak, r.proven.Round(time.Second), r.resent, r.lateness.Round(time.Second), r.importing.Round(time.Second), r.reading.Round(time.Second))
}

// runFleet lets the devices run through the last ten minutes of an outage and until the last of
// them has caught up.
func runFleet(t *testing.T, plan fleetPlan) (result fleetResult) {
	warmUp := min(plan.outage, 10*time.Minute)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &fleetServer{
			back: start.Add(warmUp), workers: make(chan struct{}, fleetWorkers), plan: plan, arrivals: map[int64]int{}, reads: map[int64]int{},
			rand: rand.New(rand.NewPCG(1, 2)),
		}
		ends, proven := make([]time.Duration, plan.devices), make([]time.Duration, plan.devices)
		var wg sync.WaitGroup
		for i := range plan.devices {
			d := newFleetDevice(plan, server, rand.New(rand.NewPCG(uint64(i), 7)))
			d.since = server.back.Add(-plan.outage)
			wg.Go(func() {
				gone, read := d.deliver(t.Context())
				ends[i], proven[i] = gone.Sub(server.back), read.Sub(server.back)
			})
		}
		wg.Wait()
		slices.Sort(ends)
		result = fleetResult{
			fleetPlan: plan, refused: server.refused, timeouts: server.timeouts, half: ends[len(ends)/2], all: ends[len(ends)-1],
			proven: slices.Max(proven), resent: server.resent, lateness: server.lateness,
			importing: server.importing / 2, reading: server.reading / 2, // two workers to a CPU
		}
		for second, n := range server.arrivals {
			result.requests += n
			if n > result.peak {
				result.peak, result.second = n, int(second)
			}
		}
		for _, n := range server.reads {
			result.reads += n
			result.readPeak = max(result.readPeak, n)
		}
	})
	return result
}

// TestFleet_Outage: devices that started in the same second come back after an hour without the
// server.
//
//	go test ./shipperd/internal/ship -run TestFleet_Outage -v -fleet.devices 10000
//
// prints the first table of docs/fleet.md.
func TestFleet_Outage(t *testing.T) {
	t.Parallel()
	n := *fleetDevices
	run := func(plan fleetPlan) fleetResult {
		if plan.devices = n; plan.outage == 0 {
			plan.outage = time.Hour
		}
		plan.refuses = plan.refuses * n / fleetFull
		r := runFleet(t, plan)
		t.Log(r)
		return r
	}
	spread := run(fleetPlan{name: "spread, the server queues", spread: true})
	together := run(fleetPlan{name: "in step, the server queues"})
	limited := run(fleetPlan{name: "spread, the server refuses above 512", spread: true, refuses: 512})
	stuck := run(fleetPlan{name: "in step, the server refuses above 512", refuses: 512})
	varied := run(fleetPlan{name: "in step, the server refuses above 512 and varies Retry-After", refuses: 512, vary: true})

	rare := run(fleetPlan{name: "spread, the server queues, uploads every 5 minutes", spread: true, interval: 5 * time.Minute})
	if rare.peak > spread.peak || rare.all > 7*time.Minute {
		t.Errorf("fewer uploads make it worse: %v; %v", rare, spread)
	}
	for _, r := range []fleetResult{spread, limited} {
		if r.peak > n/8 || r.refused+r.timeouts > 0 || r.all > 3*time.Minute {
			t.Errorf("spread devices come as a wave, or too late: %v", r)
		}
	}
	// The test can see a wave where there is one.
	if together.peak < n || together.timeouts == 0 || stuck.all < 10*time.Minute {
		t.Errorf("devices in step do no harm: %v; %v", together, stuck)
	}
	// What a server can do for those that come as a wave all the same.
	if varied.all > 4*time.Minute {
		t.Errorf("a Retry-After of its own for each does not help: %v", varied)
	}
}

// TestFleet_MassLoss: outages of three lengths, after which the server is killed a minute after its
// return and has lost ten seconds of everyone.
//
//	go test ./shipperd/internal/ship -run TestFleet_MassLoss -v -fleet.devices 10000
//
// prints the second table of docs/fleet.md.
func TestFleet_MassLoss(t *testing.T) {
	t.Parallel()
	n := *fleetDevices
	for _, outage := range []time.Duration{4 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, interval := range []time.Duration{30 * time.Second, 5 * time.Minute} {
			r := runFleet(t, fleetPlan{
				name: fmt.Sprintf("outage of %v, uploads every %v", outage, interval), devices: n, outage: outage, spread: true,
				interval: interval, crash: time.Minute,
			})
			t.Log(r)
			switch {
			case r.resent == 0:
				t.Errorf("the kill costs nothing: %v", r)
			case r.peak > n/4 || r.readPeak > n/8:
				t.Errorf("the devices come as a wave: %v", r)
			case r.timeouts > r.requests/20:
				t.Errorf("the server is overloaded: %v", r)
			}
		}
	}
}
