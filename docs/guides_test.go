package docs

import (
	"regexp"
	"strings"
	"testing"
)

var guides = []string{"from-node-exporter.md", "from-telegraf.md"}

// TestGuides_Names: what the tables call ours is in the tables of all metrics, and what is
// node_exporter's is in the list of that.
func TestGuides_Names(t *testing.T) {
	t.Parallel()
	ours := known(t)
	listed := map[string]bool{}
	for _, name := range regexp.MustCompile("`((?:node_[A-Za-z0-9_]+|up))`").FindAllStringSubmatch(read(t, "from-node-exporter.md"), -1) {
		listed[name[1]] = true
	}
	for _, path := range guides {
		rows := 0
		for line := range strings.Lines(read(t, path)) {
			cells := strings.Split(line, "|")
			if len(cells) < 4 || path == "from-telegraf.md" && !strings.Contains(cells[1], "inputs.") {
				continue
			}
			for _, span := range regexp.MustCompile("`([a-z]+_[a-z0-9_]+)[`{]").FindAllStringSubmatch(cells[2], -1) {
				if name := span[1]; !ours[name] && !strings.HasPrefix(name, "node_") {
					t.Errorf("%s: there is no metric %s", path, name)
				}
				rows++
			}
			for _, name := range regexp.MustCompile(`node_[A-Za-z0-9_]+`).FindAllString(cells[1], -1) {
				if !listed[name] && !strings.HasPrefix(name, "node_memory_") && name != "node_systemd_unit_state" && name != "node_exporter" {
					t.Errorf("%s: %s is not listed", path, name)
				}
			}
		}
		if rows < 15 {
			t.Errorf("%s: %d names", path, rows)
		}
	}
}

// TestMetrics_NoNameOfNodeExporter: no metric of ours has a name that node_exporter could have, so
// that the two never share a series.
func TestMetrics_NoNameOfNodeExporter(t *testing.T) {
	t.Parallel()
	names := known(t)
	if len(names) < 80 {
		t.Fatalf("%d names", len(names))
	}
	for name := range names {
		if strings.HasPrefix(name, "node_") || name == "up" || !strings.Contains(name, "_") {
			t.Errorf("%s could be one of node_exporter's", name)
		}
	}
}
