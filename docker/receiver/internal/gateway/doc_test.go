package gateway

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMetricsDoc: docker/README.md lists the receiver's own numbers as they are.
func TestMetricsDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, m := range Metrics {
		labels := "–"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Kind, cmp.Or(m.Unit, "–"), labels, m.Help)
	}
	if !strings.Contains(string(text), want.String()) {
		t.Errorf("docker/README.md does not have this table:\n%s", want.String())
	}
}
