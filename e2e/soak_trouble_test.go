package e2e

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"
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

// trouble is one thing that happens.
type trouble struct {
	kind   string
	pause  time.Duration // since the last one ended
	aimed  bool          // then wait until bytes go to the server, and for a moment more
	late   time.Duration // that moment
	length time.Duration
	pulse  time.Duration // when slow: between two moments in which anything passes
}

// dealer decides what happens. Kinds are dealt like cards: each comes once before
// any comes again.
type dealer struct {
	dice           *rand.Rand
	kinds, deck    []string
	pause, longest time.Duration // a pause is half to three halves of it
}

func (d *dealer) all() []string {
	if d == nil {
		return nil
	}
	return d.kinds
}

func (d *dealer) next() trouble {
	if len(d.deck) == 0 {
		d.deck = append(d.deck, d.kinds...)
		d.dice.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	kind := d.deck[0]
	d.deck = d.deck[1:]
	return trouble{
		kind:   kind,
		pause:  d.pause/2 + time.Duration(d.dice.Int64N(int64(d.pause))),
		aimed:  d.dice.IntN(4) > 0,
		late:   time.Duration(d.dice.Int64N(int64(8 * time.Millisecond))),
		length: d.log(100*time.Millisecond, d.longest),
		pulse:  d.log(20*time.Millisecond, 600*time.Millisecond),
	}
}

// log rolls a time between two, each power of ten as likely as the next.
func (d *dealer) log(least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), d.dice.Float64()))
}

// strike deals out troubles until ctx ends and each kind has come at least once.
// Whatever was broken is whole again when it returns.
func (s *soak) strike(ctx context.Context, d *dealer, do func(context.Context, trouble)) {
	for n := 0; ; n++ {
		tr := d.next()
		if !nap(ctx, tr.pause) && n >= len(d.kinds) {
			return
		}
		if tr.aimed {
			s.awaitUpload(ctx)
			nap(ctx, tr.late)
		}
		start := time.Now()
		do(ctx, tr)
		took := time.Since(start)
		s.mu.Lock()
		s.counts[tr.kind]++
		s.away[tr.kind] += took
		s.mu.Unlock()
		s.t.Logf("%s: %.1f s", tr.kind, took.Seconds())
	}
}

func (s *soak) strikeServer(ctx context.Context, tr trouble) {
	if tr.kind == killed {
		s.vm.Kill()
	} else if err := s.vm.Stop(); err != nil {
		s.t.Error(err)
	}
	nap(ctx, tr.length)
	if err := s.vm.Start(); err != nil {
		s.t.Error(err)
	}
}

func (s *soak) strikeNetwork(ctx context.Context, tr trouble) {
	switch tr.kind {
	case refused:
		s.proxy.Cut()
		nap(ctx, tr.length)
	case reset:
		s.proxy.Reset()
	case blackHole:
		s.proxy.Stall()
		nap(ctx, tr.length)
	case slow:
		// With each pulse passes what a connection has read meanwhile, at most 32 kB
		// each way: little bandwidth and a long way.
		s.proxy.Stall()
		for end := time.Now().Add(tr.length); time.Now().Before(end) && nap(ctx, tr.pulse); {
			s.proxy.Restore()
			s.proxy.Stall()
		}
	}
	s.proxy.Restore()
}

// awaitUpload waits until something goes to the server, for two uploads at most.
func (s *soak) awaitUpload(ctx context.Context) {
	before := s.proxy.Stats().Up
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && s.proxy.Stats().Up == before; {
		if !nap(ctx, 500*time.Microsecond) {
			return
		}
	}
}

// nap returns false when ctx ended meanwhile.
func nap(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func TestDealer_SameSeedSameTroubles(t *testing.T) {
	t.Parallel()
	deal := func() *dealer {
		return &dealer{dice: rand.New(rand.NewPCG(7, 0)), kinds: []string{refused, reset, blackHole, slow}, pause: time.Second, longest: time.Minute}
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
