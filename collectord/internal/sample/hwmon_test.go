package sample

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
)

func TestHwmon_Boards(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string]map[string]float64{
		"rk3588": {
			`hwmon.temp_celsius{"chip":"bigcore0_thermal","sensor":"temp1"}`:   49.923,
			`hwmon.temp_celsius{"chip":"bigcore1_thermal","sensor":"temp1"}`:   49,
			`hwmon.temp_celsius{"chip":"center_thermal","sensor":"temp1"}`:     47.153,
			`hwmon.temp_celsius{"chip":"gpu_thermal","sensor":"temp1"}`:        46.230,
			`hwmon.temp_celsius{"chip":"littlecore_thermal","sensor":"temp1"}`: 48.076,
			`hwmon.temp_celsius{"chip":"npu_thermal","sensor":"temp1"}`:        46.230,
			`hwmon.temp_celsius{"chip":"nvme","sensor":"Composite"}`:           41.85,
			`hwmon.temp_celsius{"chip":"nvme","sensor":"Sensor 1"}`:            41.85,
			`hwmon.temp_celsius{"chip":"nvme","sensor":"Sensor 2"}`:            46.85,
			`hwmon.temp_celsius{"chip":"soc_thermal","sensor":"temp1"}`:        48.076,
		},
		"raspberrypi5": {
			`hwmon.temp_celsius{"chip":"cpu_thermal","sensor":"temp1"}`: 51.8,
			`hwmon.temp_celsius{"chip":"rp1_adc","sensor":"temp1"}`:     50.434,
		},
	} {
		r := newMachine(t).tick(NewHwmon(treeOf(tree), testDevice))
		r.wantFaults(t, 0)
		r.want(t, "hwmon.temp_celsius", want)
	}
}

func TestHwmon_Twins(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(NewHwmon(treeOf("hwmon-twins"), testDevice))
	r.wantFaults(t, 0)
	r.want(t, "hwmon.", map[string]float64{
		`hwmon.temp_celsius{"chip":"nvme-nvme0","sensor":"Composite"}`:  40.85,
		`hwmon.temp_celsius{"chip":"nvme-nvme1","sensor":"Composite"}`:  41.85,
		`hwmon.temp_celsius{"chip":"jc42-hwmon2","sensor":"temp1"}`:     32, // no device to tell them by
		`hwmon.temp_celsius{"chip":"jc42-hwmon3","sensor":"temp1"}`:     33,
		`hwmon.temp_celsius{"chip":"coretemp","sensor":"Core 0 temp1"}`: 50,
		`hwmon.temp_celsius{"chip":"coretemp","sensor":"Core 0 temp2"}`: 51,
		`hwmon.temp_celsius{"chip":"coretemp","sensor":"temp3"}`:        52,
	})
}

// TestHwmon_NamesAreTold makes chips and sensors with few names, so that many
// are equal: none may get the labels of another, and the order in which the
// kernel numbered the chips may not matter where they have devices.
func TestHwmon_NamesAreTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var sensors []*proc.HwmonSensor
		chips := rapid.IntRange(1, 5).Draw(t, "chips")
		for c := range chips {
			chip := rapid.SampledFrom([]string{"nvme", "jc42"}).Draw(t, "chip")
			for s := range rapid.IntRange(1, 3).Draw(t, "sensors") {
				sensors = append(sensors, &proc.HwmonSensor{
					Dir: "hwmon" + string(rune('0'+c)), Chip: chip, Device: "dev" + string(rune('0'+c)),
					Name:  "temp" + string(rune('1'+s)),
					Label: rapid.SampledFrom([]string{"", "Core 0", "temp1", "temp2"}).Draw(t, "label"),
				})
			}
		}
		labels := func() []string {
			var list []string
			for _, f := range labelSensors(sensors) {
				list = append(list, strings.Join(f, "/"))
			}
			return slices.Sorted(slices.Values(list))
		}
		got := labels()
		if unique := slices.Compact(slices.Clone(got)); len(unique) != len(sensors) {
			t.Fatalf("%d sensors got the labels %q", len(sensors), got)
		}
		for _, s := range sensors { // another boot: the folders are numbered the other way
			s.Dir = "hwmon" + string(rune('0'+chips-1-int(s.Dir[5]-'0')))
		}
		slices.Reverse(sensors)
		if again := labels(); !slices.Equal(again, got) {
			t.Fatalf("after another boot: got %q, before %q", again, got)
		}
	})
}

func TestHwmon_Faults(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(NewHwmon(treeOf("hwmon-faults"), testDevice))
	r.want(t, "hwmon.", map[string]float64{`hwmon.temp_celsius{"chip":"tmp421","sensor":"temp1"}`: 40})
	r.wantFaults(t, 4) // temp3 is switched off
}

func TestHwmon_None(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if r := m.tick(NewHwmon(m.fs(), testDevice)); !errors.Is(r.err, proc.ErrNotSupported) || len(r.errs) > 0 {
		t.Errorf("got %v, %v", r.err, r.errs)
	}
}

func TestHwmon_AllocatesNothing(t *testing.T) {
	wantNoAllocationsEvery(t, time.Minute, NewHwmon(treeOf("rk3588"), testDevice))
}

func BenchmarkHwmon(b *testing.B) {
	benchCollector(b, NewHwmon(treeOf("rk3588"), testDevice))
}
