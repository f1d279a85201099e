package ship

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestDedupInterval: a server with a deduplication interval gets each sample twice at most, and
// none becomes a dead letter.
func TestDedupInterval(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{5 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4)
				r.silent = true
				kept := func(ms int64) bool { return ms%keep.Milliseconds() == 0 }
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
				r.allow.lost = func(s sample) bool { return !kept(s.key.TimestampMS()) }
				r.allow.doubles = true // the kept one of a chunk that was sent again
				r.run()
				r.live(max(40*time.Minute, 24*keep), time.Second)
				r.deliver(time.Hour)
				r.deadLetters(0, "", "")
				c := r.counts()
				if c.Deduplicated == 0 || c.Requeued > c.Deduplicated {
					t.Errorf("%d requeued, %d deduplicated", c.Requeued, c.Deduplicated)
				}
				r.has(fmt.Sprintf("interval_seconds=%v\n", keep.Seconds()))
				if !r.shipper.Stats.Snapshot().Deduplicating {
					t.Error("nobody is told")
				}
			})
		})
	}
}

// TestDedupInterval_Crash: what a killed server lost does not count as deduplicated.
func TestDedupInterval_Crash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.silent = true
		kept := func(ms int64) bool { return ms%10_000 == 0 }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
		r.allow.lost = func(s sample) bool { return !kept(s.key.TimestampMS()) }
		r.allow.doubles = true
		r.run()
		r.live(30*time.Minute, time.Second)
		for range 20 {
			before := len(r.vm.Imports())
			for len(r.vm.Imports()) == before {
				r.pass(time.Second, time.Second)
			}
			r.vm.Restart(10 * time.Second)
			r.live(2*time.Minute, time.Second)
		}
		for r.now().UnixMilli()%10_000 != 0 { // the end of an interval shows what became of it
			r.pass(time.Second, time.Second)
		}
		r.deliver(2 * time.Hour)
	})
}

// TestDedupInterval_Ends: an interval that the server no longer has is no longer assumed.
func TestDedupInterval_Ends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.silent = true
		var ended int64
		kept := func(ms int64) bool { return ended > 0 || ms%10_000 == 0 }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
		r.allow.doubles = true
		r.allow.lost = func(s sample) bool { return ended == 0 || s.key.TimestampMS() <= ended }
		r.run()
		r.live(20*time.Minute, time.Second)
		if !r.shipper.Stats.Snapshot().Deduplicating {
			t.Error("it was not found out")
		}
		ended = r.now().UnixMilli()
		for range 10 {
			before := len(r.vm.Imports())
			for len(r.vm.Imports()) == before {
				r.pass(time.Second, time.Second)
			}
			r.vm.Restart(10 * time.Second)
			r.live(time.Minute, time.Second)
		}
		r.deliver(2 * time.Hour)
		if r.shipper.Stats.Snapshot().Deduplicating {
			t.Error("the interval is still assumed")
		}
	})
}

// TestDedupInterval_SlowLink: where the reads about the interval never get through,
// everything else continues.
func TestDedupInterval_SlowLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const gone = 17
		r := newRig(t, 20)
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Value != gone }))
		r.allow.deadLetters = func(s sample) bool { return s.key == r.samples[gone-1].key && s.series == r.samples[gone-1].series }
		narrow := &narrowServer{Server: r.shipper.Server}
		r.shipper.Server = narrow
		r.run()
		r.live(3*time.Hour, time.Minute)
		if l := r.readFile(t.Context()).ledger; l.Accepted > 200 || narrow.wide == 0 || narrow.wide > 100 {
			t.Errorf("%d wide questions, %d samples accepted and not proven", narrow.wide, l.Accepted)
		}
	})
}

// narrowServer lets no answer through that spans more than ten minutes.
type narrowServer struct {
	Server
	wide int
}

func (n *narrowServer) Export(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func([]store.Tag, []int64) error) error {
	if endMS-startMS > (10 * time.Minute).Milliseconds() {
		n.wide++
		return &victoria.Error{Class: victoria.ClassTimeout, Err: errors.New("no answer in time")}
	}
	return n.Server.Export(ctx, sel, startMS, endMS, each)
}

// TestDedupInterval_Lossy: a server that never stores one tick, between others that it
// stores, has no deduplication interval. Each lost sample becomes a dead letter.
func TestDedupInterval_Lossy(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{10 * time.Second, time.Minute, 4 * time.Minute} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4)
				r.run()
				r.live(time.Hour, step)
				lost := r.now().Add(step).UnixMilli()
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Timestamp != lost }))
				r.allow.deadLetters = func(s sample) bool { return s.key.TimestampMS() == lost }
				r.live(6*time.Hour, step)
				r.deliver(time.Hour)
				r.deadLetters(4, "not_stored", "")
				if c := r.counts(); c.Deduplicated != 0 {
					t.Errorf("%d deduplicated", c.Deduplicated)
				}
			})
		})
	}
}
