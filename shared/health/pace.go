package health

import (
	"context"
	"sync"
	"syscall"
	"time"
)

// What requests may take of one core, all clients together. CPUQuota= of the packaged units is 20
// ms in each 100 ms: the rest is for ticks and uploads, also when they come every 100 ms. Bursts
// are short, because a process that has used up its quota does not run for the rest of the 100 ms.
var (
	workPace = pace{share: 16, burst: 6 * time.Millisecond, debt: 200 * time.Millisecond, overhead: maxOverhead}
	livePace = pace{share: 20, burst: 3 * time.Millisecond, debt: 5 * time.Millisecond, overhead: time.Millisecond}
	connPace = pace{share: 33, burst: 3 * time.Millisecond, debt: 3 * time.Millisecond, overhead: 300 * time.Microsecond}
)

const (
	// maxOverhead bounds what net/http is taken to have used and nobody was charged for yet.
	maxOverhead = 2 * time.Millisecond
	// turnLimit is how long a request waits for its turn.
	turnLimit = 5 * time.Second
)

// pace is how fast a lane may use CPU time.
type pace struct {
	share    int           // it may use 1/share of the time
	burst    time.Duration // and at once at most this, after a pause
	debt     time.Duration // what one expensive request can cost the next ones at most
	overhead time.Duration // what one request can be charged for net/http at most
}

// meter measures the CPU time of the process. What net/http does for a request, before and after
// its handler, cannot be measured by itself: what the process used since the last charge counts, up
// to a limit. The rest is left to the next charge.
type meter struct {
	cpu func() time.Duration

	mu      sync.Mutex
	charged time.Duration // CPU time of the process that has been charged
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// charge returns what work that began at a CPU time costs.
func (m *meter) charge(begin, overhead time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cpu()
	cost := max(0, min(now-m.charged, now-begin+overhead))
	m.charged = max(m.charged+cost, now-maxOverhead)
	return cost
}

// lane lets requests through one at a time, in the order in which they came, as fast as its pace
// allows.
type lane struct {
	pace  pace
	meter *meter
	turn  chan struct{} // one place; holding it guards the rest

	left  time.Duration // CPU time that may be used now
	at    time.Time     // when that was so
	begin time.Duration // CPU time at the begin of the turn
}

func newLane(m *meter, p pace) *lane {
	return &lane{pace: p, meter: m, turn: make(chan struct{}, 1), left: p.burst}
}

// enter waits for the turn; false when ctx ended before. Callers must call leave after true.
func (l *lane) enter(ctx context.Context) bool {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if missing := l.missing(time.Now()); missing > 0 {
		timer := time.NewTimer(missing)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			<-l.turn
			return false
		}
	}
	l.begin = l.meter.cpu()
	return true
}

// leave ends the turn.
func (l *lane) leave() {
	l.left = max(-l.pace.debt, l.left-l.meter.charge(l.begin, l.pace.overhead))
	<-l.turn
}

// missing is how long it takes until something is left.
func (l *lane) missing(now time.Time) time.Duration {
	if !l.at.IsZero() {
		l.left = min(l.pace.burst, l.left+max(0, now.Sub(l.at))/time.Duration(l.pace.share))
	}
	l.at = now
	return -l.left * time.Duration(l.pace.share)
}
