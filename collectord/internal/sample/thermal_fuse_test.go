//go:build linux && (amd64 || arm64)

package sample

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// TestThermal_KernelErrors reads zones that answer what broken ones were seen to
// answer, through the real kernel, and one that hangs. What that costs in time is
// shown by TestSensors_HangingSensorSilencesNoOther.
func TestThermal_KernelErrors(t *testing.T) {
	t.Parallel()
	errnos := []syscall.Errno{syscall.EAGAIN, syscall.EINVAL, syscall.ENODATA, syscall.ENXIO, syscall.EIO}
	tree := &kernelTree{Files: map[string]kernelFile{
		"class/thermal/thermal_zone0/type": {Text: "soc-thermal\n"},
		"class/thermal/thermal_zone0/temp": {Text: "48076\n"},
		"class/thermal/thermal_zone1/type": {Text: "npu-thermal\n"},
		"class/thermal/thermal_zone1/temp": {Text: "51000\n", Hangs: true},
	}}
	for i, errno := range errnos {
		dir := fmt.Sprintf("class/thermal/thermal_zone%d", 2+i)
		tree.Files[dir+"/type"] = kernelFile{Text: errno.Error() + "\n"}
		tree.Files[dir+"/temp"] = kernelFile{Errno: errno}
	}
	sys, release, ok := tree.mount(t)
	if !ok {
		return
	}

	m := newMachine(t)
	c := NewThermal(proc.FS{Sys: sys}, testDevice)
	c.(*thermal).zones.waiter.limit = realLimit
	soc := map[string]float64{`thermal.zone_celsius{"type":"soc-thermal","zone":"thermal_zone0"}`: 48.076}
	for range 5 {
		r := m.tick(c)
		r.want(t, "thermal.", soc)
		r.wantFaults(t, 1+len(errnos))
		joined := errors.Join(r.errs...)
		for _, errno := range errnos {
			if !errors.Is(joined, errno) {
				t.Errorf("no error for %v among %v", errno, joined)
			}
		}
		if !strings.Contains(joined.Error(), "thermal_zone1/temp: no answer") {
			t.Errorf("no error for the zone that hangs among %v", joined)
		}
	}
	release()
	deadline := time.Now().Add(2 * time.Minute)
	for len(m.tick(c).values) != 2 {
		if time.Now().After(deadline) {
			t.Fatal("the zone answers again and gives no sample")
		}
	}
}
