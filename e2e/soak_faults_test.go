package e2e

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"belabox-metrics/shared/testkit/front"
)

// What can happen to the server and to the network.
const (
	killed    = "server killed"
	stopped   = "server stopped"
	refused   = "refused"
	reset     = "reset"
	blackHole = "black hole"
	slow      = "slow"
)

// fault is one thing that happens to the server or to the network.
type fault struct {
	kind   string
	pause  time.Duration // since the last one ended
	aimed  bool          // then wait until bytes go to the server, and for a moment more
	late   time.Duration // that moment
	length time.Duration
	pulse  time.Duration // when slow: between two moments in which anything passes
}

// faultSource decides what happens. Each kind comes once before any comes again.
type faultSource struct {
	dice           *rand.Rand
	kinds, deck    []string
	pause, longest time.Duration // a pause is half to three halves of it
}

func (d *faultSource) all() []string {
	if d == nil {
		return nil
	}
	return d.kinds
}

func (d *faultSource) next() fault {
	if len(d.deck) == 0 {
		d.deck = append(d.deck, d.kinds...)
		d.dice.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	kind := d.deck[0]
	d.deck = d.deck[1:]
	return fault{
		kind:   kind,
		pause:  d.pause/2 + time.Duration(d.dice.Int64N(int64(d.pause))),
		aimed:  d.dice.IntN(4) > 0,
		late:   time.Duration(d.dice.Int64N(int64(8 * time.Millisecond))),
		length: d.logUniform(100*time.Millisecond, d.longest),
		pulse:  d.logUniform(20*time.Millisecond, 600*time.Millisecond),
	}
}

// logUniform draws a time between two, each power of ten as likely as the next.
func (d *faultSource) logUniform(least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), d.dice.Float64()))
}

// breakThings makes faults until ctx ends and each kind has come at least once. When
// it returns, server and network work again.
func (s *soak) breakThings(ctx context.Context, d *faultSource, do func(context.Context, fault)) {
	for n := 0; ; n++ {
		f := d.next()
		if !pause(ctx, f.pause) && n >= len(d.kinds) {
			return
		}
		if f.aimed {
			s.awaitUpload(ctx)
			pause(ctx, f.late)
		}
		start := time.Now()
		do(ctx, f)
		took := time.Since(start)
		s.mu.Lock()
		s.counts[f.kind]++
		s.away[f.kind] += took
		s.mu.Unlock()
		s.t.Logf("%s: %.1f s", f.kind, took.Seconds())
	}
}

func (s *soak) breakServer(ctx context.Context, f fault) {
	if f.kind == killed {
		s.vm.Kill()
	} else if err := s.vm.Stop(); err != nil {
		s.t.Error(err)
	}
	pause(ctx, f.length)
	if err := s.vm.Start(); err != nil {
		s.t.Error(err)
	}
}

func (s *soak) breakNetwork(ctx context.Context, f fault) {
	switch f.kind {
	case refused:
		s.proxy.Cut()
		pause(ctx, f.length)
	case reset:
		s.proxy.Reset()
	case blackHole:
		s.proxy.Stall()
		pause(ctx, f.length)
	case slow:
		// With each pulse passes what a connection has read meanwhile, at most 32 kB
		// each way: little bandwidth and a long way.
		s.proxy.Stall()
		for end := time.Now().Add(f.length); time.Now().Before(end) && pause(ctx, f.pulse); {
			s.proxy.Restore()
			s.proxy.Stall()
		}
	}
	s.proxy.Restore()
}

// frontKinds are the fronts that TestSoak leads to.
func frontKinds() []string {
	return []string{"portal", "queue", "half a store", "HTTP/1.0", "early closes", "throttling", "no reads", "another tenant", "another label", "101"}
}

// lead leads the line to a front for a while. What the front has taken and not
// delivered yet is waited for: else later samples would overtake it for long.
func (s *soak) lead(ctx context.Context, f fault) {
	until := time.Now().Add(f.length)
	waiting := func() int { return 0 }
	mode := front.Pass()
	switch f.kind {
	case "portal":
		mode = portals()["302"]
	case "queue":
		q := front.NewQueue(s.t)
		q.Until, q.Overtake, mode, waiting = until, f.pulse, q.Mode(), q.Waiting
	case "half a store":
		h := front.NewHalf(s.t)
		h.Until, h.Late, mode, waiting = until, 4*time.Second, h.Mode(), h.Waiting
	case "HTTP/1.0":
		mode = front.HTTP10()
	case "early closes":
		s.front.CloseIdle(f.pulse)
	case "throttling":
		mode = front.Refuse(front.Answer{Status: http.StatusTooManyRequests, RetryAfter: "3"})
	case "no reads":
		mode = noReads()
	case "another tenant":
		mode = front.ReadElsewhere()
	case "another label":
		mode = front.Rename("device_id", "renamed-"+s.r.device)
	case "101":
		mode = front.SwitchProtocols()
	default:
		panic("BUG: no front of the kind " + f.kind)
	}
	s.front.Set(mode)
	s.proxy.Route(s.front.Addr())
	pause(ctx, f.length)
	for end := time.Now().Add(soakDrain); waiting() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Errorf("%s: %d imports are not delivered after %v", f.kind, waiting(), soakDrain)
			break
		}
	}
	s.front.CloseIdle(0)
	s.proxy.Route(s.vm.Addr())
}

// awaitUpload waits until something goes to the server, for two uploads at most.
func (s *soak) awaitUpload(ctx context.Context) {
	before := s.proxy.Stats().Up
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && s.proxy.Stats().Up == before; {
		if !pause(ctx, 500*time.Microsecond) {
			return
		}
	}
}

// pause returns false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func TestFaultSource_SameSeedSameFaults(t *testing.T) {
	t.Parallel()
	deal := func() *faultSource {
		return &faultSource{dice: rand.New(rand.NewPCG(7, 0)), kinds: []string{refused, reset, blackHole, slow}, pause: time.Second, longest: time.Minute}
	}
	a, b := deal(), deal()
	for range 50 {
		seen := map[string]bool{}
		for range a.kinds {
			x, y := a.next(), b.next()
			if x != y {
				t.Fatalf("%v and %v from one seed", x, y)
			}
			if x.pause < a.pause/2 || x.pause > a.pause*3/2 || x.length < 100*time.Millisecond || x.length > a.longest {
				t.Errorf("%+v", x)
			}
			seen[x.kind] = true
		}
		if len(seen) != len(a.kinds) {
			t.Errorf("a round dealt %v, want each kind once", seen)
		}
	}
}
