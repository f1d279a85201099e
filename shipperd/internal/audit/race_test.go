package audit

import (
	"context"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// meanwhile does something after the rows were read and before the server is
// asked, once.
func (r *rig) meanwhile(f func()) Export {
	done := false
	return func(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func([]store.Tag, []int64) error) error {
		if !done {
			done = true
			f()
		}
		return r.client.Export(ctx, sel, startMS, endMS, each)
	}
}

// TestAudit_Meanwhile lets the daemons go on while they are audited: no moment of
// theirs may look like a difference.
func TestAudit_Meanwhile(t *testing.T) {
	t.Parallel()
	f := func(name string, prepare func(r *rig) (while func()), want counts) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			r.insert(0, 10)
			while := prepare(r)
			wantCounts(t, r.auditBy(r.config(), r.meanwhile(while)), want)
		})
	}
	f("pending rows leave", func(r *rig) func() {
		return func() { _, requests := r.record(time.Now()); r.send(r.client, requests...) }
	}, counts{unsettled: 20, there: 20})
	f("pending rows arrive", func(r *rig) func() {
		return func() { r.deliver(time.Now()) }
	}, counts{proven: 20})
	f("an open chunk is verified", func(r *rig) func() {
		chunks, requests := r.record(time.Now())
		return func() { r.send(r.client, requests...); r.verify(chunks...) }
	}, counts{unsettled: 20, there: 20})
	f("rows are pruned", func(r *rig) func() {
		r.deliver(time.Now())
		return func() {
			if n, err := r.out.Prune(r.t.Context(), r.at(5), 100); n != 10 || err != nil {
				r.t.Errorf("pruned %d, %v", n, err)
			}
		}
	}, counts{proven: 20})
	f("rows are pruned and the server forgets them", func(r *rig) func() {
		r.vm.Then(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Timestamp >= r.at(5).UnixMilli() }))
		r.deliver(time.Now())
		return func() {
			if n, err := r.out.Prune(r.t.Context(), r.at(5), 100); n != 10 || err != nil {
				r.t.Errorf("pruned %d, %v", n, err)
			}
		}
	}, counts{proven: 10, gone: 10})
	f("rows come in and arrive", func(r *rig) func() {
		r.deliver(time.Now())
		return func() {
			r.insertAt(r.at(4).Add(time.Millisecond), r.series...)
			r.insertAt(r.at(5).Add(time.Millisecond), store.NewSeries("dev", "quite.new", store.Number))
			r.deliver(time.Now())
		}
	}, counts{proven: 20})
	f("a chunk is withdrawn", func(r *rig) func() {
		chunks, _ := r.record(time.Now())
		return func() {
			if err := r.out.Withdraw(r.t.Context(), chunks[0]); err != nil {
				r.t.Error(err)
			}
		}
	}, counts{unsettled: 20})
	f("rows are found missing and owed again", func(r *rig) func() {
		chunks, _ := r.record(time.Now())
		if err := r.out.MarkUploaded(r.t.Context(), chunks[0], nil, nil); err != nil {
			r.t.Error(err)
		}
		return func() {
			if err := r.out.Requeue(r.t.Context(), chunks[0], chunks[0].Keys); err != nil {
				r.t.Error(err)
			}
		}
	}, counts{unsettled: 20})
	f("pending rows become dead letters", func(r *rig) func() {
		return func() {
			if err := r.out.MoveToDeadLetters(r.t.Context(), []store.Rejection{{Key: r.key(3, 0), Reason: "x"}}); err != nil {
				r.t.Error(err)
			}
		}
	}, counts{pending: 20})
}

// TestAudit_MovedMeanwhile has rows arrive under another timestamp than their own
// while the audit runs.
func TestAudit_MovedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.deliver(time.Now())
	// The rows are from nine hours later. Package chunk puts them as far into an hour
	// as they were in theirs, and some 8 min on: a millisecond for each hour since
	// 1970. The hour is chosen so that this is 8 min after the first tick.
	late := r.at(9 * 3600)
	on := time.Duration(late.UnixMilli()/time.Hour.Milliseconds()) * time.Millisecond
	hour := r.begin.Truncate(time.Hour)
	if r.begin.Sub(hour)+on >= time.Hour {
		hour = hour.Add(time.Hour)
	}
	created := hour.Add(90*time.Minute - 4*time.Hour)
	r.limits.MaxFuture = 4 * time.Hour
	cfg := r.config()
	cfg.Gap = 24 * time.Hour
	report := r.auditBy(cfg, r.meanwhile(func() {
		r.insertAt(late, r.series...)
		r.deliver(created)
	}))
	wantCounts(t, report, counts{proven: 22, moved: 2}) // what is explained is compared, too
	for _, s := range r.vm.Samples() {
		if ms := s.Timestamp - r.begin.UnixMilli(); ms < 0 || ms > time.Hour.Milliseconds() {
			t.Errorf("a sample stands %d ms after the begin: the test does not test what it should", ms)
		}
	}
}
