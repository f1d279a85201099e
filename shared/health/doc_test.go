package health

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

const docPath = "../../docs/health-monitoring.md"

// TestHealthDoc compares the tables of docs/health-monitoring.md with those of the code; with -update it writes
// them there.
func TestHealthDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	doc = replaceBlock(t, doc, "rules", rulesTable())
	doc = replaceBlock(t, doc, "faults", faultsTable())
	testkit.Golden(t, "../"+docPath, []byte(doc))
}

// replaceBlock puts text between the two marks of a block.
func replaceBlock(t *testing.T, doc, name, text string) string {
	t.Helper()
	begin, end := "<!-- "+name+": generated -->\n", "<!-- "+name+": end -->\n"
	head, rest, ok := strings.Cut(doc, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no block between %q and %q", docPath, begin, end)
	}
	return head + begin + text + end + tail
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("| component | status | code | when | what to do |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range Rules() {
		fmt.Fprintf(&b, "| %s | **%s** | `%s` | %s | %s |\n", r.Component, r.Severity, r.Code, r.Condition, r.Remedy)
	}
	return b.String()
}

func faultsTable() string {
	var b strings.Builder
	b.WriteString("| component | status | code | told by | when | what to do |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range Faults() {
		fmt.Fprintf(&b, "| %s | **%s** | `%s` | %s | %s | %s |\n", f.Component, f.Severity, f.Code, f.Daemons, f.Condition, f.Remedy)
	}
	return b.String()
}
