package docs

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

var packageSpan = regexp.MustCompile("`([a-z0-9/]+)`")

// TestArchitectureDoc: the table of packages lists exactly the packages of the module.
func TestArchitectureDoc(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "\n## The packages\n")
	got := map[string]bool{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, span := range packageSpan.FindAllStringSubmatch(cells[1], -1) {
				got[span[1]] = true
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "bench,systemdtest", "./...")
	cmd.Dir = testkit.ModuleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		want[strings.TrimPrefix(path, "belabox-metrics/")] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q,\nwant %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
