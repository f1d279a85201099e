package health

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCPU is the CPU time of a process that only the test uses.
type fakeCPU struct{ used time.Duration }

func (f *fakeCPU) meter() *meter { return &meter{cpu: func() time.Duration { return f.used }} }

func TestLane_BoundsWhatIsTaken(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]pace{"work": workPace, "live": livePace, "connections": connPace} {
		synctest.Test(t, func(t *testing.T) {
			cpu := &fakeCPU{}
			l := newLane(cpu.meter(), p)
			start := time.Now()
			for time.Since(start) < 10*time.Minute {
				if !l.enter(t.Context()) {
					t.Fatal("the turn did not come")
				}
				cpu.used += 500 * time.Microsecond
				l.leave()
			}
			want := time.Since(start)/time.Duration(p.share) + p.burst + time.Millisecond
			if cpu.used > want || cpu.used < want*9/10 {
				t.Errorf("%s: %v of CPU time in %v, want %v", name, cpu.used, time.Since(start), want)
			}
		})
	}
}

// TestLane_QuotaIsKept: whatever is asked for, little requests of all kinds together leave a part
// of each 100 ms of the packaged CPUQuota=20% to the ticks.
func TestLane_QuotaIsKept(t *testing.T) {
	t.Parallel()
	total := 1/float64(workPace.share) + 1/float64(livePace.share) + 1/float64(connPace.share)
	if total > 0.15 {
		t.Errorf("requests may take %.3f of a core, want at most 0.15", total)
	}
	if burst := workPace.burst + livePace.burst + connPace.burst; burst > 12*time.Millisecond {
		t.Errorf("requests may take %v at once, want at most 12 ms", burst)
	}
}

func TestLane_DebtIsLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cpu := &fakeCPU{}
		l := newLane(cpu.meter(), workPace)
		l.enter(t.Context())
		cpu.used += time.Minute
		l.leave()
		start := time.Now()
		if !l.enter(t.Context()) || time.Since(start) != workPace.debt*time.Duration(workPace.share) {
			t.Errorf("after a very expensive request the next one waited %v", time.Since(start))
		}
		l.leave()
		l.enter(t.Context())
		cpu.used += time.Minute
		l.leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if l.enter(ctx) {
			t.Error("a request waited longer than it may")
		}
	})
}

// TestMeter_LeavesTheRest: what one lane is not charged for, the next one is.
func TestMeter_LeavesTheRest(t *testing.T) {
	t.Parallel()
	cpu := &fakeCPU{}
	m := cpu.meter()
	charge := func(begin, overhead, want time.Duration) {
		t.Helper()
		if got := m.charge(begin, overhead); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	cpu.used = 1500 * time.Microsecond
	charge(cpu.used, 500*time.Microsecond, 500*time.Microsecond)
	charge(cpu.used, maxOverhead, time.Millisecond)
	charge(cpu.used, maxOverhead, 0)
	cpu.used += time.Hour // of the daemon's own work
	charge(cpu.used, maxOverhead, maxOverhead)
	charge(cpu.used, time.Millisecond, time.Millisecond)
	begin := cpu.used
	cpu.used += time.Second
	charge(begin, time.Millisecond, time.Second+time.Millisecond)
}
