package health

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

const docPath = "../../docs/health-monitoring.md"

// TestHealthDoc compares the tables of docs/health-monitoring.md with the code; with -update it
// writes them.
func TestHealthDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	doc = replaceBlock(t, doc, "conditions", conditionsTable())
	doc = replaceBlock(t, doc, "causes", causesTable())
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

// verb finds what Active fills in.
var verb = regexp.MustCompile(`(%[sd])+`)

func conditionsTable() string {
	var b strings.Builder
	b.WriteString("| component | status | code | reported by | when | message | remedy |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range table {
		message := verb.ReplaceAllString(c.Message, "…")
		fmt.Fprintf(&b, "| %s | **%s** | `%s` | %s | %s | %s | %s |\n", c.Component, c.Severity, c.Code, c.Daemon, c.When, message, c.Remedy)
	}
	return b.String()
}

func causesTable() string {
	var b strings.Builder
	b.WriteString("| cause | message | remedy |\n| --- | --- | --- |\n")
	for _, c := range Causes() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Code, c.Of("HOST").Message, cmp.Or(c.Remedy, "as for the condition"))
	}
	return b.String()
}
