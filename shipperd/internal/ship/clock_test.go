package ship

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestClock_Steps: the wall clock steps both ways while the device samples and
// ships. Durations are not affected.
func TestClock_Steps(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]time.Duration{
		"seconds":      {3 * time.Second, -7 * time.Second, 11 * time.Second, -2 * time.Second},
		"hours":        {time.Hour, -5 * time.Hour, 26 * time.Hour, -30 * time.Hour},
		"days":         {10 * 24 * time.Hour, -9 * 24 * time.Hour, -2 * 24 * time.Hour},
		"a wrong year": {400 * 24 * time.Hour, -500 * 24 * time.Hour, 100*24*time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 10)
				r.allow.moved = true
				r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepEvery(2)), testkit.AcceptSome(testkit.KeepEvery(2)))
				r.run()
				for i := range 12 {
					r.skew.Add(int64(steps[i%len(steps)]) + int64(i)) // never the same milliseconds again
					r.live(2*time.Minute, 10*time.Second+time.Millisecond)
				}
				r.deliver(time.Hour)
				r.deadLetters(0, "", "")
			})
		})
	}
}

// TestClamp_BackInTime: a device without a clock battery boots in the past, with
// a backlog of right timestamps. By its own clock they lie in the future; by the
// server's they are fine, and stay.
func TestClamp_BackInTime(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{-80 * time.Hour, -29 * 365 * 24 * time.Hour} {
		t.Run(fmt.Sprint(back), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(100, 10*time.Second)
				r.skew.Store(int64(back))
				r.run()
				r.deliver(time.Hour)
				if c := r.counts(); c.Clamped != 0 {
					t.Errorf("%d timestamps moved", c.Clamped)
				}
			})
		})
	}
}

// TestClamp_AheadOfTime is the reverse: with the clock far ahead a backlog seems
// to be older than what the server stores.
func TestClamp_AheadOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(100, 10*time.Second)
		r.skew.Store(int64(100 * 24 * time.Hour))
		r.run()
		r.deliver(time.Hour)
		if c := r.counts(); c.Clamped != 0 {
			t.Errorf("%d timestamps moved", c.Clamped)
		}
	})
}

// TestClamp_WrongStamps: samples that were stamped by a wrong clock go to the edge
// of what the server stores, are proven there, and keep their time in the file.
func TestClamp_WrongStamps(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"1970": -30 * 365 * 24 * time.Hour, "ahead": 90 * 24 * time.Hour} {
		for _, healed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", clock healed: ", healed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20)
					if name == "1970" {
						skew = time.Until(time.UnixMilli(60_000))
					}
					r.allow.moved = true
					r.skew.Store(int64(skew))
					r.ticks(30, time.Second)
					if healed {
						r.skew.Store(0)
					}
					r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepFirst(40)))
					r.run()
					r.deliver(time.Hour)
					r.deadLetters(0, "", "")
					if c := r.counts(); c.Clamped < 600 {
						t.Errorf("%d timestamps moved, want 600", c.Clamped)
					}
					r.has("timestamps clamped to what the server stores")
					rows, err := r.watch.Rows(context.Background(), r.keys())
					if err != nil || len(rows) != len(r.samples) {
						t.Errorf("%d rows keep their original time, %v", len(rows), err)
					}
				})
			})
		}
	}
}

// TestClamp_ServerAway: while no server answers, nothing is sent that would
// have to be moved, and nothing is recorded with a wrong time.
func TestClamp_ServerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.silent = true
		r.ticks(100, 10*time.Second)
		r.skew.Store(int64(-29 * 365 * 24 * time.Hour))
		r.vm.GoAway()
		r.run()
		r.sleep(time.Hour)
		r.check()
		if _, open := r.left(); len(open) != 0 {
			t.Errorf("%d chunks were recorded", len(open))
		}
		r.vm.ComeBack()
		r.deliver(time.Hour)
		if c := r.counts(); c.Clamped != 0 {
			t.Errorf("%d timestamps moved", c.Clamped)
		}
	})
}

// timeless is a server whose answers have no Date.
type timeless struct{ Server }

func (timeless) ServerTimes(time.Duration) []victoria.ServerTime { return nil }

// TestClamp_NoDate: where the server sends no Date, the device's clock counts.
func TestClamp_NoDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.shipper.Server = timeless{r.http}
		r.allow.moved = true
		r.skew.Store(int64(-60 * 24 * time.Hour))
		r.ticks(10, 10*time.Second)
		r.skew.Store(0)
		r.run()
		r.deliver(time.Hour)
		if c := r.counts(); c.Clamped != 200 {
			t.Errorf("%d timestamps moved, want 200", c.Clamped)
		}
	})
}
