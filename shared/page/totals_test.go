package page

import (
	"math"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	var d drain
	start := time.Unix(1_800_000_000, 0)
	at := func(s, rows int64, stored rise) *draining {
		return d.watch(start.Add(time.Duration(s)*time.Second), rows, 2500, stored)
	}
	if g := at(0, 100_000, 0); g != nil {
		t.Errorf("the first look: got %+v, want nothing", g)
	}
	if g := at(5, 100_000, 0); g != nil {
		t.Errorf("it stands still: got %+v", g)
	}
	g := at(10, 90_000, 200_000)
	if g == nil || g.RowsPerSecond != 1000 || g.SecondsLeft != 87.5 || g.PeakRows != 200_000 || g.Done != 0.55 {
		t.Errorf("got %+v, want 1000 rows a second and 87.5 s to go", g)
	}
	if g := at(12, 95_000, 0); g == nil || g.RowsPerSecond <= 0 {
		t.Errorf("it still goes down on the whole: got %+v", g)
	}
	if g := at(12, 95_000, 0); g == nil || math.Abs(g.RowsPerSecond-5000/12.) > 1e-6 {
		t.Errorf("the same count once more: got %+v, want the same speed", g)
	}
	if g := at(20, 2500, 0); g != nil {
		t.Errorf("one batch is no backlog: got %+v", g)
	}
	if g := at(500, 90_000, 0); g != nil {
		t.Errorf("after a pause: got %+v, want a new start", g)
	}
	if g := at(400, 10_000, 0); g != nil {
		t.Errorf("the clock went back: got %+v, want a new start", g)
	}
}

func TestIncrease(t *testing.T) {
	t.Parallel()
	g := increase{}
	for i, v := range []float64{100, 200, 190, 250, 300} { // killed once: it went on from 190
		g.add(int64(i+1)*1_800_000, v)
	}
	if g.total != 210 {
		t.Errorf("got %+v, want 210 in all", g)
	}
	if f := g.perDay(); f == nil || f.Value != 2520 || f.BasisSeconds != 7200 {
		t.Errorf("got %+v, want 2520 a day from two hours", f)
	}
	short := increase{}
	short.add(1, 1)
	short.add(60_000, 2)
	if f := short.perDay(); f != nil {
		t.Errorf("a minute: got %+v, want no forecast", f)
	}
}

// TestFullIn: what pending samples leave of the budget, or of the disk where that is
// less, at the pace at which rows come.
func TestFullIn(t *testing.T) {
	t.Parallel()
	p := &Page{cfg: Config{Config: config.Default()}}
	p.cfg.Config.Storage.MaxSizeMB, p.cfg.Config.Storage.WALCheckpointSizeMB = 164, 64
	f := func(pending int64, free *int64, pace float64, want float64) {
		t.Helper()
		s := &status{Delivery: delivery{Pending: pending}, Storage: storage{
			File: 20 << 20, Data: 10 << 20, Rows: 10 << 10, DiskFree: free, RowsPerDay: &perDay{Value: pace}, // 1 KiB a row
		}}
		if got := p.fullIn(s); got == nil || math.Abs(*got-want) > 1e-6*want+1e-9 {
			t.Errorf("%d pending, %v a day: got %v, want %v s", pending, pace, got, want)
		}
	}
	bytes := func(n int64) *int64 { return &n }
	const day = 86400
	f(0, nil, 100<<10, 1*day)
	f(0, nil, 10<<10, 10*day)
	f(50<<10, nil, 10<<10, 5*day)
	f(200<<10, nil, 10<<10, 0) // more than there is room for
	f(0, bytes(10<<30), 10<<10, 10*day)
	f(0, bytes(30<<20), 10<<10, 5*day) // and what the file has already
	f(10<<10, bytes(0), 10<<10, 1*day)
	for name, s := range map[string]*status{
		"no pace": {Storage: storage{Data: 1, Rows: 1}}, "it stands still": {Storage: storage{Data: 1, Rows: 1, RowsPerDay: &perDay{}}},
		"no rows": {Storage: storage{RowsPerDay: &perDay{Value: 1}}},
	} {
		if got := p.fullIn(s); got != nil {
			t.Errorf("%s: got %v, want no guess", name, *got)
		}
	}
}

func TestRise(t *testing.T) {
	t.Parallel()
	var r rise
	for _, v := range []float64{90_000, 100, 5000, 70_000, 60_000, 65_000} {
		r.add(v, 2500)
	}
	if r != 70_000 {
		t.Errorf("got %v, want the peak of the backlog there is now", r)
	}
	r.add(10, 2500)
	if r != 0 {
		t.Errorf("no backlog: got %v", r)
	}
}
