package docs

import (
	"fmt"
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

// everyMetric returns a series, or some, of each metric that docs/metrics.md lists, with the labels that it lists.
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

// TestQueries runs the examples of docker/README.md on a real VictoriaMetrics that has every metric of a device: each
// finds something. Another device has fallen silent, for the questions about that.
func TestQueries(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	now := time.Now()
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
	found := 0
	for _, block := range promqlBlock.FindAllStringSubmatch(read(t, "../docker/README.md"), -1) {
		for line := range strings.Lines(block[1]) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			found++
			results, err := vm.Query(strings.TrimSpace(line), now)
			if err == nil && len(results) == 0 {
				err = fmt.Errorf("it finds nothing")
			}
			if err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d queries were found", found)
	}
}
