package sample

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

// TestAgainstNodeExporter_Fixture compares on the fixture of an RK3588, where
// nothing changes and both must say the same, and where there are sensors.
func TestAgainstNodeExporter_Fixture(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../proc/testdata/rk3588")
	if err != nil {
		t.Fatal(err)
	}
	fs := proc.FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
	flags := []string{"--path.procfs=" + fs.Proc, "--path.sysfs=" + fs.Sys, "--collector.disable-defaults"}
	names := []string{"stat", "meminfo", "loadavg", "diskstats", "thermal_zone", "hwmon", "cpufreq", "cpu", "netclass", "powersupplyclass"}
	for _, name := range names {
		flags = append(flags, "--collector."+name)
	}
	theirs := startNodeExporter(t, flags...)()
	for _, name := range names {
		if theirs.sum("node_scrape_collector_success", `collector="`+name+`"`) != 1 {
			t.Errorf("node_exporter's collector %s does not work on the fixture", name)
		}
	}
	cfg := config.Default()
	collectors, err := New(readingTree(&cfg, fs), "dev")
	if err != nil {
		t.Fatal(err)
	}
	ours := readAll(t, collectors)
	same := func(key, name string, labels ...string) {
		t.Helper()
		got, ok := ours.values[key].(float64)
		want := theirs.sum(name, labels...)
		if !ok || !(math.Abs(got-want) <= 1e-12*math.Abs(want)) { // theirs multiplies where we divide
			t.Errorf("%s: ours %v, theirs %v", key, ours.values[key], want)
		}
	}
	same("system.context_switches_total", "node_context_switches_total")
	same("system.processes_running", "node_procs_running")
	same("system.processes_blocked", "node_procs_blocked")
	same("system.boot_time_seconds", "node_boot_time_seconds")
	same("memory.total_bytes", "node_memory_MemTotal_bytes")
	same("memory.available_bytes", "node_memory_MemAvailable_bytes")
	same("memory.swap_total_bytes", "node_memory_SwapTotal_bytes")
	same("load.average_1m", "node_load1")
	same("load.average_5m", "node_load5")
	same("load.average_15m", "node_load15")
	for id := range 8 {
		same(frequency(id), "node_cpu_scaling_frequency_hertz", fmt.Sprintf(`cpu="%d"`, id))
	}
	for key := range ours.values {
		if rest, ok := strings.CutPrefix(key, `disk.reads_total{"device":"`); ok {
			device := strings.TrimSuffix(rest, `"}`)
			for our, their := range map[string]string{
				"read_bytes": "read_bytes_total", "written_bytes": "written_bytes_total",
				"reads": "reads_completed_total", "writes": "writes_completed_total",
			} {
				same(`disk.`+our+`_total{"device":"`+device+`"}`, "node_disk_"+their, `device="`+device+`"`)
			}
		}
		if rest, ok := strings.CutPrefix(key, `thermal.zone_celsius{"type":"`); ok {
			kind, zone, _ := strings.Cut(strings.TrimSuffix(rest, `"}`), `","zone":"thermal_zone`)
			same(key, "node_thermal_zone_temp", `type="`+kind+`"`, `zone="`+zone+`"`)
		}
	}
	for _, name := range []string{"end0", "wlan0"} {
		same(`network.up{"interface":"`+name+`"}`, "node_network_up", `device="`+name+`"`)
		same(`network.carrier_changes_total{"interface":"`+name+`"}`, "node_network_carrier_changes_total", `device="`+name+`"`)
	}
	same(`network.speed_bytes_per_second{"interface":"end0"}`, "node_network_speed_bytes", `device="end0"`)
	supply := "tcpm-source-psy-4-0022"
	for our, their := range map[string]string{"online": "online", "voltage_volts": "voltage_volt", "current_amperes": "current_ampere"} {
		same(`power.`+our+`{"supply":"`+supply+`"}`, "node_power_supply_"+their, `power_supply="`+supply+`"`)
	}
	for key := range ours.values {
		if rest, ok := strings.CutPrefix(key, `thermal.cooling_state{"device":"cooling_device`); ok {
			number, typ, _ := strings.Cut(strings.TrimSuffix(rest, `"}`), `","type":"`)
			device := `{"device":"cooling_device` + number + `","type":"` + typ + `"}`
			same("thermal.cooling_state"+device, "node_cooling_device_cur_state", `name="`+number+`"`, `type="`+typ+`"`)
			same("thermal.cooling_max_state"+device, "node_cooling_device_max_state", `name="`+number+`"`, `type="`+typ+`"`)
		}
	}
	// The chips have other names there, so what they measure is compared as a set.
	for our, their := range map[string]string{
		"temp_celsius": "temp_celsius", "in_volts": "in_volts", "curr_amperes": "curr_amps", "temp_crit_celsius": "temp_crit_celsius", "alarm": "temp_alarm",
	} {
		if got, want := measured(ours.values, "hwmon."+our+"{"), measured(theirs.values(), "node_hwmon_"+their+"{"); got != want || got == "[]" {
			t.Errorf("hwmon: ours %s, theirs %s", got, want)
		}
	}
}

func (p page) values() values {
	v := values{}
	for key, n := range p {
		v[key] = n
	}
	return v
}

// measured returns the values of all series of a name in order. What
// node_exporter calls temp0 is the thermal zone behind a chip, read once more.
func measured(v values, prefix string) string {
	var list []string
	for key, value := range v {
		if strings.HasPrefix(key, prefix) && !strings.Contains(key, `sensor="temp0"`) {
			list = append(list, fmt.Sprintf("%.3f", value))
		}
	}
	slices.Sort(list)
	return fmt.Sprint(list)
}
