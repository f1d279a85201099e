package ship

import (
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// Rows that come late lie among pruned ones, of which the server still has the
// samples: no count can prove them.

func TestLate_ClockBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, func(r *rig) { r.cfg.Retention = 10 * time.Minute })
		r.run()
		r.pass(3*time.Hour, 10*time.Second)
		r.sleep(30 * time.Minute)
		r.skew.Store(int64(-2*time.Hour + 5*time.Second)) // between the old ticks
		before, thrown := len(r.samples), 0
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool {
			if int(s.Value) <= before || int(s.Value)%2 == 1 || thrown == 80 {
				return true
			}
			thrown++
			return false
		}))
		r.pass(10*time.Minute, 10*time.Second)
		r.deliver(6 * time.Hour)
		if thrown != 80 || r.counts().Requeued < 80 {
			t.Errorf("%d thrown away, %d sent again", thrown, r.counts().Requeued)
		}
	})
}

func TestLate_RetriedDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, func(r *rig) { r.cfg.Retention = time.Hour; r.cfg.Verify.MaxResends = 1 })
		bad := named(r.series[1])
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != bad }))
		r.allow.deadLetters = func(s sample) bool { return s.series == bad }
		r.ticks(30, 10*time.Second)
		r.series = r.series[:1]
		r.run()
		r.deliver(8 * time.Hour)
		r.sleep(2 * time.Hour) // the others are pruned
		dead, err := r.watch.DeadLetters(t.Context(), 0, 1000)
		if err != nil || len(dead) != 30 {
			t.Fatalf("%d dead letters, %v", len(dead), err)
		}
		command, err := store.OpenDeadLetters(t.Context(), r.file.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer command.Close()
		for _, d := range dead {
			if ok, err := command.Retry(t.Context(), d.ID); !ok || err != nil {
				t.Fatal(ok, err)
			}
			r.allow.retried++
		}
		r.deliver(8 * time.Hour)
		r.deadLetters(30, "not_stored", "")
	})
}
