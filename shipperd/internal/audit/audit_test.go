package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

func TestAudit_Clean(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	r.insert(0, 100)
	text := store.NewSeries("dev", "release", store.Text)
	r.insertAt(r.at(100), text)
	r.deliver(time.Now())
	r.insert(101, 103)
	chunks, requests := r.record(time.Now())
	r.send(r.client, requests...) // under way: sent, not marked
	r.insert(103, 105)

	want := counts{proven: 400, unsettled: 8, there: 8, pending: 8, unsendable: 1}
	for _, rows := range []int{0, 1, 7, 400, 1000} {
		cfg := r.config()
		cfg.WindowRows = rows
		report := r.audit(cfg)
		wantCounts(t, report, want)
		if windows := map[int]int{0: 1, 1: 105, 7: 52, 400: 2, 1000: 1}[rows]; report.Windows != windows {
			t.Errorf("%d rows at once: %d windows, want %d", rows, report.Windows, windows)
		}
		if !report.From.Equal(r.at(0)) || !report.To.Equal(r.at(104)) || !slices.Equal(report.Devices, []string{"dev"}) {
			t.Errorf("span: got %v to %v, %q", report.From, report.To, report.Devices)
		}
	}
	if err := r.out.MarkUploaded(t.Context(), chunks[0], nil, nil); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, r.audit(r.config()), want) // accepted: still unsettled
	r.verify(chunks...)
	wantCounts(t, r.audit(r.config()), counts{proven: 408, pending: 8, unsendable: 1})
}

func TestAudit_EmptyFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.store(`"__name__":"metric_0","part":"0"`, r.at(0))
	report := r.audit(r.config())
	wantCounts(t, report, counts{})
	if !report.From.IsZero() || report.Windows != 0 {
		t.Errorf("got %+v", report)
	}
}

func TestAudit_Missing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	r.insert(0, 50)
	r.vm.Then(testkit.AcceptSome(testkit.KeepFirst(150))) // the last series is not there
	r.deliver(time.Now())
	report := r.audit(r.config())
	wantCounts(t, report, counts{proven: 150, missing: 50})
	d := report.Differences[0]
	if len(d.Metrics) != 1 || d.Metrics[0].Name != "metric_1" || d.Metrics[0].Samples != 50 ||
		!slices.Equal(d.Metrics[0].Examples, []int64{r.at(0).UnixMilli(), r.at(1).UnixMilli(), r.at(2).UnixMilli()}) {
		t.Errorf("got %+v", d.Metrics[0])
	}
}

func TestAudit_StoredTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.deliver(time.Now())
	for range 2 {
		r.store(`"__name__":"metric_0","part":"1"`, r.at(4), r.at(5))
	}
	r.insert(10, 11)
	_, requests := r.record(time.Now())
	r.send(r.client, requests...)
	r.send(r.client, requests...) // a double of what is under way is one, too
	wantCounts(t, r.audit(r.config()), counts{proven: 20, unsettled: 2, there: 2, twice: 6})
}

func TestAudit_Unknown(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(10, 20)
	r.insert(1210, 1220) // after a gap of almost 20 min
	r.deliver(time.Now())
	r.store(`"__name__":"metric_0","part":"0"`,
		r.at(9), r.at(10).Add(-1), r.at(1211).Add(time.Millisecond), // too old to judge; known by nobody
		r.at(30), r.at(1209), // in the gap
		r.at(1221)) // the device has been off since
	r.store(`"__name__":"metric_7"`, r.at(5), r.at(15))
	r.store(`"__name__":"metric_0"`, r.at(15))
	r.store(`"__name__":"`+victoria.ProbeMetric+`"`, r.at(15)) // of doctor -probe: not a difference
	report := r.audit(r.config())
	wantCounts(t, report, counts{proven: 40, unknown: 3})
	var names []string
	for _, m := range report.Differences[0].Metrics {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"metric_0", "metric_7"}) {
		t.Errorf("got %q", names)
	}
	// While the device runs, what is newer than its newest row counts, up to now.
	cfg := r.config()
	cfg.Now = func() time.Time { return r.at(1225) }
	wantCounts(t, r.audit(cfg), counts{proven: 40, unknown: 4})
	// A longer gap that is asked about.
	cfg.Gap = time.Hour
	wantCounts(t, r.audit(cfg), counts{proven: 40, unknown: 6})
}

func TestAudit_PendingStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.store(`"__name__":"metric_0","part":"1"`, r.at(4), r.at(5))
	wantCounts(t, r.audit(r.config()), counts{pending: 18, pendingStored: 2})
	r.store(`"__name__":"metric_0","part":"1"`, r.at(5))
	wantCounts(t, r.audit(r.config()), counts{pending: 18, pendingStored: 2, twice: 1})
}

func TestAudit_DeadLetterStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	if err := r.out.MoveToDeadLetters(t.Context(), []store.Rejection{{Key: r.key(4, 0), Reason: "rejected"}, {Key: r.key(5, 0), Reason: "rejected"}}); err != nil {
		t.Fatal(err)
	}
	r.deliver(time.Now())
	wantCounts(t, r.audit(r.config()), counts{proven: 18})
	r.store(`"__name__":"metric_0","part":"0"`, r.at(4), r.at(4).Add(time.Millisecond))
	wantCounts(t, r.audit(r.config()), counts{proven: 18, deadStored: 1, unknown: 1})
}

func TestAudit_Since(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.vm.Then(testkit.AcceptSome(testkit.KeepNone))
	r.deliver(time.Now())
	r.insert(10, 20)
	r.deliver(time.Now())
	cfg := r.config()
	cfg.Now = func() time.Time { return r.at(20) }
	wantCounts(t, r.audit(cfg), counts{proven: 20, missing: 20})
	cfg.Since = 10 * time.Second
	wantCounts(t, r.audit(cfg), counts{proven: 20})
	cfg.Since = 11 * time.Second
	wantCounts(t, r.audit(cfg), counts{proven: 20, missing: 2})
	cfg.Since = 100 * 365 * 24 * time.Hour
	wantCounts(t, r.audit(cfg), counts{proven: 20, missing: 20})
	cfg.Since = time.Nanosecond
	wantCounts(t, r.audit(cfg), counts{})
}

// TestAudit_SameAtTheServer has two series that the server cannot tell apart.
func TestAudit_SameAtTheServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.series = []*store.Series{store.NewSeries("dev", "a.b", store.Number), store.NewSeries("dev", "a_b", store.Number)}
	r.insert(0, 5)
	r.insertAt(r.at(5), r.series[1])
	r.deliver(time.Now())
	wantCounts(t, r.audit(r.config()), counts{proven: 11})
	r.store(`"__name__":"a_b"`, r.at(3), r.at(5))
	wantCounts(t, r.audit(r.config()), counts{proven: 11, twice: 2})
	r.vm.Forget(2)
	r.vm.Forget(1) // the newest of the rest: the sixth tick's
	wantCounts(t, r.audit(r.config()), counts{proven: 10, missing: 1})
}

// TestAudit_AddedLabels: a proxy may add labels to what passes.
func TestAudit_AddedLabels(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.client = r.newClient("?extra_label=site=north&extra_label=tenant=7")
	r.insert(0, 10)
	r.deliver(time.Now())
	wantCounts(t, r.audit(r.config()), counts{proven: 20})
}

// TestAudit_NoDevice: files of old versions may have rows without a device. The
// server's other series without one are none of ours.
func TestAudit_NoDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.series = []*store.Series{store.NewSeries("", "m", store.Number), store.NewSeries("dev", "m", store.Number)}
	r.insert(0, 10)
	r.deliver(time.Now())
	other := fmt.Sprintf(`{"metric":{"__name__":"m","job":"other"},"values":[1,2],"timestamps":[%d,%d]}`, r.at(4).UnixMilli(), r.at(4).UnixMilli()+1)
	if err := r.vm.Import(other); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, r.audit(r.config()), counts{proven: 20})
}

func TestAudit_Deduplication(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.vm = testkit.StartFakeVM(t, testkit.FakeConfig{Dedup: time.Millisecond})
	r.client = r.newClient("")
	r.insert(0, 10)
	r.deliver(time.Now())
	r.store(`"__name__":"metric_0","part":"0"`, r.at(4))
	wantCounts(t, r.audit(r.config()), counts{proven: 20})
}

func TestAudit_ServerFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.deliver(time.Now())
	for _, step := range []testkit.Step{testkit.Answer(503, nil), testkit.CutAnswer(200, nil), testkit.Answer(401, nil)} {
		r.vm.ThenRead(step)
		report, err := Run(t.Context(), r.file, r.client.Export, r.config(), nil)
		if report != nil || err == nil {
			t.Errorf("%+v: got %+v, %v", step, report, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, r.file, r.client.Export, r.config(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
}

func TestAudit_Progress(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.insert(0, 10)
	r.deliver(time.Now())
	cfg := r.config()
	cfg.WindowRows = 5
	var seen []int64
	_, err := Run(t.Context(), r.file, r.client.Export, cfg, func(done, total int64) {
		if total != 20 {
			t.Errorf("total %d, want 20", total)
		}
		seen = append(seen, done)
	})
	if want := []int64{0, 6, 12, 18, 20}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("got %v, %v, want %v", seen, err, want)
	}
}

// TestAudit_ManyMetrics: a report stays short.
func TestAudit_ManyMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, 60)
	r.insert(0, 3)
	r.vm.Then(testkit.AcceptSome(testkit.KeepNone))
	r.deliver(time.Now())
	report := r.audit(r.config())
	wantCounts(t, report, counts{missing: 180})
	d := report.Differences[0]
	if len(d.Metrics) != maxMetrics || d.Metrics[0].Samples != 6 || len(d.Metrics[0].Examples) != 3 || d.Others != 120 {
		t.Errorf("got %d metrics, %+v, others %d", len(d.Metrics), d.Metrics[0], d.Others)
	}
}

var _ Export = (*victoria.Client)(nil).Export
