package ship

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

var (
	randomRounds = flag.Int("random.rounds", testkit.Rounds(25), "rounds of TestRandom")
	randomSeed   = flag.Uint64("random.seed", 0, "seed of TestRandom's first round; 0 takes one from the clock")
)

// TestRandom mixes all faults at random, in many short lives of a device, with
// the one checker after each step and at the end. A failure prints the seed that
// repeats its round; "make random" does more of them.
func TestRandom(t *testing.T) {
	t.Parallel()
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for round := range *randomRounds {
		seed := seed + uint64(round)
		t.Run(fmt.Sprintf("random.seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newChaos(t, seed).live() })
		})
	}
}

// chaos is a device in a world where anything may happen.
type chaos struct {
	*rig
	dice    *rand.Rand
	release func() // of the write lock, when somebody holds it
	away    bool
}

func newChaos(t *testing.T, seed uint64) *chaos {
	dice := rand.New(rand.NewPCG(seed, 99))
	c := &chaos{dice: dice}
	c.rig = newRig(t, 1+dice.IntN(30), func(r *rig) {
		r.rand = rand.New(rand.NewPCG(seed, 5))
		r.file.BusyTimeout = time.Millisecond
		r.cfg.BatchSize = []int{20, 200, 2500}[dice.IntN(3)]
		r.cfg.CatchUpRows = []int{100, 1000, 100_000}[dice.IntN(3)]
		r.cfg.UploadInterval = []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute}[dice.IntN(4)]
		r.cfg.Retention = []time.Duration{0, 10 * time.Minute, 24 * time.Hour}[dice.IntN(3)]
		r.cfg.NewestFirst = dice.IntN(2) == 0
		r.cfg.Verify.MaxResends = 1000 // this server loses good samples, again and again
		r.chunks.MaxMetrics = []int{1, 5, 50}[dice.IntN(3)]
		r.chunks.MaxBytes = []int{400, 4000, 256 << 10}[dice.IntN(3)]
	})
	c.atCrash(c.maybeDie)
	return c
}

// tick inserts while the loop waits: with such a short wait for a lock, each would
// mostly find the other's.
func (c *chaos) tick(at time.Time) {
	c.t.Helper()
	synctest.Wait()
	c.rig.tick(at)
}

// maybeDie ends the loop at some crash point.
func (c *chaos) maybeDie(point string) {
	if c.rand.IntN(60) == 0 {
		panic(killed{point})
	}
}

func (c *chaos) live() {
	// Some samples are always refused by the server.
	minded := map[int]bool{}
	var numbers []int
	for range c.dice.IntN(3) {
		n := 1 + c.dice.IntN(300)
		numbers, minded[n] = append(numbers, n), true
	}
	c.vm.RejectLines(lineWith(numbers...), c.dice.IntN(2) == 0)
	c.allow.deadLetters = func(s sample) bool {
		return minded[slices.Index(c.samples, s)+1]
	}
	c.run()
	for range 12 {
		c.event()
		for range 1 + c.dice.IntN(4) {
			c.tick(c.now())
			c.sleep(time.Duration(1+c.dice.IntN(60_000)) * time.Millisecond)
			c.reviveIfDead()
		}
		if c.release == nil {
			c.check()
		}
	}
	c.heal()
	// The device lives on, which shows the server to be well: without that no sample
	// is condemned.
	for round := 0; round < 8 && !c.settled(); round++ {
		for range 30 {
			c.tick(c.now())
			c.sleep(time.Minute)
		}
		c.sleep(time.Hour)
	}
	c.deliver(6 * time.Hour)
}

// event lets something happen.
func (c *chaos) event() {
	d := c.dice
	switch d.IntN(20) {
	case 0, 1, 2, 3, 4:
		for range 1 + d.IntN(3) {
			c.vm.Then(c.fault())
		}
	case 5, 6:
		for range 1 + d.IntN(5) {
			c.vm.ThenRead(c.readFault())
		}
	case 7:
		c.vm.Restart(time.Duration(d.IntN(11)) * time.Second)
		c.away = false
	case 8:
		c.vm.GoAway()
		c.away = true
	case 9:
		c.vm.ComeBack()
		c.away = false
	case 10:
		c.restart()
	case 11:
		if c.release == nil {
			c.release = storetest.Hold(c.t, c.file.Path)
			c.sleep(time.Duration(d.IntN(120)) * time.Second)
			c.reviveIfDead()
			c.release()
			c.release = nil
		}
	case 12:
		c.skew.Add(int64(time.Duration(d.IntN(600_001)-300_000) * time.Millisecond))
	case 13:
		for range 1 + d.IntN(50) { // a backlog
			c.tick(c.now())
			c.sleep(time.Duration(1+d.IntN(200)) * time.Millisecond)
		}
	case 14:
		c.vm.LimitBody(int64(d.IntN(2) * (600 + d.IntN(2000))))
	case 15:
		c.sleep(time.Duration(d.IntN(30)) * time.Minute)
	default:
		c.front()
	}
}

// front puts something between the device and its server for up to 20 minutes.
func (c *chaos) front() {
	d := c.dice
	var q *queue
	switch d.IntN(4) {
	case 0:
		read := answer([]int{200, 302, 401, 404, 500, 101}[d.IntN(6)], "")
		c.vm.Through(portal(time.Duration(d.IntN(200)-100)*24*time.Hour, read))
	case 1:
		c.vm.Through(changed(readElsewhere))
	case 2:
		c.vm.Through(changed(rename))
		c.allow.renamed = true
	case 3:
		q = &queue{shut: true}
		c.vm.Through(q.front(0))
	}
	for range 1 + d.IntN(4) {
		c.tick(c.now())
		c.sleep(time.Duration(1+d.IntN(300)) * time.Second)
		c.reviveIfDead()
	}
	if q != nil {
		order := fifo
		if d.IntN(2) == 0 && c.vm.StepsLeft() == 0 { // a step may take longer than Settle
			order = overtaking
		}
		q.open(c.vm, order, time.Duration(d.IntN(200))*time.Millisecond)
		synctest.Wait()
		c.reviveIfDead()
	}
	c.vm.Through(nil)
}

func (c *chaos) fault() testkit.Step {
	keeps := []testkit.Keep{
		testkit.KeepAll, testkit.KeepNone, testkit.KeepEvery(2), testkit.KeepFirst(c.dice.IntN(50)),
		func(_ int, s testkit.Sample) bool { return int(s.Value)%3 > 0 },
	}
	keep := keeps[c.dice.IntN(len(keeps))]
	statuses := []int{400, 408, 500, 502, 503, 504, 599}
	switch c.dice.IntN(10) {
	case 0, 1:
		return testkit.AcceptSome(keep)
	case 2, 3:
		return testkit.Answer(statuses[c.dice.IntN(len(statuses))], keep)
	case 4:
		return testkit.Answer([]int{401, 403, 404, 413, 429}[c.dice.IntN(5)], testkit.KeepNone)
	case 5:
		return testkit.ResetAfter([]testkit.Part{testkit.WholeBody, testkit.HalfBody}[c.dice.IntN(2)], keep)
	case 6:
		return testkit.Hang(testkit.WholeBody, keep)
	case 7:
		return testkit.CutAnswer([]int{200, 400, 500}[c.dice.IntN(3)], keep)
	case 8:
		return testkit.Step{Keep: keep, Delay: time.Duration(c.dice.IntN(40)) * time.Second}
	default:
		return testkit.RetryAfter([]int{429, 503}[c.dice.IntN(2)], fmt.Sprint(c.dice.IntN(100)))
	}
}

func (c *chaos) readFault() testkit.Step {
	steps := []testkit.Step{
		testkit.Answer(500, nil), testkit.Answer(422, nil), testkit.Answer(403, nil), testkit.ResetAfter(testkit.WholeBody, nil),
		{Reply: testkit.CutReply},
		{Delay: 29 * time.Second},
		testkit.Hang(testkit.WholeBody, nil),
		{},
	}
	return steps[c.dice.IntN(len(steps))]
}

// reviveIfDead starts the loop again where a crash point has ended it.
func (c *chaos) reviveIfDead() {
	select {
	case err := <-c.done:
		if err == nil || c.stop == nil {
			c.t.Errorf("the loop ended with %v", err)
		}
		c.done <- err
		if c.release == nil {
			c.restart()
		}
	default:
	}
}

// heal ends all faults that may last.
func (c *chaos) heal() {
	c.crash.Store(nil)
	c.vm.ComeBack()
	c.vm.LimitBody(0)
	c.reviveIfDead()
	for c.vm.StepsLeft() > 0 {
		c.tick(c.now())
		c.sleep(time.Minute)
	}
}
