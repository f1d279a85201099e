package ship

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/link"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestNewest_TimeNotKnown: samples of this boot that wait for their true time hold up none of an
// earlier boot, whatever the order.
func TestNewest_TimeNotKnown(t *testing.T) {
	t.Parallel()
	for _, newestFirst := range []bool{false, true} {
		t.Run(fmt.Sprint(newestFirst), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := timed(t, 600*time.Millisecond, func(r *rig) { r.cfg.NewestFirst = newestFirst })
				r.ntp.Store(true)
				r.vm.GoAway()
				r.run()
				r.records(20*time.Minute, 10*time.Second)
				r.reboot("boot-2", time.Minute, -time.Hour)
				r.shipper.Server = wrongSide{r.http, victoria.Writing, time.Hour}
				known := len(r.samples)
				r.records(10*time.Minute, 10*time.Second)
				r.vm.ComeBack()
				r.records(20*time.Minute, 10*time.Second)
				if n := len(r.vm.Samples()); n != known || r.shipper.Stats.Snapshot().Unconfirmed.IsZero() {
					t.Errorf("%d samples were sent, want the %d of the first boot", n, known)
				}
				r.ntp.Store(true)
				r.skew.Store(0)
				r.finish()
			})
		})
	}
}

// TestThrift_RestOfAnEpoch: after few rows of a long time, which an earlier boot left, a paced
// backlog rests no longer than an interval, and the present is not held up.
func TestThrift_RestOfAnEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := timed(t, 600*time.Millisecond, func(r *rig) {
			r.thrift = func(context.Context) link.Thrift { return link.Thrift{Pace: 1} }
		})
		r.ntp.Store(true)
		r.records(10*time.Hour, time.Minute)
		r.reboot("boot-2", time.Minute, -time.Hour)
		before := len(r.samples)
		r.records(5*time.Minute, 10*time.Second)
		if n := len(r.vm.Samples()); n <= before {
			t.Errorf("%d samples arrived in five minutes, the first boot has %d", n, before)
		}
		r.deliver(4 * time.Hour)
	})
}

// TestThrift_Told: with an upload in five minutes, what a lost request leaves has no witness for as
// long, and is no condition before.
func TestThrift_Told(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, func(r *rig) {
			r.thrift = func(context.Context) link.Thrift {
				return link.Thrift{Pace: 1, Interval: link.MaxInterval, Stretch: 10}
			}
		})
		r.run()
		r.pass(15*time.Minute, 10*time.Second)
		r.vm.Then(testkit.ResetAfter(testkit.WholeBody, testkit.KeepNone))
		for range 20 {
			r.pass(time.Minute, 10*time.Second)
			if c := r.shipper.Stats.Snapshot(); !c.NotVisible.IsZero() || !c.Unkept.IsZero() {
				t.Fatalf("not visible %v, not kept %v", c.NotVisible, c.Unkept)
			}
		}
		r.deliver(2 * time.Hour)
	})
}
