//go:build linux && (amd64 || arm64)

package sample

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// TestBoard_KernelErrors reads what drivers answer through the real kernel: those that have no
// value are no fault, those that fail are, and one that hangs costs the others nothing.
func TestBoard_KernelErrors(t *testing.T) {
	t.Parallel()
	tree := &kernelTree{Files: map[string]kernelFile{
		"class/devfreq/fb000000.gpu/cur_freq": {Text: "300000000\n"},
		"class/devfreq/fb000000.gpu/load":     {Errno: syscall.EINVAL}, // a governor without statistics
		"class/devfreq/fdab0000.npu/cur_freq": {Text: "1000000000\n", Hangs: true},
		"class/devfreq/dmc/cur_freq":          {Errno: syscall.EIO},
		"class/power_supply/BAT0/capacity":    {Errno: syscall.ENODATA},
		"class/power_supply/BAT0/status":      {Errno: syscall.ENODEV}, // a slot without its battery
		"class/power_supply/BAT0/voltage_now": {Errno: syscall.EAGAIN},
		"class/power_supply/BAT0/current_now": {Errno: syscall.ETIMEDOUT},
		"class/power_supply/BAT0/online":      {Text: "0\n"},
	}}
	sys, release, ok := tree.mount(t)
	if !ok {
		return
	}
	m := newMachine(t)
	c := NewBoard(proc.FS{Proc: m.fs().Proc, Sys: sys}, testDevice)
	c.(*board).sensors.waiter.limit = realLimit
	frequency := func(device string) string {
		return `devfreq.frequency_hertz{"device":"` + device + `","type":"` + device[strings.IndexByte(device, '.')+1:] + `"}`
	}
	for range 3 {
		m.at = m.at.Add(time.Minute)
		r := m.tick(c)
		r.want(t, "", map[string]float64{frequency("fb000000.gpu"): 3e8, `power.online{"supply":"BAT0"}`: 0})
		r.wantFaults(t, 3)
		joined := errors.Join(r.errs...)
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ETIMEDOUT} {
			if !errors.Is(joined, errno) {
				t.Errorf("no error for %v among %v", errno, joined)
			}
		}
		if !strings.Contains(joined.Error(), "fdab0000.npu/cur_freq: no answer") {
			t.Errorf("no error for the device that hangs among %v", joined)
		}
	}
	release()
	deadline := time.Now().Add(2 * time.Minute)
	for m.tick(c).values[frequency("fdab0000.npu")] != 1e9 {
		if time.Now().After(deadline) {
			t.Fatal("the device answers again and gives no sample")
		}
	}
}
