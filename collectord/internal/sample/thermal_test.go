package sample

import (
	"errors"
	"strings"
	"testing"

	"belabox-metrics/collectord/internal/proc"
)

func TestThermal_Boards(t *testing.T) {
	t.Parallel()
	key := func(zone, typ string) string {
		return `thermal.zone_celsius{"type":"` + typ + `","zone":"thermal_zone` + zone + `"}`
	}
	for tree, want := range map[string]map[string]float64{
		"rk3588": {
			key("0", "soc-thermal"): 48.076, key("1", "bigcore0-thermal"): 49.923, key("2", "bigcore1-thermal"): 49,
			key("3", "littlecore-thermal"): 48.076, key("4", "center-thermal"): 47.153,
			key("5", "gpu-thermal"): 46.230, key("6", "npu-thermal"): 46.230,
		},
		"raspberrypi5": {key("0", "cpu-thermal"): 51.8},
	} {
		r := newMachine(t).tick(NewThermal(treeOf(tree), testDevice))
		r.wantFaults(t, 0)
		r.want(t, "thermal.zone", want)
	}
}

func TestThermal_DeadZones(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	thermal := NewThermal(treeOf("thermal-dead-zones"), testDevice)
	for range 3 {
		r := m.tick(thermal)
		r.want(t, "thermal.", map[string]float64{
			`thermal.zone_celsius{"type":"cpu-thermal","zone":"thermal_zone0"}`: 45.123,
			`thermal.zone_celsius{"type":"freezer","zone":"thermal_zone8"}`:     -18.5,
			`thermal.zone_celsius{"type":"","zone":"thermal_zone9"}`:            0, // a zone that says 0 is at 0
		})
		r.wantFaults(t, 7)
		for i, err := range r.errs {
			if want := "thermal_zone" + string(rune('1'+i)) + "/temp"; !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %s", err, want)
			}
		}
	}
}

func TestThermal_None(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	thermal := NewThermal(m.fs(), testDevice)
	if r := m.tick(thermal); !errors.Is(r.err, proc.ErrNotSupported) || len(r.errs) > 0 {
		t.Errorf("got %v, %v", r.err, r.errs)
	}
	m.lay("raspberrypi5") // the driver is loaded later
	m.at = m.at.Add(relistInterval)
	if r := m.tick(thermal); r.err != nil || len(r.values) != 3 { // a zone and a fan
		t.Errorf("got %+v", r)
	}
}

func TestThermal_AllocatesNothing(t *testing.T) {
	wantNoAllocations(t, NewThermal(treeOf("rk3588"), testDevice))
}

func BenchmarkThermal(b *testing.B) {
	benchCollector(b, NewThermal(treeOf("rk3588"), testDevice))
}
