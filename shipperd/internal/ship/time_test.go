package ship

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// since1970 is how wrong a clock is that stands at 1970.
func since1970() time.Duration { return -time.Duration(time.Now().UnixNano()) }

// timed makes a rig of which everything arrives within off of its true time.
func timed(t *testing.T, off time.Duration, change ...func(*rig)) *rig {
	r := newRig(t, 4, change...)
	r.allow.off, r.silent = off, true
	return r
}

// TestTime_Accepted: when a chunk was accepted stands in the file in true time, so that a boot
// with a clock ahead hides nothing of the next one.
func TestTime_Accepted(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := timed(t, 60*time.Millisecond)
			r.skew.Store(int64(skew))
			r.run()
			r.records(time.Minute, 10*time.Second)
			at, _, err := r.watch.LastDelivery(t.Context())
			if age := time.Since(at); err != nil || age < -time.Second || age > time.Minute {
				t.Errorf("%v: accepted %v ago, %v", skew, age, err)
			}
			if at, now := r.shipper.Stats.Snapshot().LastAccepted, r.now(); now.Sub(at) < 0 || now.Sub(at) > time.Minute {
				t.Errorf("health, which goes by the wall clock, has %v at %v", at, now)
			}
			r.finish()
		})
	}
}

// finish delivers everything, with a witness for the last.
func (r *rig) finish() {
	r.t.Helper()
	for range 3 {
		r.records(time.Minute, 10*time.Second)
	}
	r.deliver(time.Hour)
	r.deadLetters(0, "", "")
	if c := r.counts(); c.Clamped != 0 {
		r.t.Errorf("%d timestamps moved", c.Clamped)
	}
	if c := r.shipper.Stats.Snapshot(); !c.Unconfirmed.IsZero() {
		r.t.Error("samples still wait for their true time")
	}
}

// TestTime_PowerCut: the clock is an hour behind after a power cut, until NTP answers or without
// it.
func TestTime_PowerCut(t *testing.T) {
	t.Parallel()
	for _, ntp := range []bool{true, false} {
		t.Run(fmt.Sprint("ntp ", ntp), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := timed(t, 60*time.Millisecond)
				r.ntp.Store(true)
				r.run()
				r.records(5*time.Minute, 10*time.Second)
				r.reboot("boot-2", 10*time.Second, -time.Hour)
				r.records(time.Minute, 10*time.Second)
				if ntp {
					r.skew.Store(0)
					r.ntp.Store(true)
				}
				r.finish()
				how := "server"
				if c := r.counts(); c.Corrected[how] == 0 && !ntp {
					t.Errorf("corrected: %v", c.Corrected)
				}
			})
		})
	}
}

// TestTime_1970: a boot in 1970 meets the server after ten minutes. Its samples are not too old.
func TestTime_1970(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, 60*time.Millisecond)
		r.vm.GoAway()
		r.skew.Store(int64(since1970() + 20*time.Second))
		r.run()
		r.records(10*time.Minute, 10*time.Second)
		if n := len(r.openChunks()); n > 0 {
			t.Errorf("%d chunks were recorded", n)
		}
		r.vm.ComeBack()
		r.finish()
		if c := r.counts(); c.Corrected["server"] != int64(len(r.samples)) {
			t.Errorf("corrected: %v of %d", c.Corrected, len(r.samples))
		}
	})
}

// TestTime_NeverKnew: boots that ended without knowing go between those that knew, in order, and
// nothing is lost.
func TestTime_NeverKnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, time.Hour)
		r.vm.GoAway()
		r.ntp.Store(true)
		r.run()
		r.records(time.Minute, 10*time.Second)
		r.reboot("boot-2", 10*time.Minute, -3*time.Hour)
		r.records(time.Minute, 10*time.Second)
		r.reboot("boot-3", 10*time.Minute, since1970())
		r.records(time.Minute, 10*time.Second)
		r.reboot("boot-4", 10*time.Minute, 0)
		r.ntp.Store(true)
		r.vm.ComeBack()
		r.finish()
		last := int64(0)
		at := map[int]int64{}
		for _, s := range r.vm.Samples() {
			at[int(s.Value)-1] = s.Timestamp
		}
		for i := 0; i < len(r.samples); i += len(r.series) {
			if at[i] <= last {
				t.Errorf("tick %d is at %d, the one before at %d", i/len(r.series), at[i], last)
			}
			last = at[i]
		}
	})
}

// TestTime_StepInFlight: the clock is set while chunks are under way and in doubt. What was sent
// stays where it was sent.
func TestTime_StepInFlight(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Hour, -time.Hour, 700 * time.Millisecond} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := timed(t, 60*time.Millisecond)
				r.skew.Store(int64(-step))
				if step < time.Second {
					r.allow.off = time.Second // it counts as right
				}
				r.run()
				r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepFirst(3)), testkit.Answer(500, testkit.KeepFirst(0)), testkit.AcceptSome(testkit.KeepEvery(2)))
				r.records(90*time.Second, 10*time.Second)
				r.skew.Store(0)
				r.ntp.Store(true)
				r.records(90*time.Second, 10*time.Second)
				r.restart()
				r.finish()
			})
		})
	}
}

// wrongSide is a server of which one side has another clock.
type wrongSide struct {
	*victoria.Client
	side victoria.Side
	by   time.Duration
}

func (w wrongSide) ServerTimes(age time.Duration) []victoria.ServerTime {
	times := w.Client.ServerTimes(age)
	for i := range times {
		if times[i].Side == w.side {
			times[i].Lo += w.by
			times[i].Hi += w.by
		}
	}
	return times
}

// TestTime_TwoClocks: where the two sides of the server differ and the device's clock is far from
// both, nothing sets the time. A third source, or NTP, does.
func TestTime_TwoClocks(t *testing.T) {
	t.Parallel()
	for _, side := range []victoria.Side{victoria.Writing, victoria.Reading} {
		for _, rescue := range []string{"url", "ntp", "reboot"} {
			t.Run(fmt.Sprint(side, rescue), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := timed(t, 600*time.Millisecond)
					known := false
					r.otherClock = func() (time.Time, time.Duration, bool) { return time.Now(), 600 * time.Millisecond, known }
					r.wire()
					r.shipper.Server = wrongSide{r.http, side, 100 * 24 * time.Hour}
					r.skew.Store(int64(-40 * 24 * time.Hour))
					r.run()
					r.records(20*time.Minute, 10*time.Second)
					if n := len(r.vm.Samples()); n > 0 || r.shipper.Stats.Snapshot().Unconfirmed.IsZero() {
						t.Errorf("%d samples were sent", n)
					}
					r.has("not confirmed, samples wait")
					switch rescue {
					case "url":
						known = true
					case "ntp":
						r.skew.Store(0)
						r.ntp.Store(true)
					case "reboot":
						r.allow.off = 41 * 24 * time.Hour // estimated: its own clock may have been right
						r.reboot("boot-2", time.Minute, 0)
						r.shipper.Server = r.http
					}
					r.finish()
				})
			})
		}
	}
}

// TestTime_NoDateWrong: the server gives no time, and the clock is behind what was sent before.
// Samples wait, until somebody sets the clock.
func TestTime_NoDateWrong(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-time.Hour, -20 * 365 * 24 * time.Hour} {
		for _, ntp := range []bool{true, false} {
			t.Run(fmt.Sprint(skew, " ntp ", ntp), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := timed(t, 600*time.Millisecond)
					r.ntp.Store(true)
					r.run()
					r.records(5*time.Minute, 10*time.Second)
					r.vm.GoAway()
					r.reboot("boot-2", 10*time.Second, skew)
					r.shipper.Server = timeless{r.http}
					r.vm.ComeBack()
					before := len(r.samples)
					r.records(2*time.Hour, 10*time.Second)
					if n := len(r.vm.Samples()); n > before || r.shipper.Stats.Snapshot().Unconfirmed.IsZero() {
						t.Errorf("%d samples were sent, want %d at most", n, before)
					}
					r.has("have no Date")
					r.ntp.Store(ntp)
					r.skew.Store(0)
					r.finish()
				})
			})
		}
	}
}

// unmarked is a server of which some sides do not show whose their answers are, and whose clock is
// not the true one.
type unmarked struct {
	Server
	sides map[victoria.Side]bool
	by    time.Duration
}

func (u unmarked) ServerTimes(age time.Duration) []victoria.ServerTime {
	times := u.Server.ServerTimes(age)
	for i := range times {
		times[i].Unproven = u.sides[times[i].Side]
		times[i].Lo += u.by
		times[i].Hi += u.by
	}
	return times
}

// TestTime_Unproven: a new device with the clock of systemd's build, behind a front that hides
// whose its answers are. They set no clock, and a wall clock that they deny is not used.
func TestTime_Unproven(t *testing.T) {
	t.Parallel()
	both := map[victoria.Side]bool{victoria.Writing: true, victoria.Reading: true}
	writing, reading := map[victoria.Side]bool{victoria.Writing: true}, map[victoria.Side]bool{victoria.Reading: true}
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		sides    map[victoria.Side]bool
		skew, by time.Duration
		how      string
	}{
		"behind":                        {both, -year, 0, ""},
		"ahead":                         {both, year, 0, ""},
		"nearly right":                  {both, -time.Minute, 0, "unconfirmed"},
		"a stranger's clock is wrong":   {both, 0, -100 * 24 * time.Hour, ""},
		"known by a count":              {writing, -year, 0, "server"},
		"known by its answer to import": {reading, -year, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(3 * year) // all of these clocks are after 2000
				r := timed(t, 2*time.Minute)
				r.shipper.Server = unmarked{r.http, c.sides, c.by}
				r.skew.Store(int64(c.skew))
				r.run()
				r.records(20*time.Minute, 10*time.Second)
				waits := !r.shipper.Stats.Snapshot().Unconfirmed.IsZero()
				if n := len(r.vm.Samples()); (n > 0) == waits || waits != (c.how == "") {
					t.Errorf("%d samples were sent, the others wait: %v, want them known by %q", n, waits, c.how)
				}
				times, err := r.watch.Timeline(t.Context())
				if e := times[len(times)-1]; err != nil || string(e.How) != c.how {
					t.Errorf("got %q, %v, want %q", e.How, err, c.how)
				}
				r.skew.Store(0)
				r.ntp.Store(true)
				r.finish()
			})
		})
	}
}

// slowSide is a server of which one side answers after long.
type slowSide struct{ Server }

func (s slowSide) FetchTime(ctx context.Context) error {
	err := s.Server.FetchTime(ctx)
	time.Sleep(2 * freshFor)
	return err
}

// TestTime_Slow: a Date counts however long the other answers took.
func TestTime_Slow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour)
		r := timed(t, 600*time.Millisecond)
		r.shipper.Server = slowSide{r.http}
		r.skew.Store(int64(-time.Hour))
		r.run()
		r.records(30*time.Minute, 10*time.Second)
		r.finish()
		if c := r.counts(); c.Corrected["server"] != int64(len(r.samples)) {
			t.Errorf("corrected: %v of %d", c.Corrected, len(r.samples))
		}
	})
}

// TestTime_NoDate: where the server gives no time, the wall clock counts.
func TestTime_NoDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, time.Hour)
		r.shipper.Server = timeless{r.http}
		r.skew.Store(int64(time.Hour))
		r.run()
		r.finish()
	})
}

// TestTime_VerifyOff: with a server that is only written to, one side is enough.
func TestTime_VerifyOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, 60*time.Millisecond, func(r *rig) {
			r.cfg.Verify.Enabled = false
			r.client.VerifyURL = "http://fake/none/api/v1/export"
		})
		r.skew.Store(int64(-time.Hour))
		r.run()
		r.finish()
	})
}

// TestTime_Once: "shipperd -once" after a power cut, with no collectord in this boot.
func TestTime_Once(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, time.Hour)
		r.skew.Store(int64(since1970()))
		r.records(time.Minute, 10*time.Second)
		r.sleep(10 * time.Minute)
		r.boot, r.booted = "boot-2", time.Now()
		r.skew.Store(int64(since1970()))
		if _, err := r.drainAll(); err != nil {
			t.Error(err)
		}
		r.check()
		if n := len(r.vm.Samples()); n != len(r.samples) {
			t.Errorf("%d of %d samples at the server", n, len(r.samples))
		}
	})
}

// TestTime_OnceUnreachable: without the server there is no time, and the error says what is left.
func TestTime_OnceUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, 0)
		r.skew.Store(int64(-time.Hour))
		r.records(time.Minute, 10*time.Second)
		r.vm.GoAway()
		if _, err := r.drainAll(); err == nil || !strings.Contains(err.Error(), "24 samples are pending") {
			t.Errorf("got %v", err)
		}
	})
}

// TestTime_Kill: a kill at any point leaves nothing at two places.
func TestTime_Kill(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"corrected", "recorded", "sent", "marked", "verified"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := timed(t, 60*time.Millisecond)
				r.skew.Store(int64(-time.Hour))
				killed_ := false
				r.atCrash(func(at string) {
					if at == point && !killed_ {
						killed_ = true
						panic(killed{at})
					}
				})
				r.run()
				r.records(3*time.Minute, 10*time.Second)
				r.skew.Store(0)
				r.ntp.Store(true)
				r.records(time.Minute, 10*time.Second)
				if !killed_ {
					t.Fatal("not killed")
				}
				r.restart()
				r.finish()
			})
		})
	}
}

// TestTime_Random: boots with all kinds of clocks, a server that comes and goes. Whatever happens,
// each sample arrives once; those whose true time could be known are within a second.
func TestTime_Random(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 1))
				r := timed(t, 1000*24*time.Hour)
				r.run()
				for boot := range 6 {
					if boot > 0 {
						skews := []time.Duration{0, -time.Hour, since1970(), 400 * time.Millisecond, -20 * 24 * time.Hour, 100 * 24 * time.Hour}
						r.reboot(fmt.Sprint("boot-", boot+1), time.Duration(dice.IntN(600))*time.Second, skews[dice.IntN(len(skews))])
					}
					for range dice.IntN(4) + 1 {
						switch dice.IntN(5) {
						case 0:
							r.vm.GoAway()
						case 1:
							r.vm.ComeBack()
						case 2:
							r.skew.Store(0)
							r.ntp.Store(true)
						case 3:
							if !r.ntp.Load() {
								r.skew.Add(int64(time.Duration(dice.IntN(7200)-3600) * time.Second))
							}
						case 4:
							r.vm.Then(testkit.Answer(500, testkit.KeepEvery(2)))
						}
						r.records(time.Duration(dice.IntN(180))*time.Second, 10*time.Second)
					}
				}
				r.vm.ComeBack()
				r.finish()
				r.errors(time.Second)
			})
		})
	}
}

// errors checks the true time of all samples that were not estimated.
func (r *rig) errors(most time.Duration) {
	r.t.Helper()
	times, err := r.watch.Timeline(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	worst := map[store.How]int64{}
	for _, s := range r.vm.Samples() {
		mine := r.samples[int(s.Value)-1]
		off := s.Timestamp - mine.trueMS
		how := times.Epoch(mine.key).How
		worst[how] = max(worst[how], off, -off)
	}
	for how, ms := range worst {
		if how != store.HowEstimated && ms > most.Milliseconds() {
			r.t.Errorf("%q is off by %d ms", how, ms)
		}
	}
}
