package proc

import (
	"errors"
	"os"
	"testing"
)

func TestThermalZones_Boards(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string]map[string]float64{
		"rk3588": {
			"thermal_zone0 soc-thermal": 48.076, "thermal_zone1 bigcore0-thermal": 49.923,
			"thermal_zone2 bigcore1-thermal": 49, "thermal_zone3 littlecore-thermal": 48.076,
			"thermal_zone4 center-thermal": 47.153, "thermal_zone5 gpu-thermal": 46.230,
			"thermal_zone6 npu-thermal": 46.230,
		},
		"raspberrypi5": {"thermal_zone0 cpu-thermal": 51.8},
	} {
		zones, err := ThermalZones(treeOf(tree))
		if err != nil || len(zones) != len(want) {
			t.Errorf("%s: %d zones, %v", tree, len(zones), err)
		}
		for _, z := range zones {
			if got, err := z.Read(); got != want[z.Name+" "+z.Type] || err != nil {
				t.Errorf("%s %s %s: got %v, %v", tree, z.Name, z.Type, got, err)
			}
		}
	}
}

func TestThermalZones_DeadOnes(t *testing.T) {
	t.Parallel()
	zones, err := ThermalZones(treeOf("thermal-dead-zones"))
	if err != nil {
		t.Fatal(err)
	}
	alive := map[string]float64{"cpu-thermal": 45.123, "freezer": -18.5, "": 0}
	if len(zones) != 10 {
		t.Errorf("%d zones, want 10", len(zones))
	}
	for _, z := range zones {
		want, ok := alive[z.Type]
		got, err := z.Read()
		switch {
		case ok && (got != want || err != nil):
			t.Errorf("%s: got %v, %v, want %v", z.Type, got, err, want)
		case !ok && err == nil:
			t.Errorf("%s: got %v and no error", z.Type, got)
		}
		if e, isParse := errors.AsType[*ParseError](err); isParse && e.File != z.Path() {
			t.Errorf("error %v does not name %s", err, z.Path())
		}
	}
}

func TestThermalZones_NoneAndUnreadable(t *testing.T) {
	t.Parallel()
	fs := FS{Sys: t.TempDir()}
	if _, err := ThermalZones(fs); !isNotSupported(err) {
		t.Errorf("no folder: %v", err)
	}
	// A type that is a folder cannot be read; its zone is there all the same.
	writeFile(t, fs.SysPath("class/thermal/thermal_zone0/type/x"), "")
	writeFile(t, fs.SysPath("class/thermal/thermal_zone0/temp"), "1000\n")
	zones, err := ThermalZones(fs)
	if len(zones) != 1 || err == nil {
		t.Fatalf("got %d zones, %v", len(zones), err)
	}
	if got, err := zones[0].Read(); got != 1 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.RemoveAll(fs.SysPath("class/thermal/thermal_zone0")); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseMilliCelsius(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		celsius, err := parseMilliCelsius(text)
		if err != nil && celsius != 0 {
			t.Errorf("got %v with error %v", celsius, err)
		}
		if !(celsius >= minCelsius && celsius <= maxCelsius) {
			t.Errorf("%q: got %v", text, celsius)
		}
	}, "*/sys/class/*/*/temp*")
}
