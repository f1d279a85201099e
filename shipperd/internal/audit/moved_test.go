package audit

import (
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// clampedRig has ten ticks of two series that were sent 31 days late and ten that
// were sent three days early, by the clock of the time.
func clampedRig(t *testing.T) (r *rig, sent func(line int, n int) time.Time) {
	r = newRig(t, 2)
	r.limits.MaxPast, r.limits.MaxFuture = 4*time.Hour, 4*time.Hour
	r.insert(-10*3600, -10*3600+10)
	r.insert(10*3600, 10*3600+10)
	chunks, requests := r.record(time.Now())
	r.send(r.client, requests...)
	r.verify(chunks...)
	if requests[0].Bodies[0].Clamped != 40 {
		t.Fatalf("%d samples clamped, want 40", requests[0].Bodies[0].Clamped)
	}
	return r, func(line, n int) time.Time { return time.UnixMilli(requests[0].Bodies[0].Line(line)[n].TimestampMS) }
}

func TestAudit_Moved(t *testing.T) {
	t.Parallel()
	r, sent := clampedRig(t)
	r.insert(0, 10)
	r.deliver(time.Now())
	wantCounts(t, r.audit(r.config()), counts{proven: 60, moved: 40})
	cfg := r.config()
	cfg.WindowRows = 3
	wantCounts(t, r.audit(cfg), counts{proven: 60, moved: 40})
	cfg.Since = 2 * time.Hour // the moved ones from the future are young
	wantCounts(t, r.audit(cfg), counts{proven: 40, moved: 20})
	// Without the limits nothing explains where they are.
	report := r.audit(Config{Gap: 24 * time.Hour})
	wantCounts(t, report, counts{proven: 20, missing: 40, unknown: 40})

	r.store(`"__name__":"metric_0","part":"0"`, sent(1, 3), sent(1, 15))
	wantCounts(t, r.audit(r.config()), counts{proven: 60, moved: 40, twice: 2})
}

func TestAudit_MovedAndMissing(t *testing.T) {
	t.Parallel()
	r, _ := clampedRig(t)
	r.vm.Forget(20) // one of the two series
	wantCounts(t, r.audit(r.config()), counts{proven: 20, moved: 20, missing: 20})
	// Two hours later the edge has passed those in the past: the server may have
	// dropped them by now.
	cfg := r.config()
	cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	wantCounts(t, r.audit(cfg), counts{proven: 20, moved: 20, missing: 10, tooOld: 10})
}

// TestAudit_MovedOntoAnother has a row that was sent to where another one stands.
func TestAudit_MovedOntoAnother(t *testing.T) {
	t.Parallel()
	r, sent := clampedRig(t)
	at := sent(1, 3)
	r.insertAt(at, r.series[0])
	wantCounts(t, r.audit(r.config()), counts{proven: 40, moved: 40, pending: 1})
	r.deliver(time.Now())
	wantCounts(t, r.audit(r.config()), counts{proven: 41, moved: 40})
	r.store(`"__name__":"metric_0","part":"0"`, at)
	wantCounts(t, r.audit(r.config()), counts{proven: 41, moved: 40, twice: 1})
	r.vm.Forget(2)
	wantCounts(t, r.audit(r.config()), counts{proven: 40, moved: 40, missing: 1})

	// The same where the other one is older than what is asked for.
	cfg := r.config()
	cfg.Since = time.Until(at) * -1 / 2
	r.store(`"__name__":"metric_0","part":"0"`, at)
	wantCounts(t, r.audit(cfg), counts{proven: 20, moved: 20})
}

func TestAudit_TooOld(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.vm.Then(testkit.AcceptSome(testkit.KeepFirst(5)))
	r.deliver(time.Now())
	cfg := r.config()
	cfg.Now = func() time.Time { return r.at(0).Add(cfg.MaxPast + 3*time.Second) }
	// Of 15 missing ones 2 and 1 of each series are past the edge, less what is there.
	wantCounts(t, r.audit(cfg), counts{proven: 5, missing: 12, tooOld: 3})
}
