package once

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

func testTick() *schedule.Tick {
	reg := &sample.Registry{Device: "dev-1", Labels: map[string]string{"site": "roof"}}
	num := func(name string, v float64, labels ...string) store.Sample {
		return store.Sample{Series: reg.Series(name, labels...).Series, Value: v}
	}
	text := func(name, v string) store.Sample {
		return store.Sample{Series: reg.Series(name).Series, Text: v}
	}
	return &schedule.Tick{
		Time: time.Date(2026, 11, 23, 16, 20, 1, 5e6, time.FixedZone("", 3600)),
		Samples: []store.Sample{
			num("cpu.usage_percent", 12.345, "all"),
			num("cpu.frequency_hertz", 1.8e9, "0"),
			num("system.context_switches_total", 91234567),
			num("memory.used_bytes", 2155200512),
			num("system.uptime_seconds", 7345.62),
			num("network.receive_bytes_per_second", 1536, "eth0"),
			num("thermal.zone_celsius", 54.2, "thermal_zone0", "soc-thermal"),
			// As Once does: strings stand at the end.
			text("system.os_name", "Debian GNU/Linux 12 (bookworm)"),
			text("system.board_model", "bad\x1b[2Jname"),
			{Series: store.NewSeries("dev-1", "collector.own_total", store.Number, store.Tag{Name: "a", Value: "b"}), Value: 3},
		},
		Results: []schedule.Result{
			{Collector: "cpu"},
			{Collector: "disk", Err: errors.New("open /proc/diskstats: permission denied")},
			{Collector: "thermal", Errors: []error{errors.New("zone 1"), errors.New("zone 2")}},
			{Collector: "pressure", Unsupported: true},
			{Collector: "wireless", Unsupported: true},
		},
	}
}

const failures = `disk: open /proc/diskstats: permission denied
thermal: zone 1
thermal: zone 2
not on this machine: pressure, wireless
`

func TestWrite_Table(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	if err := Write(&out, &errs, testTick(), true); err != nil {
		t.Fatal(err)
	}
	const want = `2026-11-23 16:20:01.005 +01:00  device_id="dev-1" site="roof"

cpu.usage_percent                 core="all"                               12.35 %
cpu.frequency_hertz               core="0"                                 1800 MHz
system.context_switches_total                                              91234567

memory.used_bytes                                                          2.0 GiB

system.uptime_seconds                                                      2 h 2 min
system.os_name                                                             Debian GNU/Linux 12 (bookworm)
system.board_model                                                         "bad\x1b[2Jname"

network.receive_bytes_per_second  interface="eth0"                         1.5 KiB/s

thermal.zone_celsius              type="soc-thermal" zone="thermal_zone0"  54.20 °C

collector.own_total               a="b"                                    3
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if errs.String() != failures {
		t.Errorf("failures\n%s", errs.String())
	}
}

func TestWrite_JSON(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	tick := testTick()
	if err := Write(&out, &errs, tick, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(tick.Samples) {
		t.Fatalf("%d lines of %d samples", len(lines), len(tick.Samples))
	}
	for i, want := range map[int]string{
		0: `{"device_id":"dev-1","timestamp_ms":1795447201005,"name":"cpu.usage_percent","tags":{"core":"all","site":"roof"},"value":12.345}`,
		7: `{"device_id":"dev-1","timestamp_ms":1795447201005,"name":"system.os_name","tags":{"site":"roof"},"value_text":"Debian GNU/Linux 12 (bookworm)"}`,
	} {
		if lines[i] != want {
			t.Errorf("got  %s\nwant %s", lines[i], want)
		}
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if errs.String() != failures {
		t.Errorf("failures\n%s", errs.String())
	}
}

func TestWrite_Errors(t *testing.T) {
	t.Parallel()
	for _, table := range []bool{true, false} {
		if err := Write(full{}, full{}, testTick(), table); !errors.Is(err, errFull) {
			t.Errorf("table %v: got %v", table, err)
		}
	}
	tick := &schedule.Tick{Samples: []store.Sample{{Series: store.NewSeries("d", "x", store.Number), Value: math.NaN()}}}
	if err := Write(&strings.Builder{}, full{}, tick, false); err == nil {
		t.Error("NaN is no JSON")
	}
}

var errFull = errors.New("no space left on device")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestShow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"bytes", 0, "0 B"},
		{"bytes", 1023, "1023 B"},
		{"bytes", 1024, "1.0 KiB"},
		{"bytes", 1 << 40, "1.0 TiB"},
		{"hertz", 50e6, "50 MHz"},
		{"seconds", 0.5, "0.50 seconds"},
		{"percent", 100, "100 %"},
		{"dBm", -58, "-58 dBm"},
		{"per second", 0.25, "0.25 /s"},
		{"", 1e20, "100000000000000000000"},
	} {
		s := &store.Sample{Series: store.NewSeries("d", "x", store.Number), Value: c.v}
		if got := show(&metrics.Metric{Unit: c.unit}, s); got != c.want {
			t.Errorf("%v %s: got %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	boot := &store.Sample{Series: store.NewSeries("d", "x", store.Number), Value: 1795447556}
	got := show(&metrics.Metric{Name: "system.boot_time_seconds"}, boot)
	if want := time.Unix(1795447556, 0).Format("2006-01-02 15:04:05 -07:00"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
