package sample

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
)

func TestPressure(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewPressure, "rk3588")
	if v := h.mustTick(); len(v) != 0 {
		t.Errorf("first reading gives %v", v)
	}
	// Of 10 s: 2.5 s, 5 s and 1 s, 10.001 s (read a little late) and 0.
	h.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=10409947\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	h.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7169535\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2995639\n")
	h.write("proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=10089123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=51234\n")
	v := h.mustTick()
	v.want(t, values{
		"pressure.cpu_some_percent":    25.0,
		"pressure.memory_some_percent": 50.0,
		"pressure.memory_full_percent": 10.0,
		"pressure.io_some_percent":     100.0,
		"pressure.io_full_percent":     0.0,
	})
	if len(v) != 5 {
		t.Errorf("got %v", v)
	}
	h.lay("rk3588") // the totals are smaller again
	v = h.mustTick()
	if len(v) != 1 { // io full stood still
		t.Errorf("after a reset: %v", v)
	}
}

func TestPressure_Absent(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewPressure, "raspberrypi5")
	if _, err := h.tick(); !errors.Is(err, proc.ErrNotSupported) {
		t.Errorf("got %v, want not supported", err)
	}
	h.lay("psi-no-cpu-full")
	h.remove("proc/pressure/io") // one of them missing is not worth an error
	h.mustTick()
	h.mustTick().want(t, values{"pressure.cpu_some_percent": 0.0, "pressure.memory_full_percent": 0.0, "pressure.io_some_percent": nil})
}

func TestPressure_OneFileFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewPressure, "rk3588")
	h.mustTick()
	h.write("proc/pressure/memory", "some avg10=0.28 avg60=1.04 avg3")
	v, err := h.tick()
	if err != nil || len(h.batch.Errors) != 1 || len(v) != 3 {
		t.Errorf("got %v, %v, sensors %v", v, err, h.batch.Errors)
	}
	h.lay("rk3588")
	h.mustTick().want(t, values{"pressure.memory_some_percent": nil, "pressure.io_some_percent": 0.0})
	h.mustTick().want(t, values{"pressure.memory_some_percent": 0.0})
}

func TestPressure_ShareWithinBounds(t *testing.T) {
	t.Parallel()
	series := testDevice.Series("pressure.io_some_percent")
	rapid.Check(t, func(t *rapid.T) {
		last, now := rapid.Uint64().Draw(t, "last"), rapid.Uint64().Draw(t, "now")
		elapsed := rapid.Float64Range(0.001, 1e6).Draw(t, "elapsed")
		var b Batch
		addStall(&b, series, last, now, elapsed)
		grew := now >= last && now != proc.Absent
		possible := grew && float64(now-last)/1e6 <= 1.5*elapsed+1
		if len(b.Samples) > 0 != possible || len(b.Errors) > 0 != (grew && !possible) {
			t.Fatalf("got %v, %v", b.Samples, b.Errors)
		}
		for _, s := range b.Samples {
			if !(s.Value >= 0 && s.Value <= 100) {
				t.Fatalf("%v percent", s.Value)
			}
		}
	})
}
