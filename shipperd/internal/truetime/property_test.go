package truetime

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

// drawAhead draws how far a wall clock is ahead, and whether something keeps it right.
func drawAhead(t *rapid.T, trueMS int64) (ahead int64, synced_ bool) {
	switch rapid.IntRange(0, 5).Draw(t, "clock") {
	case 0:
		return 0, true
	case 1:
		return rapid.Int64Range(-1500, 1500).Draw(t, "a little off"), false
	case 2:
		return -trueMS + rapid.Int64Range(0, hour).Draw(t, "1970"), false
	case 3:
		return rapid.Int64Range(-day, -3*second).Draw(t, "behind"), false
	case 4:
		return rapid.Int64Range(3*second, 400*day).Draw(t, "ahead"), false
	}
	return 0, false
}

// TestDerive_Property: whatever boards, clocks and servers do, and however often the loop looks.
func TestDerive_Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w world
		clock := now
		for n := range rapid.IntRange(1, 6).Draw(t, "boots") {
			bootMS, uptime := clock+rapid.Int64Range(second, day).Draw(t, "off"), rapid.Int64Range(second, 2*minute).Draw(t, "start")
			boot := fmt.Sprint("boot", n)
			error_ := rapid.Int64Range(-700, 700).Draw(t, "server's error")
			reached := rapid.Bool().Draw(t, "server reached")
			for range rapid.IntRange(1, 4).Draw(t, "epochs") {
				until := uptime + rapid.Int64Range(0, hour).Draw(t, "rows")/grid*grid
				ahead, s := drawAhead(t, bootMS)
				state := unsynced
				if s {
					state = synced
				} else if rapid.Bool().Draw(t, "nobody can tell") {
					state = cannot
				}
				w.epoch(boot, bootMS, uptime, until, ahead, state)
				uptime = until + rapid.Int64Range(grid, hour).Draw(t, "pause")
				p := present(boot, bootMS, until, ahead, Server{})
				if reached && rapid.Bool().Draw(t, "asked") {
					p.Server = server(bootMS + error_)
				}
				w.apply(t, Derive(w.epochs, p))
				w.check(t)
			}
			clock = bootMS + uptime
		}
		p := present("last", clock+minute, minute, 0, server(clock+minute))
		w.apply(t, Derive(w.epochs, p))
		w.check(t)
		for i, e := range w.epochs {
			if e.How == store.HowUnknown {
				t.Fatalf("epoch %d waits although the present is known", i)
			}
		}
	})
}

// check holds at every moment.
func (w *world) check(t *rapid.T) {
	unknown := false
	lastMS := int64(never)
	for i, e := range w.epochs {
		if e.How == store.HowUnknown {
			unknown = true
			continue
		}
		if unknown {
			t.Fatalf("epoch %d is corrected and one before it is not", i)
		}
		moved := e.TrueOffset - e.WallOffset
		if e.Synchronised.Valid && e.Synchronised.Bool && (e.How != store.HowClock || moved < 0 || moved >= grid) {
			t.Fatalf("epoch %d: the clock was synchronised, %q moved it by %d ms", i, e.How, moved)
		}
		uptime := e.FromMS + e.WallOffset - e.WallMinusBoot
		wrong := e.FromMS + e.TrueOffset - w.truth[i] - uptime
		if limit := map[store.How]int64{store.HowKernel: grid, store.HowServer: Right + 700 + grid, store.HowClock: Right + 700 + grid}[e.How]; limit > 0 && max(wrong, -wrong) > limit {
			t.Fatalf("epoch %d: %q is off by %d ms", i, e.How, wrong)
		}
		// Samples of two epochs never get the same millisecond.
		from, to := e.FromMS+e.TrueOffset, e.ToMS+e.TrueOffset
		for j, other := range w.epochs[:i] {
			if other.FromMS+other.TrueOffset <= to && from <= other.ToMS+other.TrueOffset && mod(other.TrueOffset) == mod(e.TrueOffset) {
				t.Fatalf("epochs %d and %d have samples of the same milliseconds", j, i)
			}
		}
		if e.How == store.HowEstimated && e.Boot != w.epochs[max(0, i-1)].Boot && from <= lastMS {
			t.Fatalf("epoch %d: estimated to begin at or before the last sample in front", i)
		}
		lastMS = max(lastMS, to)
	}
}
