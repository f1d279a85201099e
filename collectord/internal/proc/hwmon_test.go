package proc

import "testing"

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
		sensors, err := HwmonSensors(treeOf(tree))
		if err != nil || len(sensors) != len(want) {
			t.Errorf("%s: %d sensors, %v, want %d", tree, len(sensors), err, len(want))
		}
		for _, s := range sensors {
			id := id{s.Chip, s.Device, s.Name, s.Label}
			if got, err := s.Read(); got != want[id] || got == 0 || err != nil {
				t.Errorf("%s %v: got %v, %v", tree, id, got, err)
			}
		}
	}
}

func TestHwmonSensors_Faults(t *testing.T) {
	t.Parallel()
	sensors, err := HwmonSensors(treeOf("hwmon-faults"))
	if err != nil || len(sensors) != 6 {
		t.Fatalf("%d sensors, %v", len(sensors), err)
	}
	for _, s := range sensors {
		celsius, err := s.Read()
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
	if got, err := sensors[0].Read(); got != 1 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
