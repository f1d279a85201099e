package sample

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
)

func usage(id int) string { return fmt.Sprintf(`cpu.usage_percent{"core":"%d"}`, id) }

const allCores = `cpu.usage_percent{"core":"all"}`

func TestCPU_FirstReadingHasNoShares(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-offline")
	v := h.mustTick()
	v.want(t, values{
		"system.context_switches_total": 91234567.0,
		"system.processes_running":      2.0,
		"system.processes_blocked":      1.0,
	})
	if len(v) != 3 {
		t.Errorf("got %v, want nothing else", v)
	}
}

const statTail = "\nctxt 1\nbtime 1\nprocs_running 1\nprocs_blocked 0\n"

// TestCPU_Delta: each core by its own two readings, and "all" by the kernel's sum of
// them; not the time since boot.
func TestCPU_Delta(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU)
	h.write("proc/stat", "cpu 9000 0 1000 90000 0 0 0 0\ncpu0 8000 0 500 10000 0 0 0 0\ncpu1 1000 0 500 80000 0 0 0 0"+statTail)
	h.mustTick().want(t, values{allCores: nil, usage(0): nil, usage(1): nil})
	// 75 of 100 on core 0, 25 of 100 on core 1.
	h.write("proc/stat", "cpu 9080 0 1020 90100 0 0 0 0\ncpu0 8060 0 515 10025 0 0 0 0\ncpu1 1020 0 505 80075 0 0 0 0"+statTail)
	h.mustTick().want(t, values{allCores: 50.0, usage(0): 75.0, usage(1): 25.0})
	// Core 1 rests, core 0 does not.
	h.write("proc/stat", "cpu 9180 0 1020 90200 0 0 0 0\ncpu0 8160 0 515 10025 0 0 0 0\ncpu1 1020 0 505 80175 0 0 0 0"+statTail)
	h.mustTick().want(t, values{allCores: 50.0, usage(0): 100.0, usage(1): 0.0})
}

// TestCPU_NoTimePassed: two readings that are the same divide by nothing.
func TestCPU_NoTimePassed(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU)
	h.write("proc/stat", "cpu 9000 0 1000 90000 0 0 0 0\ncpu0 9000 0 1000 90000 0 0 0 0"+statTail)
	h.mustTick()
	v := h.mustTick()
	v.want(t, values{allCores: nil, usage(0): nil, "cpu.iowait_percent": nil, "cpu.steal_percent": nil})
	if v["system.processes_running"] != 1.0 {
		t.Errorf("got %v, want what needs no division", v)
	}
}

func TestCPU_OfflineCoreComesBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-offline-later")
	h.mustTick()
	h.lay("cpu-offline") // cpu2 goes; what is left is from before, as if reset
	v := h.mustTick()
	v.want(t, values{usage(0): nil, usage(2): nil, allCores: nil})

	h.lay("cpu-offline-later") // 100 more of each of 10 columns, of which 2 are idle; guests are within
	v = h.mustTick()
	v.want(t, values{usage(0): 75.0, usage(1): 75.0, usage(3): 75.0, allCores: 75.0})
	v.want(t, values{usage(2): nil}) // back, but its last reading is not from the tick before

	// From its second reading on it has samples again, also where it is the only
	// one left: 100 user, 100 system, 200 idle more.
	h.write("proc/stat", "cpu  1 1 1 1\ncpu2 1202 100 702 90302 200 100 110 100 100 100\nctxt 1\nbtime 1\nprocs_running 1\nprocs_blocked 0\n")
	h.mustTick().want(t, values{usage(2): 50.0, allCores: nil, usage(0): nil})
}

func TestCPU_CounterWrapOrReset(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-counter-wrap")
	if _, err := h.tick(); err != nil || len(h.batch.Errors) != 1 { // the numbers just below 2^64
		t.Errorf("got %v, sensors %v", err, h.batch.Errors)
	}
	h.lay("cpu-counter-wrap-later")
	v := h.mustTick()
	v.want(t, values{
		allCores: nil, "cpu.iowait_percent": nil, "cpu.steal_percent": nil, usage(0): nil,
		usage(1): 80.0, // 50 user + 25 system + 5 softirq, 20 idle, iowait 10 back
	})
}

func TestCPU_GuestTimeCountsOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-guest")
	h.mustTick()
	h.lay("cpu-guest-later")
	h.mustTick().want(t, values{allCores: 50.0, usage(0): 50.0}) // 60 user + 40 nice, 100 idle
}

func TestCPU_IOWaitAndSteal(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-four-columns")
	h.mustTick()
	h.write("proc/stat", "cpu 410 10 200 9020 50 5 5 10"+statTail)
	h.mustTick().want(t, values{
		allCores:             30.0, // 10 user, 10 irq, 10 steal of 100
		"cpu.iowait_percent": 50.0,
		"cpu.steal_percent":  10.0,
	})
}

func TestCPU_ErrorThenBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-guest")
	h.mustTick()
	h.write("proc/stat", "")
	if v, err := h.tick(); err == nil || len(v) > 0 {
		t.Errorf("empty: got %v, %v", v, err)
	}
	h.remove("proc/stat")
	h.collector.(*cpu).stat.Close()
	if _, err := h.tick(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	h.lay("cpu-guest-later")
	h.mustTick().want(t, values{allCores: 50.0}) // since the last good reading
}

// Whatever two readings hold, in whatever order: shares within 0 and 100 that
// add up, or none.
func TestShares_WithinBounds(t *testing.T) {
	t.Parallel()
	counter := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1000), rapid.Uint64Range(math.MaxUint64-1000, math.MaxUint64))
	times := rapid.Custom(func(t *rapid.T) (c proc.CPUTimes) {
		for _, p := range []*uint64{&c.User, &c.Nice, &c.System, &c.Idle, &c.IOWait, &c.IRQ, &c.SoftIRQ, &c.Steal} {
			*p = counter.Draw(t, "counter")
		}
		return c
	})
	rapid.Check(t, func(t *rapid.T) {
		last, now := times.Draw(t, "last"), times.Draw(t, "now")
		if rapid.Bool().Draw(t, "forward") { // else nearly every pair is a reset
			now.User, now.Nice = max(now.User, last.User), max(now.Nice, last.Nice)
			now.System, now.Idle = max(now.System, last.System), max(now.Idle, last.Idle)
			now.IRQ, now.SoftIRQ = max(now.IRQ, last.IRQ), max(now.SoftIRQ, last.SoftIRQ)
			now.Steal = max(now.Steal, last.Steal)
		}
		s, ok := shares(&last, &now)
		if !ok {
			if s != (cpuShares{}) {
				t.Fatalf("not ok, but %+v", s)
			}
			return
		}
		for name, v := range map[string]float64{"usage": s.usage, "iowait": s.iowait, "steal": s.steal, "usage+iowait": s.usage + s.iowait} {
			if !(v >= 0 && v <= 100.001) || name != "usage+iowait" && v > 100 {
				t.Fatalf("%s = %v", name, v)
			}
		}
		if s.steal > s.usage {
			t.Fatalf("steal %v is part of usage %v", s.steal, s.usage)
		}
		if _, ok := shares(&now, &now); ok {
			t.Fatal("shares of no time")
		}
	})
}

func frequency(core int) string { return fmt.Sprintf(`cpu.frequency_hertz{"core":"%d"}`, core) }

func TestCPU_Frequencies(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "rk3588")
	h.mustTick().want(t, values{
		frequency(0): 1.8e9, frequency(3): 1.8e9, frequency(4): 2.208e9, frequency(5): 2.208e9, frequency(7): 2.256e9, frequency(8): nil,
	})
	h.write("sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "408000\n")
	h.mustTick().want(t, values{frequency(0): 1.8e9, frequency(4): 4.08e8, frequency(5): 4.08e8})
}

func TestCPU_FrequencyFault(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "rk3588")
	h.mustTick()
	h.write("sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "0\n")
	for range 2 { // told in every tick, once for the two cores
		v, err := h.tick()
		if err != nil || len(h.batch.Errors) != 1 {
			t.Errorf("got %v, sensors %v", err, h.batch.Errors)
		}
		v.want(t, values{frequency(3): 1.8e9, frequency(4): nil, frequency(5): nil, frequency(6): 2.256e9})
	}
	h.write("sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "600000\n")
	h.mustTick().want(t, values{frequency(4): 6e8, frequency(5): 6e8})
}

// A machine without frequency scaling has no samples and no errors; a driver
// that loads late is found.
func TestCPU_FrequencyDriverLoadsLate(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpufreq-unknown")
	h.remove("sys")
	h.mustTick().want(t, values{frequency(0): nil})
	h.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1800000\n")
	for range 5 {
		h.mustTick().want(t, values{frequency(0): nil})
	}
	h.mustTick().want(t, values{frequency(0): 1.8e9, frequency(1): nil}) // after a minute
}
