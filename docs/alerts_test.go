package docs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/testkit"
)

// rule is one alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t testing.TB) []rule {
	t.Helper()
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name, Interval string
			Rules          []rule
		}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var metricRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (counter|gauge|histogram) \\|")

// known returns the names of all metrics in the docs, with underscores as at the server.
func known(t testing.TB) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, path := range []string{"metrics.md", "../docker/README.md"} {
		for _, m := range metricRow.FindAllStringSubmatch(read(t, path), -1) {
			names[strings.ReplaceAll(m[1], ".", "_")] = true
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\b[a-z0-9]+_[a-z0-9_]+\b`)

// TestAlerts_Complete: every rule has its annotations, uses existing metrics and is explained in
// operations.md.
func TestAlerts_Complete(t *testing.T) {
	t.Parallel()
	names, operations := known(t), read(t, "operations.md")
	// Functions and labels that look like metric names.
	other := map[string]bool{"last_over_time": true, "max_over_time": true, "device_id": true, "in_lcrit": true}
	seen := map[string]bool{}
	for _, r := range rules(t) {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Belabox") || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			!slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%+v is incomplete or a duplicate", r)
		}
		seen[r.Alert] = true
		if !strings.Contains(operations, "\n| `"+r.Alert+"` |") {
			t.Errorf("%s is not explained in operations.md", r.Alert)
		}
		found := 0
		for _, name := range metricName.FindAllString(r.Expr, -1) {
			if names[name] {
				found++
			} else if !other[name] {
				t.Errorf("%s: there is no metric %s", r.Alert, name)
			}
		}
		if found == 0 {
			t.Errorf("%s uses no metric", r.Alert)
		}
	}
	for _, m := range regexp.MustCompile("\n\\| `(Belabox[A-Za-z]*)` \\|").FindAllStringSubmatch(operations, -1) {
		if !seen[m[1]] {
			t.Errorf("operations.md explains %s, which does not exist", m[1])
		}
	}
}

// TestDocs_LogMessages: the log messages that the docs quote are those of the sources.
func TestDocs_LogMessages(t *testing.T) {
	t.Parallel()
	text := sources(t)
	f := func(path, heading string, column, least int) {
		t.Helper()
		_, section, _ := strings.Cut(read(t, path), "\n## "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		messages := 0
		for line := range strings.Lines(section) {
			cells := strings.Split(line, "|")
			if len(cells) <= column {
				continue
			}
			for _, span := range regexp.MustCompile("`([a-z]+( [a-z,]+)+)`").FindAllStringSubmatch(cells[column], -1) {
				messages++
				if !strings.Contains(text, `"`+span[1]) {
					t.Errorf("%s: no program logs %q", path, span[1])
				}
			}
		}
		if messages < least {
			t.Errorf("%s: %d log messages, want at least %d", path, messages, least)
		}
	}
	f("operations.md", "Troubleshooting a silent device", 3, 5)
	f("health-monitoring.md", "The log", 1, 5)
}

// TestAlerts_VMAlert: vmalert accepts the file.
func TestAlerts_VMAlert(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("vmalert")
	if err != nil {
		t.Fatal("vmalert is not in the PATH: run scripts/test-deps.sh (Debian's package victoria-metrics contains it)")
	}
	if out, err := exec.Command(program, "-dryRun", "-rule=alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// minutes is how long the devices of the test have existed.
const minutes = 26 * 60

// wave is a metric over time: its value at a minute from 0 (the oldest) to minutes-1 (now); ok is
// false if there is no sample.
type wave func(minute int) (value float64, ok bool)

func level(v float64) wave { return func(int) (float64, bool) { return v, true } }
func growing(by float64) wave {
	return func(m int) (float64, bool) { return 1000 + by*float64(m), true }
}

func jump(by, ago int) wave {
	return func(m int) (float64, bool) {
		if m > minutes-ago {
			return float64(1000 + by), true
		}
		return 1000, true
	}
}

// healthy is what a device looks like with which nothing is wrong. The labels matter to some rules.
var healthy = map[string]wave{
	`system_uptime_seconds{}`:                               growing(60),
	`thermal_zone_celsius{zone="0",type="soc"}`:             level(60),
	`throttling_active{reason="undervoltage"}`:              level(0),
	`throttling_active{reason="throttled"}`:                 level(0),
	`hwmon_alarm{chip="rpi_volt",alarm="in_lcrit"}`:         level(0),
	`hwmon_alarm{chip="nvme",alarm="temp"}`:                 level(1),
	`emmc_life_used_percent{device="mmcblk0",memory="a"}`:   level(80),
	`services_up{service="belaUI.service"}`:                 level(1),
	`memory_available_bytes{}`:                              level(2e9),
	`memory_total_bytes{}`:                                  level(4e9),
	`filesystem_available_bytes{mountpoint="/",fstype="x"}`: level(5e9),
	`filesystem_size_bytes{mountpoint="/",fstype="x"}`:      level(10e9),
	`time_skew_ms{}`:                                        level(-30),
	`time_clock_synchronised{}`:                             level(1),
	`storage_metrics_pending_upload{}`:                      level(300),
	`link_budget_used_ratio{}`:                              level(0.6),
	`storage_metrics_dropped_total{reason="size"}`:          level(5),
	`collector_metrics_failed_total{reason="source"}`:       level(3),
	`collector_metrics_failed_total{reason="storage"}`:      level(7),
	`uploader_metrics_rejected_total{reason="rejected"}`:    level(2),
	`uploader_metrics_uploaded_total{}`:                     growing(600),
	`uploader_metrics_verified_total{}`:                     growing(600),
	`uploader_metrics_requeued_total{}`:                     growing(0.5),
	`collector_ticks_missed_total{}`:                        growing(0.01),
	`storage_wal_size_bytes{}`:                              level(4e6),
	`storage_bytes_written_total{daemon="collectord"}`:      growing(1e6),
	`storage_bytes_written_total{daemon="shipperd"}`:        growing(1e5),
	`agent_panics_total{daemon="collectord"}`:               level(1),
}

// ill has the metrics that differ from healthy on the device for which an alert must fire.
var ill = map[string]map[string]wave{
	"BelaboxDeviceSilent": {`system_uptime_seconds{}`: func(m int) (float64, bool) { return float64(m), m < minutes-20 }},
	"BelaboxDeviceRebooted": {`system_uptime_seconds{}`: func(m int) (float64, bool) {
		if m > minutes-5 {
			m -= minutes - 5
		}
		return float64(60 * m), true
	}},
	"BelaboxHot": {`thermal_zone_celsius{zone="0",type="soc"}`: level(91)},
	"BelaboxUndervoltage": {`hwmon_alarm{chip="rpi_volt",alarm="in_lcrit"}`: func(m int) (float64, bool) {
		if m == minutes-5 { // one reading is enough
			return 1, true
		}
		return 0, true
	}},
	"BelaboxThrottled":          {`throttling_active{reason="throttled"}`: level(1)},
	"BelaboxFlashWorn":          {`emmc_life_used_percent{device="mmcblk0",memory="a"}`: level(90)},
	"BelaboxServiceDown":        {`services_up{service="belaUI.service"}`: level(0)},
	"BelaboxMemoryLow":          {`memory_available_bytes{}`: level(1e8)},
	"BelaboxFilesystemFull":     {`filesystem_available_bytes{mountpoint="/",fstype="x"}`: level(1e8)},
	"BelaboxClockSkew":          {`time_skew_ms{}`: level(-2500)},
	"BelaboxClockUnset":         {`time_clock_synchronised{}`: level(0)},
	"BelaboxLinkBudget":         {`link_budget_used_ratio{}`: level(1.04)},
	"BelaboxBacklog":            {`storage_metrics_pending_upload{}`: level(10_001)},
	"BelaboxSamplesDropped":     {`storage_metrics_dropped_total{reason="size"}`: jump(10, 30)},
	"BelaboxSamplesNotStored":   {`collector_metrics_failed_total{reason="storage"}`: jump(100, 10)},
	"BelaboxDeadLetters":        {`uploader_metrics_rejected_total{reason="rejected"}`: jump(1, 30)},
	"BelaboxServerLosesSamples": {`uploader_metrics_requeued_total{}`: growing(100)},
	"BelaboxUnproven":           {`uploader_metrics_verified_total{}`: level(1000)},
	"BelaboxCollectorFailing":   {`collector_metrics_failed_total{reason="source"}`: growing(6)},
	"BelaboxTicksMissed":        {`collector_ticks_missed_total{}`: growing(1)},
	"BelaboxWALLarge":           {`storage_wal_size_bytes{}`: level(70 << 20)},
	"BelaboxDiskWear":           {`storage_bytes_written_total{daemon="shipperd"}`: growing(4e6)},
	"BelaboxAgentFault":         {`agent_panics_total{daemon="collectord"}`: jump(1, 30)},
}

// importLine returns the JSON line of one series.
func importLine(series, device string, w wave, now time.Time) string {
	name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	metric := fmt.Appendf(nil, `"__name__":%q,"device_id":%q,"instance":%q`, name, device, device)
	for label := range strings.SplitSeq(labels, ",") {
		if key, value, ok := strings.Cut(label, "="); ok {
			metric = fmt.Appendf(metric, ",%q:%s", key, value)
		}
	}
	var values, times []string
	for m := range minutes {
		if v, ok := w(m); ok {
			values = append(values, fmt.Sprint(v))
			times = append(times, fmt.Sprint(now.Add(time.Duration(m-minutes+1)*time.Minute).UnixMilli()))
		}
	}
	return fmt.Sprintf(`{"metric":{%s},"values":[%s],"timestamps":[%s]}`+"\n", metric, strings.Join(values, ","), strings.Join(times, ","))
}

// TestAlerts_Fire runs each expression on a real VictoriaMetrics that has a healthy device and one
// device per alert. The alert fires for its own device only.
func TestAlerts_Fire(t *testing.T) {
	t.Parallel()
	names := known(t)
	for series := range healthy {
		if name, _, _ := strings.Cut(series, "{"); !names[name] {
			t.Errorf("the test has metric %s, which does not exist", name)
		}
	}
	vm := testkit.StartVM(t, testkit.VMConfig{})
	now := time.Now()
	all := rules(t)
	devices := map[string]map[string]wave{"healthy": {}}
	for _, r := range all {
		if ill[r.Alert] == nil {
			t.Errorf("%s: the test has no device for it", r.Alert)
		}
		devices[r.Alert] = ill[r.Alert]
	}
	if len(devices) != len(ill)+1 {
		t.Error("the test has devices for alerts that do not exist")
	}
	var body strings.Builder
	for device, differs := range devices {
		for series, w := range healthy {
			if other := differs[series]; other != nil {
				w = other
			}
			body.WriteString(importLine(series, device, w, now))
		}
		for series := range differs {
			if healthy[series] == nil {
				t.Errorf("%s: %s is not in healthy", device, series)
			}
		}
	}
	if err := vm.Import(body.String()); err != nil {
		t.Fatal(err)
	}
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		var results []testkit.QueryResult
		testkit.Eventually(t, testkit.WaitLimit, r.Alert+" to fire for its device only", func() (err error) {
			if results, err = vm.Query(r.Expr, now); err != nil {
				return err
			}
			fires := map[string]bool{}
			for _, result := range results {
				device := result.Metric["device_id"]
				if device == "" {
					device = result.Metric["instance"]
				}
				fires[device] = true
			}
			if got := slices.Sorted(maps.Keys(fires)); !slices.Equal(got, []string{r.Alert}) {
				return fmt.Errorf("it fires for %q", got)
			}
			return nil
		})
		for _, m := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
			if len(results) > 0 && results[0].Metric[m[1]] == "" {
				t.Errorf("%s: the summary uses label %s, which the result lacks: %v", r.Alert, m[1], results[0].Metric)
			}
		}
	}
}
