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

// TestThermometer_Unit: the kernels of some vendors print whole degrees. A number below 1000 counts
// only if something else tells the unit.
func TestThermometer_Unit(t *testing.T) {
	t.Parallel()
	const none, degrees = 1e9, true
	for _, c := range []struct {
		name     string
		degrees  bool // what the trip points say
		readings []string
		want     []float64
	}{
		{"thousandths", false, []string{"43000", "43", "-999", "0", "-18500"}, []float64{43, 0.043, -0.999, 0, -18.5}},
		{"not to be known", false, []string{"43", "0", "99", "1000", "99"}, []float64{none, 0, none, 1, 0.099}},
		{"whole degrees", degrees, []string{"43", "-20", "0", "250", "251"}, []float64{43, -20, 0, 250, none}},
		{"thousandths with odd trip points", degrees, []string{"43000", "43"}, []float64{43, 0.043}},
		{"tenths", degrees, []string{"430"}, []float64{none}},
		{"millionths", degrees, []string{"43000000", "-2147483648", "9223372036854775807"}, []float64{none, none, none}},
		{"kelvin", false, []string{"316150", "-273150"}, []float64{none, none}},
		{"no number", degrees, []string{"", "43 43", "N/A", "0x2b"}, []float64{none, none, none, none}},
	} {
		m := &thermometer{inDegrees: func() bool { return c.degrees }}
		for i, text := range c.readings {
			got, err := m.parse([]byte(text + "\n"))
			if want := c.want[i]; want == none && err == nil || want != none && (got != want || err != nil) {
				t.Errorf("%s: %q: got %v, %v, want %v", c.name, text, got, err, want)
			}
		}
	}
}

// TestThermalZones_TripPointsTellTheUnit looks at the files.
func TestThermalZones_TripPointsTellTheUnit(t *testing.T) {
	t.Parallel()
	zones, err := ThermalZones(treeOf("thermal-units"))
	if err != nil || len(zones) != 4 {
		t.Fatalf("%d zones, %v", len(zones), err)
	}
	for _, z := range zones {
		got, err := z.Read()
		if want := map[string]float64{"whole-degrees": 43}[z.Type]; got != want || (want == 0) != (err != nil) {
			t.Errorf("%s: got %v, %v", z.Type, got, err)
		}
	}
}

// TestThermalZones_SwitchedOff: of two zones that cannot be read one is meant to be so.
func TestThermalZones_SwitchedOff(t *testing.T) {
	t.Parallel()
	zones, err := ThermalZones(treeOf("thermal-disabled"))
	if err != nil || len(zones) != 3 {
		t.Fatalf("%d zones, %v", len(zones), err)
	}
	for _, z := range zones {
		got, err := z.Read()
		switch z.Type {
		case "off":
			if !isNotSupported(err) {
				t.Errorf("got %v, %v, want not supported", got, err)
			}
		case "dead":
			if err == nil || isNotSupported(err) {
				t.Errorf("got %v, %v, want an error", got, err)
			}
		case "off-and-readable":
			if got != 43 || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		}
	}
}

func FuzzThermometer(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		for _, m := range []*thermometer{{}, {thousandths: true}, {inDegrees: func() bool { return true }}} {
			celsius, err := m.parse(text)
			if err != nil && celsius != 0 {
				t.Errorf("got %v with error %v", celsius, err)
			}
			if !(celsius >= minCelsius && celsius <= maxCelsius) {
				t.Errorf("%q: got %v", text, celsius)
			}
		}
	}, "*/sys/class/*/*/temp*")
}
