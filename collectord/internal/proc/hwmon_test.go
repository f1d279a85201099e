package proc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestHwmonSensors_Boards(t *testing.T) {
	t.Parallel()
	type id struct{ chip, device, name, label string }
	for tree, want := range map[string]map[id]float64{
		"rk3588": {
			{"soc_thermal", "thermal_zone0", "temp1", ""}:        48.076,
			{"bigcore0_thermal", "thermal_zone1", "temp1", ""}:   49.923,
			{"bigcore1_thermal", "thermal_zone2", "temp1", ""}:   49,
			{"littlecore_thermal", "thermal_zone3", "temp1", ""}: 48.076,
			{"center_thermal", "thermal_zone4", "temp1", ""}:     47.153,
			{"gpu_thermal", "thermal_zone5", "temp1", ""}:        46.230,
			{"npu_thermal", "thermal_zone6", "temp1", ""}:        46.230,
			{"nvme", "nvme0", "temp1", "Composite"}:              41.85,
			{"nvme", "nvme0", "temp2", "Sensor 1"}:               41.85,
			{"nvme", "nvme0", "temp3", "Sensor 2"}:               46.85,
		},
		"raspberrypi5": {
			{"cpu_thermal", "thermal_zone0", "temp1", ""}: 51.8,
			{"rp1_adc", "1f000c8000.adc", "temp1", ""}:    50.434,
		},
	} {
		sensors, err := temperatures(treeOf(tree))
		if err != nil || len(sensors) != len(want) {
			t.Errorf("%s: %d sensors, %v, want %d", tree, len(sensors), err, len(want))
		}
		for _, s := range sensors {
			id := id{s.Chip, s.Device, s.Name, s.Label}
			if got, err := s.Input.Read(); got != want[id] || got == 0 || err != nil {
				t.Errorf("%s %v: got %v, %v", tree, id, got, err)
			}
		}
	}
}

// temperatures lists the sensors that measure one.
func temperatures(fs FS) ([]*HwmonSensor, error) {
	sensors, err := HwmonSensors(fs)
	return slices.DeleteFunc(sensors, func(s *HwmonSensor) bool { return s.Kind != "temp" || s.Input == nil }), err
}

func TestHwmonSensors_Faults(t *testing.T) {
	t.Parallel()
	sensors, err := temperatures(treeOf("hwmon-faults"))
	if err != nil || len(sensors) != 6 {
		t.Fatalf("%d sensors, %v", len(sensors), err)
	}
	for _, s := range sensors {
		celsius, err := s.Input.Read()
		switch s.Name {
		case "temp1":
			if celsius != 40 || err != nil {
				t.Errorf("temp1: got %v, %v", celsius, err)
			}
		case "temp3":
			if !isNotSupported(err) {
				t.Errorf("temp3 is off: got %v, %v", celsius, err)
			}
		default:
			if err == nil || isNotSupported(err) {
				t.Errorf("%s: got %v, %v, want an error", s.Name, celsius, err)
			}
		}
	}
}

func TestHwmonSensors_NoneAndUnreadable(t *testing.T) {
	t.Parallel()
	fs := FS{Sys: t.TempDir()}
	if _, err := HwmonSensors(fs); !isNotSupported(err) {
		t.Errorf("no folder: %v", err)
	}
	writeFile(t, fs.SysPath("class/hwmon/hwmon0/name/x"), "")
	writeFile(t, fs.SysPath("class/hwmon/hwmon0/temp1_input"), "1000\n")
	sensors, err := HwmonSensors(fs)
	if len(sensors) != 1 || err == nil {
		t.Fatalf("got %d sensors, %v", len(sensors), err)
	}
	if got, err := sensors[0].Input.Read(); got != 1 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestHwmonSensors_AllKinds(t *testing.T) {
	t.Parallel()
	sensors, err := HwmonSensors(treeOf("jetsonorin"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sensors {
		var line strings.Builder
		line.WriteString(s.Device + " " + s.Name + " " + s.Label)
		if s.Input != nil {
			v, err := s.Input.Read()
			line.WriteString(fmt.Sprintf(" %v %v", v, err))
		}
		for _, a := range s.Alarms {
			line.WriteString(" " + a.Name + "=" + readingOf(a.Attribute))
		}
		got = append(got, line.String())
	}
	wantReadings(t, "ina3221", got,
		"1-0040 curr1 VDD_GPU_SOC 0.16 <nil> crit=0 max=0", "1-0040 curr2 VDD_CPU_CV 0.08 <nil> crit=0 max=0",
		"1-0040 curr3 VIN_SYS_5V0 0.784 <nil> crit=0 max=0", "1-0040 curr4  1.024 <nil> crit=0",
		"1-0040 in1 VDD_GPU_SOC 19.904 <nil>", "1-0040 in2 VDD_CPU_CV 19.904 <nil>", "1-0040 in3 VIN_SYS_5V0 5.016 <nil>",
		"1-0040 in7 sum of shunt voltages 0.004 <nil>",
		"1-0041 curr1 VDDQ_VDD2_1V8AO 0.024 <nil> crit=0 max=0", "1-0041 curr4  0.024 <nil> crit=0",
		"1-0041 in1 VDDQ_VDD2_1V8AO 19.896 <nil>", "1-0041 in7 sum of shunt voltages 0.004 <nil>")
	for file, want := range map[string]string{
		"temp1_input": "temp1 temp input", "in0_lcrit_alarm": "in0 in lcrit_alarm", "fan12_alarm": "fan12 fan alarm", "temp1_max": "temp1 temp max",
		"in1_max": "  ", "temp1": "  ", "input": "  ", "intrusion0_alarm": "  ", "temp_input": "  ", "power1_cap": "  ", "fan1_pulses": "  ",
	} {
		name, kind, what := cutHwmon(file)
		if got := name + " " + kind + " " + what; got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
	for _, text := range []string{"2", "-1", "", "x", "0 1"} {
		if v, err := parseAlarm([]byte(text)); err == nil {
			t.Errorf("alarm %q: got %v", text, v)
		}
	}
}

func FuzzHwmon(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		if v, err := parseAlarm(text); err == nil && v != 0 && v != 1 {
			t.Errorf("alarm %q: got %v", text, v)
		}
		if v, err := parseLimit(text); err == nil && (v < minCelsius || v > maxCelsius) {
			t.Errorf("limit %q: got %v", text, v)
		}
		if name, kind, what := cutHwmon(string(text)); (kind == "") != (name == "") || (kind == "") != (what == "") {
			t.Errorf("%q: got %q, %q, %q", text, name, kind, what)
		}
	}, "*/sys/class/hwmon/*/*_alarm", "*/sys/class/hwmon/*/*_crit")
}
