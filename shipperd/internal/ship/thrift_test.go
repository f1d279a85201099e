package ship

import (
	"context"
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/meter"
)

var monthDays = flag.Int("month-days", 1, "how much of a month TestThrift_Month runs through; a whole one takes minutes")

// budgeted gives a rig a meter, and a budget in MB. The first process begins with what was used
// before.
func budgeted(mb, before int64) func(*rig) {
	return func(r *rig) {
		m := meter.New()
		r.client.Meter = m.Dial
		r.thrift = func(ctx context.Context) link.Thrift { return r.use(ctx, mb).Thrift }
		r.opened = func(ob *store.Outbox) { // a new process counts from 0
			sent0, received0 := m.Total()
			sent0, before = sent0-before, 0
			ob.MeterTraffic(func() (int64, int64) {
				sent, received := m.Total()
				return sent - sent0, received - received0
			}, func() clock.Moment { return clock.Moment{Wall: r.now(), BootID: r.boot, Sync: clock.Yes} })
		}
	}
}

// use is what the file says of the link.
func (r *rig) use(ctx context.Context, mb int64) link.Use {
	days, err := r.watch.Traffic(ctx)
	if err != nil {
		r.t.Error(err)
	}
	return link.Of(days, r.now(), config.RemoteConfig{MonthlyBudgetMB: mb, BudgetDay: 1, UploadInterval: r.cfg.UploadInterval})
}

// TestThrift_Month: as the budget runs out, uploads become less frequent, down to one in five
// minutes, and when it is used up they go on. Kills and restarts change nothing. No sample is lost
// or doubled, and the file has the bytes that went over the connections.
func TestThrift_Month(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget, used := int64(1), int64(700_000)
		if *monthDays > 1 {
			budget, used = 50, 0
		}
		r := newRig(t, 60, budgeted(budget, used), func(r *rig) { r.cfg.Retention = time.Hour })
		r.run()
		var before int64
		for day := range *monthDays {
			imports := len(r.vm.Imports())
			r.pass(12*time.Hour, 30*time.Second)
			if day%3 == 0 {
				r.restart() // as after a kill
			}
			r.pass(12*time.Hour, 30*time.Second)
			u := r.use(t.Context(), budget)
			t.Logf("day %2d: %5.2f MB, %5.1f of %d MB, left %.3f, %4d uploads, one each %v, past paced %.0f %%",
				day+1, float64(u.Month-before)/1e6, float64(u.Month)/1e6, budget, u.Left, len(r.vm.Imports())-imports, u.Interval.Round(time.Second), 100*u.Pace)
			before = u.Month
		}
		u := r.use(t.Context(), budget)
		sent, received := r.http.Wire()
		if *monthDays > 1 {
			if *monthDays >= 30 && (u.Month > budget*1_001_000 || u.Month < budget*940_000) {
				t.Errorf("%d bytes in the month", u.Month)
			}
		} else {
			if n := len(r.vm.Imports()); u.Interval != link.MaxInterval || n > 800 {
				t.Errorf("%d uploads, one each %v at the end", n, u.Interval)
			}
			if u.Lasts() || u.Month < budget*1_000_000 || u.Mode() != "used up, as little traffic as possible" {
				t.Errorf("got %+v, want a budget that is used up", u)
			}
		}
		if half := sent + received; u.Month < half { // of the second process
			t.Errorf("the file has %d bytes, of %d at least", u.Month, half)
		}
		if !strings.Contains(r.log.String(), "pacing for the link budget changed") {
			t.Error("the log does not say that uploads become less frequent")
		}
		r.deliver(2 * time.Hour)
	})
}

// TestThrift_PacesThePast: a backlog is sent ten times as fast as it was sampled, and at once where
// there is no need to be sparing, or no room to wait.
func TestThrift_PacesThePast(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		thrift link.Thrift
		room   int64
		soon   bool
	}{
		"paced":        {link.Thrift{Pace: 1}, 0, false},
		"not paced":    {link.Thrift{}, 0, true},
		"a little":     {link.Thrift{Pace: 0.02}, 0, true},
		"without room": {link.Thrift{Pace: 1}, 1 << 20, true},
		"with room":    {link.Thrift{Pace: 1}, 1 << 30, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) {
					r.thrift = func(context.Context) link.Thrift { return tc.thrift }
					r.chunks.MaxBytes, r.cfg.MaxDataBytes = 16<<10, tc.room
				})
				r.ticks(6*360, 10*time.Second) // six hours
				r.run()
				r.sleep(15 * time.Minute)
				if pending, _ := r.left(); (len(pending) > 2500) == tc.soon {
					t.Errorf("%d rows are left after a quarter of an hour", len(pending))
				}
				r.sleep(time.Hour)
				if pending, _ := r.left(); len(pending) > 2500 {
					t.Errorf("%d rows are left: six hours take 36 minutes", len(pending))
				}
				if tc.thrift.Pace == 1 && !tc.soon { // one request of the past each interval
					if n := len(r.vm.Imports()); n < 65 || n > 90 {
						t.Errorf("%d requests", n)
					}
				}
				r.deliver(2 * time.Hour)
			})
		})
	}
}
