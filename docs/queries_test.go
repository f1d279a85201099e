package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var (
	promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")
	labelledRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (counter|gauge|histogram) \\| [^|]* \\| ([^|]*) \\|")
)

// everyMetric returns at least one series of each metric in docs/metrics.md, with its labels.
func everyMetric(t testing.TB) (series []string) {
	t.Helper()
	for _, m := range labelledRow.FindAllStringSubmatch(read(t, "metrics.md"), -1) {
		name := strings.ReplaceAll(m[1], ".", "_")
		var labels []string
		for _, label := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, label[1]+`="0"`)
		}
		all := strings.Join(labels, ",")
		switch {
		case m[2] == "histogram":
			series = append(series, name+`_bucket{le="1"}`, name+`_bucket{le="+Inf"}`, name+"_sum{}", name+"_count{}")
		case strings.Contains(all, `core="0"`):
			series = append(series, name+"{"+all+"}", name+"{"+strings.ReplaceAll(all, `core="0"`, `core="all"`)+"}")
		default:
			series = append(series, name+"{"+all+"}")
		}
	}
	return series
}

// startFilled starts a real VictoriaMetrics that has every metric of one device, and a second device
// that has been silent for an hour.
func startFilled(t *testing.T, now time.Time) *testkit.VM {
	t.Helper()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	var body strings.Builder
	for _, series := range everyMetric(t) {
		body.WriteString(importLine(series, "d", growing(1), now))
	}
	body.WriteString(importLine("system_uptime_seconds{}", "silent", growing(60), now.Add(-time.Hour)))
	if err := vm.Import(body.String()); err != nil {
		t.Fatal(err)
	}
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
	return vm
}

// examples returns the queries of a document.
func examples(t *testing.T, path string, least int) (queries []string) {
	t.Helper()
	for _, block := range promqlBlock.FindAllStringSubmatch(read(t, path), -1) {
		for line := range strings.Lines(block[1]) {
			if !strings.HasPrefix(line, "#") {
				queries = append(queries, strings.TrimSpace(line))
			}
		}
	}
	if len(queries) < least {
		t.Errorf("%s has only %d queries", path, len(queries))
	}
	return queries
}

// TestQueries runs the example queries of the docs: each returns a result.
func TestQueries(t *testing.T) {
	t.Parallel()
	now := time.Now()
	vm := startFilled(t, now)
	for path, least := range map[string]int{"../docker/README.md": 10, "victoriametrics-setup.md": 5} {
		for _, query := range examples(t, path, least) {
			testkit.Eventually(t, testkit.WaitLimit, path+": a result of "+query, func() error {
				results, err := vm.Query(query, now)
				if err == nil && len(results) == 0 {
					err = errors.New("no result")
				}
				return err
			})
		}
	}
}

// TestQueries_AsVMUI runs the queries as vmui does: over a range and without the cache. Debian's
// build of VictoriaMetrics does not contain vmui itself.
func TestQueries_AsVMUI(t *testing.T) {
	t.Parallel()
	now := time.Now()
	vm := startFilled(t, now)
	for _, query := range examples(t, "victoriametrics-setup.md", 5) {
		answer, err := http.Get(vm.URL() + "/api/v1/query_range?" + url.Values{
			"query": {query}, "start": {fmt.Sprint(now.Add(-30 * time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}, "step": {"15s"}, "nocache": {"1"},
		}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var graph struct {
			Status, Error string
			Data          struct {
				ResultType string
				Result     []struct {
					Metric map[string]string
					Values [][2]any
				}
			}
		}
		err = json.NewDecoder(answer.Body).Decode(&graph)
		answer.Body.Close()
		if err != nil || graph.Status != "success" || graph.Data.ResultType != "matrix" || len(graph.Data.Result) == 0 {
			t.Errorf("%s: %v, %s %s, %d series", query, err, graph.Status, graph.Error, len(graph.Data.Result))
			continue
		}
		if curve := graph.Data.Result[0]; len(curve.Values) < 30*60/15 || curve.Metric["device_id"] == "" {
			t.Errorf("%s: series %v has %d points", query, curve.Metric, len(curve.Values))
		}
	}
}
