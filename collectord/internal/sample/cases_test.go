package sample

import (
	"math"
	"strings"
	"testing"

	"belabox-metrics/collectord/internal/proc"
)

// faults fails unless the last tick had failures with these names.
func (h *harness) faults(t *testing.T, err error, names ...string) {
	t.Helper()
	var got []string
	for _, e := range h.batch.Errors {
		got = append(got, e.(*Fault).Name())
	}
	if err != nil || strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("got %v, failures %v, want those of %v", err, h.batch.Errors, names)
	}
}

// TestMemory_SwapNegative: lxcfs prints what is less than nothing as an unsigned number.
func TestMemory_SwapNegative(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewMemory, "memory-swap-negative")
	v, err := h.tick()
	h.faults(t, err, "meminfo")
	v.want(t, values{
		"memory.total_bytes": 2000000 * 1024.0, "memory.available_bytes": 1500000 * 1024.0, "memory.used_bytes": 500000 * 1024.0,
		"memory.swap_total_bytes": nil, "memory.swap_used_bytes": nil,
	})
	// The same with other lines.
	h.write("proc/meminfo", "MemTotal: 10 kB\nMemFree: 5 kB\nMemAvailable: -3 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\n")
	v, err = h.tick()
	h.faults(t, err, "meminfo")
	v.want(t, values{
		"memory.total_bytes": 10240.0, "memory.available_bytes": nil, "memory.used_bytes": nil,
		"memory.swap_total_bytes": 4096.0, "memory.swap_used_bytes": 1024.0,
	})
	h.write("proc/meminfo", "MemFree: 5 kB\nMemAvailable: 3 kB\n")
	v, err = h.tick()
	h.faults(t, err, "meminfo")
	v.want(t, values{"memory.total_bytes": nil, "memory.available_bytes": 3072.0, "memory.used_bytes": nil, "memory.swap_used_bytes": nil})
}

// TestDisk_NegativeTimes: some kernels let the times of a device overflow.
func TestDisk_NegativeTimes(t *testing.T) {
	t.Parallel()
	newDisk := func(fs proc.FS, reg *Registry) Collector { return must(NewDisk(fs, reg, defaultDisks)) }
	h := newHarness(t, newDisk, "disk-negative-times")
	_, err := h.tick()
	h.faults(t, err, "diskstats")
	h.lay("disk-negative-times-later")
	v, err := h.tick()
	h.faults(t, err, "diskstats")
	of := func(metric, disk string) string { return "disk." + metric + `{"device":"` + disk + `"}` }
	for _, disk := range []string{"sda", "sdb", "sdc"} {
		v.want(t, values{
			of("reads_total", disk): 200.0, of("reads_per_second", disk): 10.0, of("writes_per_second", disk): 10.0,
			of("written_bytes_total", disk): 8000 * 512.0, of("written_bytes_per_second", disk): 102400.0,
		})
	}
	v.want(t, values{
		of("read_bytes_total", "sda"): 4000 * 512.0, of("busy_percent", "sda"): nil,
		of("read_bytes_total", "sdb"): 4000 * 512.0, of("busy_percent", "sdb"): 5.0, // requests under way are not used
		of("read_bytes_total", "sdc"): nil, of("read_bytes_per_second", "sdc"): nil, of("busy_percent", "sdc"): 5.0,
	})
}

// TestDisk_BusyJumps: more than the time that passed is no busy disk.
func TestDisk_BusyJumps(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(fs proc.FS, reg *Registry) Collector { return must(NewDisk(fs, reg, defaultDisks)) })
	h.write("proc/diskstats", "8 0 sda 1 0 1 0 1 0 1 0 0 100 0\n")
	h.mustTick()
	h.write("proc/diskstats", "8 0 sda 1 0 1 0 1 0 1 0 0 10300 0\n") // 10.2 s of 10 s
	h.mustTick().want(t, values{`disk.busy_percent{"device":"sda"}`: 100.0})
	h.write("proc/diskstats", "8 0 sda 1 0 1 0 1 0 1 0 0 60000 0\n")
	v, err := h.tick()
	h.faults(t, err, "disk.busy_percent/sda")
	v.want(t, values{`disk.busy_percent{"device":"sda"}`: nil, `disk.reads_per_second{"device":"sda"}`: 0.0})
}

// TestCPU_StealJumps: a hypervisor counted 2^64 nanoseconds as stolen from one core.
func TestCPU_StealJumps(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU, "cpu-steal-jump")
	h.mustTick()
	h.lay("cpu-steal-jump-later")
	v, err := h.tick()
	h.faults(t, err, "cpu.usage_percent/all", "cpu.usage_percent/0")
	v.want(t, values{
		allCores: nil, usage(0): nil, usage(1): 6.1224, "cpu.steal_percent": nil, "cpu.iowait_percent": nil, // 30 of 490 ticks
		"system.context_switches_total": 900.0,
	})
	h.mustTick().want(t, values{allCores: nil}) // no time passed
	stat := h.read("proc/stat")
	h.write("proc/stat", strings.NewReplacer(" 17920 ", " 18720 ", " 2040 ", " 2080 ").Replace(stat))
	h.mustTick().want(t, values{allCores: 4.7619, "cpu.steal_percent": 0.0}) // 40 of 840, on from the new number
	// A bad line of one core costs that core; a core that lacks its line for a tick starts again.
	h.write("proc/stat", strings.NewReplacer(" 17920 ", " 18720 ", " 2040 ", " 2080 ", "cpu1 1020 0", "cpu1 1020 -1").Replace(stat))
	v, err = h.tick()
	h.faults(t, err, "stat")
	v.want(t, values{usage(1): nil, "system.processes_running": 2.0})
}

// TestCPU_LinesMissing: an emulation of /proc need not have all lines.
func TestCPU_LinesMissing(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewCPU)
	h.write("proc/stat", "cpu 1000 0 0 9000 0 0 0 0\nbtime 1795000000\n")
	_, err := h.tick()
	h.faults(t, err, "stat")
	h.write("proc/stat", "cpu 1050 0 0 9050 0 0 0 0\nbtime 1795000000\n")
	v, err := h.tick()
	h.faults(t, err, "stat")
	v.want(t, values{allCores: 50.0, "system.context_switches_total": nil, "system.processes_running": nil})
}

func TestLoad_BadField(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewLoad, "load-bad-field")
	v, err := h.tick()
	h.faults(t, err, "loadavg")
	v.want(t, values{"load.average_1m": 0.5, "load.average_5m": nil, "load.average_15m": 0.75})
	h.write("proc/loadavg", "0.50 0.25 0.7") // cut: a digit may be missing
	v, err = h.tick()
	h.faults(t, err, "loadavg")
	v.want(t, values{"load.average_1m": 0.5, "load.average_5m": 0.25, "load.average_15m": nil})
}

func TestSystem_UptimeGoesBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(fs proc.FS, reg *Registry) Collector { return NewSystem(fs, "/nonexistent", reg) }, "rk3588")
	for _, step := range []struct {
		text  string
		want  any
		fault []string
	}{
		{"5000.10 1.00\n", 5000.1, nil},
		{"5010.10 1.00\n", 5010.1, nil},
		{"4000.00 1.00\n", nil, []string{"system.uptime_seconds"}},
		{"4010.00 1.00\n", 4010.0, nil}, // restored from a snapshot: on from there
		{"99999999999999.0 1.00\n", nil, []string{"system.uptime_seconds"}},
	} {
		h.write("proc/uptime", step.text)
		v, err := h.tick()
		h.faults(t, err, step.fault...)
		v.want(t, values{"system.uptime_seconds": step.want})
	}
}

// TestPressure_Jumps: stalls of more than the time that passed are no stall of all of it.
func TestPressure_Jumps(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewPressure, "rk3588")
	h.mustTick()
	h.write("proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=18446744073709\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=-1\n")
	v, err := h.tick()
	h.faults(t, err, "pressure.io_some_percent", "io")
	v.want(t, values{"pressure.io_some_percent": nil, "pressure.io_full_percent": nil, "pressure.memory_some_percent": 0.0})
}

// TestFilesystem_ImpossibleUsage: what a server reports need not add up.
func TestFilesystem_ImpossibleUsage(t *testing.T) {
	t.Parallel()
	h := newHarness(t, NewFilesystem)
	h.write("proc/1/mounts", "/dev/sda1 / ext4 rw 0 0\n")
	for _, c := range []struct {
		usage proc.FilesystemUsage
		want  values
		fault []string
	}{
		{
			proc.FilesystemUsage{Size: 100, Free: 50, Available: 40, Files: 10, FilesFree: 10},
			values{"size_bytes": 100.0, "free_bytes": 50.0, "available_bytes": 40.0, "files_free": 10.0},
			nil,
		},
		{
			proc.FilesystemUsage{Size: 100, Free: 101, Available: 7.6e22, Files: 10, FilesFree: 11},
			values{"size_bytes": 100.0, "free_bytes": nil, "available_bytes": nil, "files_free": nil},
			[]string{"filesystem.free_bytes///ext4", "filesystem.available_bytes///ext4", "filesystem.files_free///ext4"},
		},
		{
			proc.FilesystemUsage{Size: math.Exp2(76), Free: 50, Available: 40},
			values{"size_bytes": nil, "free_bytes": 50.0, "available_bytes": 40.0},
			[]string{"filesystem.size_bytes///ext4"},
		},
	} {
		h.collector.(*filesystem).statfs = func(string) (proc.FilesystemUsage, error) { return c.usage, nil }
		v, err := h.tick()
		h.faults(t, err, c.fault...)
		for metric, value := range c.want {
			v.want(t, values{"filesystem." + metric + `{"fstype":"ext4","mountpoint":"/"}`: value})
		}
	}
}
