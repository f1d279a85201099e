//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/testkit"
)

// shownQuery is a query that the project shows to its users.
type shownQuery struct {
	where string
	text  string // with values in place of the variables of Grafana
	// claim is false for a query that finds trouble: on a healthy device only its selectors have
	// results.
	claim bool
	drawn bool // over a range; otherwise only at a point in time
}

var (
	labelValues = regexp.MustCompile(`^label_values\(([a-z_]+), ([a-z_]+)\)$`) // Grafana's own
	promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")
	comparison  = regexp.MustCompile(`[<>]|[!=]= |\b(unless|absent)`)
	metricRow   = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (counter|gauge|histogram) \\|")
)

// shownQueries reads all queries of the dashboards, the alerts and the docs.
func shownQueries(t *testing.T, device string) (all []shownQuery) {
	t.Helper()
	read := func(path string) []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	files := func(pattern string, least int, f func(path, name string)) {
		paths, err := filepath.Glob(filepath.Join(testkit.ModuleRoot(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		before := len(all)
		for _, path := range paths {
			f(path, filepath.Base(path))
		}
		if len(all) < before+least {
			t.Errorf("%s: only %d queries", pattern, len(all)-before)
		}
	}
	filled := strings.NewReplacer("$device", device, "encoder-07", device, "$__rate_interval", "5m", "$__range", "1h")
	files("docker/grafana/dashboards/*.json", 90, func(path, name string) {
		var d struct {
			Templating struct{ List []struct{ Definition string } }
			Panels     []struct {
				Type, Title string
				Targets     []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(read(path), &d); err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Templating.List {
			text := labelValues.ReplaceAllString(v.Definition, "count by ($2) (last_over_time($1[1h]))")
			all = append(all, shownQuery{where: name + ", a variable", text: text, claim: true})
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				text := filled.Replace(target.Expr)
				if strings.Contains(text, "$") {
					t.Errorf("%s, %q: a variable is left in %s", name, p.Title, text)
				}
				all = append(all, shownQuery{where: name + ", " + p.Title, text: text, claim: true, drawn: p.Type == "timeseries"})
			}
		}
	})
	files("docs/alerts.yml", 20, func(path, _ string) {
		var alerts struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
		if err := yaml.Unmarshal(read(path), &alerts); err != nil {
			t.Fatal(err)
		}
		for _, g := range alerts.Groups {
			for _, r := range g.Rules {
				all = append(all, shownQuery{where: r.Alert, text: r.Expr})
			}
		}
	})
	document := func(path, name string) {
		for _, block := range promqlBlock.FindAllSubmatch(read(path), -1) {
			for line := range strings.Lines(strings.ReplaceAll(string(block[1]), "\n  ", " ")) {
				if line = strings.TrimSpace(filled.Replace(line)); !strings.HasPrefix(line, "#") {
					all = append(all, shownQuery{where: name, text: line, claim: !comparison.MatchString(line), drawn: true})
				}
			}
		}
	}
	files("docs/*.md", 15, document)
	files("docker/README.md", 10, document)
	return all
}

// catalogued returns the names of all metrics in metrics.md, as they are at the server.
func catalogued(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), "docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metricRow.FindAllSubmatch(text, -1) {
		name := strings.ReplaceAll(string(m[1]), ".", "_")
		if string(m[2]) == "histogram" {
			name += "_count"
		}
		names = append(names, name)
	}
	return names
}

// lines counts the lines that Grafana and vmui draw for a query over the last minutes.
func lines(vm *testkit.VM, query string, now time.Time) (n int, err error) {
	resp, err := http.PostForm(vm.URL()+"/api/v1/query_range", url.Values{
		"query": {query}, "start": {fmt.Sprint(now.Add(-5 * time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}, "step": {"15"}, "nocache": {"1"},
	})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var graph struct {
		Data struct {
			ResultType string
			Result     []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&graph); err != nil || graph.Data.ResultType != "matrix" {
		return 0, fmt.Errorf("%s is no graph: %w", resp.Status, err)
	}
	for _, r := range graph.Data.Result {
		if len(r.Values) > 0 {
			n++
		}
	}
	return n, nil
}

// selectors returns what a query selects: names of metrics with their labels in braces.
func selectors(query string) (all []string) {
	query = regexp.MustCompile(`\b(by|on|without|ignoring|group_left) \([^)]*\)`).ReplaceAllString(query, "")
	for _, m := range regexp.MustCompile(`(\b(?:[a-z0-9]+_[a-z0-9_]+|up)\b(?:\{[^}]*\})?)(\(?)`).FindAllStringSubmatch(query, -1) {
		if m[2] == "" { // otherwise it is a function
			all = append(all, m[1])
		}
	}
	return all
}

// anyBoard copies a board of Rockchip with what only others have: the firmware of a Raspberry Pi
// and its alarm of undervoltage, a battery, and a chip that reports power. step lets its cores
// work.
func anyBoard(t *testing.T, root string) (step func()) {
	t.Helper()
	for _, from := range []string{
		"rk3588", "raspberrypi4/sys/devices/platform", "raspberrypi5/sys/class/hwmon/hwmon3", "power-battery",
		"node-files/sys/devices/platform/coretemp.0/hwmon/hwmon19", "jetsonorin/sys/class/hwmon/hwmon4",
	} {
		_, to, _ := strings.Cut(from+"/", "/")
		to = strings.NewReplacer("hwmon3", "hwmon31", "hwmon4", "hwmon32", "devices/platform/coretemp.0/hwmon", "class/hwmon").Replace(to)
		source := os.DirFS(filepath.Join(testkit.ModuleRoot(t), "collectord/internal/proc/testdata", from))
		if err := os.CopyFS(filepath.Join(root, to), source); err != nil {
			t.Fatal(err)
		}
	}
	stat, err := os.OpenFile(filepath.Join(root, "proc/stat"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stat.Close() })
	text, err := os.ReadFile(stat.Name())
	if err != nil {
		t.Fatal(err)
	}
	busy := regexp.MustCompile(`(?m)^(cpu\d* +\d+)\d\d`)
	n := 0
	return func() {
		n++ // the file keeps its length, so no reading finds half of it
		if _, err := stat.WriteAt(busy.ReplaceAll(text, fmt.Appendf(nil, "${1}%02d", n)), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// without says which metrics the device of TestQueries cannot have, and why.
var without = map[string]string{
	"wireless_noise_dbm": "its driver does not measure it, like most",
	"uploader_failing":   "absent while no upload fails",
}

// TestQueries runs every query of the dashboards, the alerts and the docs on what both daemons have
// sent to a real VictoriaMetrics: a board with all sources, files of other programs, the series of
// node_exporter, a clock that showed 1970 for a while, and a budget. Each query has a result. One
// that finds trouble selects series that are there. And the server has every metric of metrics.md.
func TestQueries(t *testing.T) {
	t.Parallel()
	const latencyOffset = time.Second // what graphs leave out, half a minute by default
	vm := testkit.StartVM(t, testkit.VMConfig{Flags: []string{"-search.latencyOffset=" + latencyOffset.String()}})
	root, textfiles := t.TempDir(), t.TempDir()
	step := anyBoard(t, root)
	if err := writeTextfile(textfiles, "encoder.prom", "encoder_bitrate_kbps 5800\n"); err != nil {
		t.Fatal(err)
	}
	c := newClocked(t, vm, map[string]string{
		"collection": fmt.Sprintf("interval: 250ms\nprocfs_path: %s/proc\nsysfs_path: %s/sys\nrootfs_path: /\n"+
			"textfile: {directory: %s}\nnode_exporter: {enabled: true}", root, root, textfiles),
		"network":    "include: ['usb.*', 'wwan.*']",
		"services":   "- belaUI.service\n- 'srtla*'",
		"monitoring": fmt.Sprintf("clock_skew_url: %s/health", vm.URL()),
	})
	c.set("remote", "monthly_budget_mb: 500")
	c.set("storage", "wal_checkpoint_size_mb: 1")

	run := func(ahead time.Duration, until func()) {
		c.boot(ahead)
		c.ticks(2)
		step()
		c.ticks(2)
		until()
		c.stopDaemon(c.m.running[0]) // collectord
		c.sent(0)
		c.stopDaemon(c.m.running[1])
		c.collectord = ""
	}
	run(since1970(), func() {
		c.await("server")
		c.m.ntp()
		yesterday := time.Now().Unix()/86400 - 1 // which a forecast goes by
		c.exec(fmt.Sprintf("INSERT INTO traffic VALUES (%d, 400000, 300000)", yesterday))
		testkit.Eventually(t, testkit.WaitLimit, "a corrected sample, a forecast and a checkpoint", func() bool {
			page := scrape(t, c.shipperd)
			return total(page, "time_samples_corrected_total") > 0 && total(page, "link_forecast_bytes") > 0 &&
				total(scrape(t, c.collectord), "storage_wal_checkpoint_duration_ms") > 0
		})
	})
	// collectord samples what shipperd has counted before, and a rate takes two samples.
	for n := range 2 {
		run(0, func() {
			c.m.ntp()
			testkit.Eventually(t, testkit.WaitLimit, "self-metrics", func() bool {
				return c.count("SELECT count(*) FROM metric_rows WHERE name = 'link.forecast_bytes'") > n
			})
		})
	}
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(int64(c.count("SELECT max(timestamp_ms) FROM metric_rows"))).Add(time.Second)
	testkit.Eventually(t, testkit.WaitLimit, "the server to show that time", func() bool { return time.Since(now) > 2*latencyOffset })

	found := func(what, query string, claim bool) {
		t.Helper()
		results, err := vm.Query(query, now)
		if err != nil || claim && len(results) == 0 {
			t.Errorf("%s: %s has %d results, %v", what, query, len(results), err)
		}
	}
	queries := shownQueries(t, c.device)
	t.Logf("%d queries", len(queries))
	for _, q := range queries {
		found(q.where, q.text, q.claim)
		for _, s := range selectors(q.text) {
			found(q.where, "last_over_time("+s+"[1h])", true)
		}
		if q.drawn && q.claim {
			if lines, err := lines(vm, q.text, now); err != nil || lines == 0 {
				t.Errorf("%s: %s draws %d lines, %v", q.where, q.text, lines, err)
			}
		}
	}
	names := catalogued(t)
	for _, name := range names {
		results, err := vm.Query("last_over_time("+name+"[1h])", now)
		if reason := without[name]; err != nil || (len(results) == 0) != (reason != "") {
			t.Errorf("metrics.md: %s has %d results, %v; the exceptions say %q", name, len(results), err, reason)
		}
	}
	for name := range without {
		if !slices.Contains(names, name) {
			t.Errorf("the exceptions have %s, which metrics.md has not", name)
		}
	}
	// What the test is for was there: the files of other programs, the series of node_exporter, and
	// samples that were taken in 1970.
	found("textfile", "encoder_bitrate_kbps", true)
	found("node_exporter", `node_cpu_seconds_total{job="node"}`, true)
	found("budget", "link_budget_used_ratio > 0", true)
	found("wrong clock", `max_over_time(time_samples_corrected_total{how="server"}[1h]) > 0`, true)
}
