package sample

import "testing"

func TestMemory(t *testing.T) {
	t.Parallel()
	const kB = 1024.0
	h := newHarness(t, NewMemory, "rk3588")
	h.mustTick().want(t, values{
		"memory.total_bytes":      16092340 * kB,
		"memory.available_bytes":  13987650 * kB,
		"memory.used_bytes":       (16092340 - 13987650) * kB,
		"memory.swap_total_bytes": 8046164 * kB,
		"memory.swap_used_bytes":  6164 * kB,
	})
	h.lay("no-memavailable")
	h.mustTick().want(t, values{
		"memory.available_bytes":  475000 * kB,
		"memory.used_bytes":       525000 * kB,
		"memory.swap_total_bytes": 0.0,
		"memory.swap_used_bytes":  0.0,
	})
}

// More left than there is: no sample of what would be negative, all others.
func TestMemory_ImpossibleNumbers(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewMemory, "memory-impossible")
	v, err := h.tick()
	if err != nil || len(h.batch.Errors) != 2 {
		t.Errorf("got %v, sensors %v", err, h.batch.Errors)
	}
	v.want(t, values{"memory.total_bytes": 1000000 * 1024.0, "memory.used_bytes": nil, "memory.swap_used_bytes": nil})
}

func TestLoad(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewLoad, "rk3588")
	h.mustTick().want(t, values{"load.average_1m": 2.31, "load.average_5m": 1.97, "load.average_15m": 0.85})
}

func TestSources_FailWhole(t *testing.T) {
	t.Parallel()
	for _, h := range []*harness{
		newHarness(t, NewMemory),
		newHarness(t, NewLoad),
		newHarness(t, NewCPU),
	} {
		for _, file := range []string{"meminfo", "loadavg", "stat"} {
			h.write("proc/"+file, "")
		}
		if v, err := h.tick(); err == nil || len(v) > 0 {
			t.Errorf("%s: got %v, %v, want an error and no sample", h.collector.Name(), v, err)
		}
	}
}
