//go:build linux && (amd64 || arm64)

package e2e

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/powercut"
)

var (
	powercutRounds = flag.Int("powercut.rounds", 8, "rounds of TestPowerCut and TestPowerCut_Upgrade")
	powercutSeed   = flag.Uint64("powercut.seed", 0, "seed of their dice; 0 takes one from the clock")
)

// seedOf is the seed given, or one from the clock.
func seedOf(given uint64) uint64 {
	if given == 0 {
		return uint64(time.Now().UnixNano())
	}
	return given
}

// powerRound is what one round of TestPowerCut does.
type powerRound struct {
	kind       string
	durability time.Duration
	work       time.Duration // since the start of the daemons
	nth        int           // then the power is cut at the nth request to the disk that counts; 0 = at once
	counts     string        // "any" request, or one of a "checkpoint"
}

// The kinds of rounds.
const (
	anyMoment      = "at any moment"
	whileStarts    = "while the daemons start"
	whileWorks     = "at a request to the disk"
	checkpoints    = "in the last checkpoint"
	afterKills     = "after collectord, alone, was killed and started again twice"
	whileVerifying = "while chunks are verified"
)

var powerKinds = []string{whileStarts, anyMoment, whileWorks, checkpoints, afterKills}

// drawPowerRound decides a round. Verifying takes half a minute, so only each 12th
// round lasts that long; the start after it prunes.
func drawPowerRound(dice *rand.Rand, round int) powerRound {
	span := func(least, most time.Duration) time.Duration {
		return least + time.Duration(dice.Int64N(int64(most-least)))
	}
	s := powerRound{
		kind: powerKinds[round%len(powerKinds)], durability: durabilities[dice.IntN(len(durabilities))],
		work: span(300*time.Millisecond, 1800*time.Millisecond), counts: "any",
	}
	if round%12 == 11 {
		s.kind = whileVerifying
	}
	switch s.kind {
	case whileStarts:
		s.work, s.nth = 0, 1+dice.IntN(250)
	case whileWorks:
		s.nth = 1 + dice.IntN(60)
	case checkpoints:
		s.nth, s.counts = 1+dice.IntN(40), "checkpoint"
	case afterKills:
		s.work = span(800*time.Millisecond, 1050*time.Millisecond) // about the durability
	case whileVerifying:
		s.work, s.nth = span(18*time.Second, 36*time.Second), 1+dice.IntN(60)
	}
	return s
}

// matches reports whether a request to the disk counts. Those to the WAL's index do not:
// it is thrown away at a restart.
func (s powerRound) matches(op powercut.Op) bool {
	switch {
	case strings.HasSuffix(op.Path, "-shm"):
		return false
	case s.counts == "checkpoint":
		return strings.HasSuffix(op.Path, "metrics.db") || op.Kind == powercut.Resize
	}
	return true
}

// TestPowerCut cuts the power: both binaries collect ten times a
// second and ship to a stock VictoriaMetrics, from a disk that forgets at each cut
// what was not synced, and tears the rest. After each cut the file is whole, no
// more ticks are lost than storage.durability allows, none in the middle, and none
// that an earlier cut had left. At the end the server has every row that a cut has
// left in the file exactly once, and nothing else: what was sent was durable.
//
// The seed repeats what the rounds are; when within a process's work the power goes
// it cannot repeat. A failed run leaves its files behind.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := seedOf(*powercutSeed)
	t.Logf("%d rounds; repeat with -powercut.seed=%d", *powercutRounds, seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	vm := testkit.StartVM(t, testkit.VMConfig{})
	b := newPowerDevice(t, vm.ImportURL())
	defer b.keepCopies(seed)

	start := time.Now()
	for round := range *powercutRounds {
		s := drawPowerRound(dice, round)
		b.run(s, dice)
		if t.Failed() {
			t.Fatalf("in round %d: %+v", round+1, s)
		}
	}
	cutting := time.Since(start)
	start = time.Now()
	b.stopAll()
	d := b.compareRows(vm.Client, b.everything())
	l := b.ledger()
	t.Logf("%d rounds in %.0f s, then %.0f s to settle: %v\n%v\n%d chunks in the file, %d of them sent more than once; %v",
		*powercutRounds, cutting.Seconds(), time.Since(start).Seconds(), b.report, &d,
		b.count("SELECT count(*) FROM upload_checkpoints"), b.count("SELECT count(*) FROM upload_checkpoints WHERE attempts > 1"), l)
	if d.rows == 0 || !d.none() {
		t.Errorf("file and server differ: %v\n%s", &d, d.few())
	}
	if l.pending+l.accepted+l.rejected+l.dropped != 0 {
		t.Errorf("not all is verified: %v", l)
	}
}

// run does one round.
func (b *powerDevice) run(s powerRound, dice *rand.Rand) {
	b.t.Helper()
	if s.work == 0 {
		b.machine.CutAt(s.nth, s.matches)
	}
	b.collectord, b.shipperd = b.start(b.bins.Collectord, s.durability), nil
	if s.kind != afterKills { // it syncs too
		b.shipperd = b.start(b.bins.Shipperd, s.durability)
	}
	b.live(s.work)
	for n := 0; s.kind == afterKills && n < 2; n++ {
		b.collectord.Kill()
		b.collectord = b.start(b.bins.Collectord, s.durability)
		b.live(s.work)
	}
	if s.nth > 0 {
		if s.work > 0 {
			b.machine.CutAt(s.nth, s.matches)
		}
		if s.kind == checkpoints {
			b.collectord.Signal(syscall.SIGTERM)
		}
		b.live(1500 * time.Millisecond)
	}
	committed := b.committed(b.cut())
	seen := b.rowsOf(b.save("seen"))
	damage := b.machine.Restart(dice)
	b.report.damage.Add(damage)
	b.check(committed, seen, b.rowsOf(b.save("left")), s.durability)
}

// stopAll lets the daemons work once more, stops them in order and has everything
// delivered.
func (b *powerDevice) stopAll() {
	b.t.Helper()
	r := b.rigs[0]
	p := r.startBoth()
	b.live(time.Second)
	r.stopBoth(p)
	r.deliver(deliverLimit)
	maps.Copy(b.held, b.rowsOf(b.save("end")))
}

func TestPowerRound_SameSeedSameRounds(t *testing.T) {
	t.Parallel()
	a, b := rand.New(rand.NewPCG(7, 0)), rand.New(rand.NewPCG(7, 0))
	seen := map[string]int{}
	for round := range 48 {
		x, y := drawPowerRound(a, round), drawPowerRound(b, round)
		if x != y {
			t.Fatalf("%+v and %+v from one seed", x, y)
		}
		seen[fmt.Sprint(x.kind, x.durability)]++
	}
	if len(seen) != 2*(len(powerKinds)+1) {
		t.Errorf("48 rounds have %v, want every kind with every durability", seen)
	}
}
