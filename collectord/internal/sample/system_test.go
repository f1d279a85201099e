package sample

import (
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

func newTestSystem(fs proc.FS, reg *Registry) Collector {
	return NewSystem(fs, filepath.Join(fs.Proc, "../os-release"), reg)
}

func TestSystem(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newTestSystem, "rk3588")
	h.write("os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
	h.mustTick().want(t, values{
		"system.uptime_seconds":    7345.62,
		"system.boot_time_seconds": 1795447556.0,
		"system.kernel_release":    "6.1.115-vendor-rk35xx",
		"system.os_name":           "Debian GNU/Linux 12 (bookworm)",
		"system.board_model":       "Radxa ROCK 5B",
	})
}

func TestSystem_StringsAreStoredOnChange(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newTestSystem, "rk3588")
	h.write("os-release", "PRETTY_NAME=Old\n")
	h.mustTick()
	for range 20 {
		h.mustTick().want(t, values{"system.os_name": nil, "system.kernel_release": nil, "system.board_model": nil})
	}
	h.write("os-release", "PRETTY_NAME=New\n")
	seen := 0
	for range 7 { // noticed within a minute
		v := h.mustTick()
		if v["system.os_name"] == "New" {
			seen++
		}
		v.want(t, values{"system.kernel_release": nil})
	}
	if seen != 1 {
		t.Errorf("the change was stored %d times, want once", seen)
	}
}

// A row is pruned some day, so a string that never changes is stored again.
func TestSystem_StringsAreStoredHourly(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newTestSystem, "rk3588")
	stored := 0
	for range 2*360 + 1 { // two hours of ticks, and the first
		if h.mustTick()["system.kernel_release"] != nil {
			stored++
		}
	}
	if stored != 3 {
		t.Errorf("stored %d times in two hours, want 3", stored)
	}
}

// What a machine does not have is no error; what cannot be read is one, in
// every tick, and costs the others nothing.
func TestSystem_AbsentAndUnreadable(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newTestSystem, "rk3588")
	h.remove("proc/device-tree")
	h.mustTick().want(t, values{"system.board_model": nil, "system.os_name": nil, "system.uptime_seconds": 7345.62})

	h = newHarness(t, newTestSystem, "rk3588")
	h.write("os-release/is/a/folder", "")
	for i := range 3 {
		v, err := h.tick()
		if err != nil || len(h.batch.Errors) != 1 {
			t.Errorf("tick %d: %v, sensors %v", i, err, h.batch.Errors)
		}
		v.want(t, values{"system.uptime_seconds": 7345.62, "system.boot_time_seconds": 1795447556.0})
	}
	h.remove("os-release")
	h.write("os-release", "PRETTY_NAME=Back\n")
	h.mustTick().want(t, values{"system.os_name": "Back"})

	h.write("proc/uptime", "")
	if _, err := h.tick(); err == nil {
		t.Error("no error without an uptime")
	}
}

func TestSystem_BootTimeMovesWithTheWallClock(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newTestSystem, "rk3588")
	h.mustTick()
	step := func(up string) {
		h.write("proc/uptime", up+" 1.00\n")
	}
	// The kernel would print another time, but nothing says that the clock was set.
	h.write("proc/stat", "cpu 1 2 3 4\nctxt 1\nbtime 1700000000\nprocs_running 1\nprocs_blocked 0\n")
	step("7355.62")
	h.mustTick().want(t, values{"system.boot_time_seconds": 1795447556.0})
	h.at = h.at.Add(-time.Hour)
	step("7365.62")
	h.mustTick().want(t, values{"system.boot_time_seconds": 1700000000.0})
	h.remove("proc/stat")
	h.at = h.at.Add(time.Hour)
	step("7375.62")
	if v, err := h.tick(); err != nil || len(h.batch.Errors) != 1 || v["system.boot_time_seconds"] != nil {
		t.Errorf("got %v, %v, sensors %v", v, err, h.batch.Errors)
	}
}
