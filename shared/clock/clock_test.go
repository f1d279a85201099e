package clock

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	before := time.Now()
	m, next := Read(), Read()
	if m.Wall.Before(before.Round(0)) || m.Wall.After(time.Now().Round(0)) {
		t.Errorf("the wall clock says %v", m.Wall)
	}
	if m.Boot <= 0 || next.Boot < m.Boot {
		t.Errorf("the boot clock says %v, then %v", m.Boot, next.Boot)
	}
	if m.BootID != BootID() {
		t.Errorf("boot %q, want %q", m.BootID, BootID())
	}
	m = Moment{Wall: time.UnixMilli(5000), Boot: 6 * time.Second}
	if got := m.WallMinusBoot(); got != -1000 {
		t.Errorf("wall minus boot %d", got)
	}
}

// TestPair: a process that loses the processor between the clocks reads them again.
func TestPair(t *testing.T) {
	t.Parallel()
	f := func(pauses []time.Duration, reads int, off time.Duration) {
		t.Helper()
		var boot time.Duration
		n := 0
		wall, since := pair(func() time.Time {
			n++
			boot += pauses[min(n, len(pauses))-1] // before the wall clock is read
			return time.Unix(0, 0).Add(boot)
		}, func() time.Duration { return boot })
		if got := wall.Sub(time.Unix(0, 0)) - since; n != reads || got != off {
			t.Errorf("pauses %v: %d readings, %v apart; want %d, %v", pauses, n, got, reads, off)
		}
	}
	f([]time.Duration{0}, 1, 0)
	f([]time.Duration{time.Second, time.Minute, 4 * time.Millisecond, 0}, 3, 2*time.Millisecond)
	f([]time.Duration{time.Hour, time.Minute, time.Hour, time.Hour, time.Hour}, readings, 30*time.Second)
}

// TestBootID: the unit passes it in the form that systemd has, without dashes.
func TestBootID(t *testing.T) {
	const want = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
	f := func(text, want string) {
		t.Helper()
		t.Setenv("BELABOX_BOOT_ID", text)
		if got := BootID(); got != want {
			t.Errorf("%q: boot %q, want %q", text, got, want)
		}
	}
	f(want, want)
	f(strings.ReplaceAll(want, "-", ""), want)
	f("nonsense", "")
	kernel, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		kernel = nil // not Linux
	}
	f("", strings.TrimSpace(string(kernel)))
}
