package ship

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestFleet_FirstPhase: devices that start together do not upload together.
func TestFleet_FirstPhase(t *testing.T) {
	t.Parallel()
	var first []time.Duration
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1, func(r *rig) { r.rand = rand.New(rand.NewPCG(seed, 7)) })
			r.tick(r.now())
			start := time.Now()
			r.run()
			r.sleep(31 * time.Second)
			first = append(first, r.vm.Imports()[0].Time.Sub(start))
		})
	}
	slices.Sort(first)
	for i, d := range first {
		if even := 30 * time.Second * time.Duration(i) / 60; d < even-7*time.Second || d > even+7*time.Second {
			t.Errorf("upload %d of 60 comes after %v, evenly spread it would be %v", i+1, d, even)
		}
	}
}

// TestFleet_NewFile: on a new device the first upload comes after half a minute, or the interval if
// that is shorter, and has what needs two ticks.
func TestFleet_NewFile(t *testing.T) {
	t.Parallel()
	f := func(interval, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1, func(r *rig) { r.cfg.UploadInterval = interval })
			start := time.Now()
			r.run()
			for len(r.vm.Imports()) == 0 && time.Since(start) < 2*interval {
				r.sleep(want / 3)
				r.tick(r.now())
			}
			if imports := r.vm.Imports(); len(imports) != 1 || imports[0].Time.Sub(start) != want {
				t.Errorf("interval %v: imports %v after the start at %v, want one after %v", interval, imports, start, want)
			}
			if n := len(r.vm.Samples()); n < 2 {
				t.Errorf("interval %v: the first upload has %d ticks, want two or more", interval, n)
			}
		})
	}
	f(time.Minute, 30*time.Second)
	f(5*time.Minute, 30*time.Second)
	f(10*time.Second, 10*time.Second)
}

// TestFleet_ManySamples: uploads come sooner than at the interval if more rows would wait than may,
// and no sooner because of an outage, whose rows came as slowly as others.
func TestFleet_ManySamples(t *testing.T) {
	t.Parallel()
	const interval = time.Minute
	f := func(series int, outage, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, series, func(r *rig) { r.cfg.UploadInterval, r.cfg.MaxWaiting = interval, 300 })
			r.run()
			pass := func(d time.Duration) {
				for range d / time.Second {
					r.sleep(time.Second)
					r.tick(r.now())
				}
			}
			pass(3 * interval)
			r.vm.FailLines(func(string) bool { return true }, http.StatusServiceUnavailable)
			pass(outage)
			r.vm.FailLines(nil, 0)
			pass(3 * interval)
			before := len(r.vm.Imports())
			pass(5 * interval)
			n := len(r.vm.Imports()) - before
			if every := 5 * interval / time.Duration(max(1, n)); every < want*7/10 || every > want*13/10 {
				t.Errorf("%d series, after an outage of %v: an upload every %v, want one every %v", series, outage, every, want)
			}
		})
	}
	f(2, 0, interval) // 120 rows
	f(2, 10*time.Minute, interval)
	f(10, 0, 30*time.Second)
	f(10, 5*time.Minute, 30*time.Second)
	f(400, 0, time.Second) // more in each tick
}

// TestFleet_Jitter: later uploads keep to the interval, ± the jitter.
func TestFleet_Jitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.run()
		r.pass(2*time.Hour, time.Second)
		imports := r.vm.Imports()
		var gaps []time.Duration
		for i := range imports[1:] {
			gaps = append(gaps, imports[i+1].Time.Sub(imports[i].Time))
		}
		slices.Sort(gaps)
		least, middle, most := gaps[0], gaps[len(gaps)/2], gaps[len(gaps)-1]
		if least < 24*time.Second || least > 26*time.Second || most < 34*time.Second || most > 37*time.Second || middle < 28*time.Second || middle > 32*time.Second {
			t.Errorf("%d gaps from %v over %v to %v, want 24 s, 30 s, 36 s", len(gaps), least, middle, most)
		}
	})
}

// TestFleet_RetryAfter: a device with Retry-After of ten minutes does not come
// before, and not all come at once.
func TestFleet_RetryAfter(t *testing.T) {
	t.Parallel()
	var waits []time.Duration
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1, func(r *rig) { r.rand = rand.New(rand.NewPCG(seed, 7)) })
			r.tick(r.now())
			r.vm.Then(testkit.RetryAfter(429, "600"))
			r.run()
			r.sleep(20 * time.Minute)
			imports := r.vm.Imports()
			waits = append(waits, imports[1].Time.Sub(imports[0].Time))
		})
	}
	slices.Sort(waits)
	if first, last := waits[0], waits[len(waits)-1]; first < 600*time.Second || last > 13*time.Minute || last-first < time.Minute {
		t.Errorf("they come after %v to %v", first, last)
	}
}
