package grafana

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

// api asks VictoriaMetrics as Grafana does and decodes what stands under data.
func api[T any](t *testing.T, vm *testkit.VM, path string, form url.Values) (data T) {
	t.Helper()
	resp, err := http.PostForm(vm.URL()+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := struct{ Data *T }{&data}
	if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s with %v: %s %s, %v", path, form, resp.Status, body, err)
	}
	return data
}

// draws tells how many lines the server draws for a query over the last hour.
func draws(t *testing.T, vm *testkit.VM, query string, now time.Time) int {
	t.Helper()
	type matrix struct{ Result []struct{ Values [][]any } }
	drawn := api[matrix](t, vm, "/api/v1/query_range", url.Values{
		"query": {query}, "start": {fmt.Sprint(now.Add(-time.Hour).Unix())}, "end": {fmt.Sprint(now.Unix())}, "step": {"15"}, "nocache": {"1"},
	})
	lines := 0
	for _, r := range drawn.Result {
		if len(r.Values) > 0 {
			lines++
		}
	}
	return lines
}

var metricName = regexp.MustCompile(`[a-z]+_[a-z0-9_]+`)

// TestDashboards_WithTheDaemons runs both daemons beside a VictoriaMetrics, and then
// every query of both dashboards as Grafana would: each whose metrics this machine
// has must answer.
func TestDashboards_WithTheDaemons(t *testing.T) {
	t.Parallel()
	const latencyOffset = time.Second // what range queries leave out, half a minute by default
	vm := testkit.StartVM(t, testkit.VMConfig{Flags: []string{"-search.latencyOffset=" + latencyOffset.String()}})
	bins, dir := testkit.Binaries(t), t.TempDir()
	config, db := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "metrics.db")
	text := fmt.Sprintf("device: {id: %s}\ncollection: {interval: 1s}\nstorage: {path: %s}\n"+
		"remote: {url: %s/api/v1/import, upload_interval: 1s, verify: {delay: 15s}}\n"+
		"health: {collectord_listen: '127.0.0.1:0', shipperd_listen: '127.0.0.1:0'}\nmonitoring: {clock_skew_url: %s/health}\n",
		device, db, vm.URL(), vm.URL())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var running []*testkit.Proc
	restart := func() {
		for _, p := range running {
			p.Stop(testkit.WaitLimit)
		}
		running = nil
		for name, program := range map[string]string{"collectord": bins.Collectord, "shipperd": bins.Shipperd} {
			p := testkit.StartProc(t, testkit.Command{Path: program, Args: []string{"-config", config}})
			p.WaitLine(testkit.WaitLimit, name+" started")
			running = append(running, p)
		}
	}
	count := func(query string) (n int) {
		storetest.Query(t, db, query, func(rows *sql.Rows) error { return rows.Scan(&n) })
		return n
	}
	restart()
	testkit.Eventually(t, testkit.WaitLimit, "a verified chunk", func() bool {
		return count("SELECT count(*) FROM upload_checkpoints WHERE state = 'verified'") > 0
	})
	// The self-metrics come once a minute and with the first tick of a run, and a rate
	// takes two of them.
	for n := range 2 {
		restart()
		testkit.Eventually(t, testkit.WaitLimit, "the self-metrics of a run at the server", func() bool {
			return count("SELECT count(*) FROM metric_rows WHERE name = 'uploader.metrics_verified_total' AND uploaded = 1") > n
		})
	}
	// No query before this: one that comes too early is answered with "nothing" for
	// some seconds more.
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(int64(count("SELECT max(timestamp_ms) FROM metric_rows WHERE name = 'uploader.metrics_verified_total'"))).Add(time.Second)
	testkit.Eventually(t, testkit.WaitLimit, "the server to tell of that time", func() bool { return time.Since(now) > 2*latencyOffset })
	here := api[[]string](t, vm, "/api/v1/label/__name__/values", url.Values{"match[]": {`{device_id="` + device + `"}`}})
	answered := 0
	var without []string
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				query := filled.Replace(target.Expr)
				if name := missing(query, here); name != "" {
					without = append(without, name)
					continue
				}
				answered++
				if p.Type == "timeseries" {
					if draws(t, vm, query, now) == 0 {
						t.Errorf("%s, %q: %s draws nothing", file, p.Title, query)
					}
				} else if results, err := vm.Query(query, now); err != nil || len(results) == 0 {
					t.Errorf("%s, %q: %s: got %d results, %v", file, p.Title, query, len(results), err)
				}
			}
		}
	}
	t.Logf("%d queries answered; this machine has no %q", answered, slices.Compact(slices.Sorted(slices.Values(without))))
	if answered < 60 {
		t.Errorf("only %d queries could be asked: the metrics are missing that they are about", answered)
	}
}

// missing names a metric of the query that is not there.
func missing(query string, here []string) string {
	for _, name := range metricName.FindAllString(withoutLabels(query), -1) {
		if !functions[name] && !slices.Contains(here, name) {
			return name
		}
	}
	return ""
}

// TestDashboards_Variables: what can be chosen is what the server has.
func TestDashboards_Variables(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	fill(t, vm, catalogue(t), time.Now().Add(-time.Minute).Truncate(time.Second))
	chosen := regexp.MustCompile(`^label_values\(([a-z_]+), ([a-z_]+)\)$`)
	asked := 0
	for file, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			m := chosen.FindStringSubmatch(v.Definition)
			if m == nil || v.Query.Query != v.Definition {
				t.Errorf("%s: the variable %s asks %q and %q", file, v.Name, v.Definition, v.Query.Query)
				continue
			}
			asked++
			got := api[[]string](t, vm, "/api/v1/label/"+m[2]+"/values", url.Values{"match[]": {m[1]}})
			if !slices.Equal(got, []string{device, "box-2", "box-3"}) {
				t.Errorf("%s: %s can be %q, want the three devices", file, v.Name, got)
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				for _, name := range regexp.MustCompile(`\$[a-z_]+`).FindAllString(target.Expr, -1) {
					known := strings.HasPrefix(name, "$__") || slices.ContainsFunc(d.Templating.List, func(v variable) bool { return "$"+v.Name == name })
					if !known {
						t.Errorf("%s, %q: nothing sets %s", file, p.Title, name)
					}
				}
			}
		}
	}
	if asked == 0 {
		t.Error("no dashboard lets one choose a device")
	}
}
