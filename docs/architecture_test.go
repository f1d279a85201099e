package docs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
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
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "bench,systemdtest,dockertest", "./...")
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

// TestArchitectureDoc_Steps: the way of a sample has ten steps. Each names files that exist, and
// functions that are declared in the file before them.
func TestArchitectureDoc_Steps(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(read(t, "architecture.md"), "\n## The path of a sample\n")
	section, _, _ = strings.Cut(section, "\n## ")
	steps := regexp.MustCompile(`(?m)^\d+\. `).Split(section, -1)[1:]
	if len(steps) != 10 {
		t.Errorf("%d steps, want 10", len(steps))
	}
	for i, step := range steps {
		files := regexp.MustCompile("`([a-z0-9_/]+\\.go)`(?:\\s+\\(`(\\w+)`\\))?").FindAllStringSubmatch(step, -1)
		if len(files) == 0 {
			t.Errorf("step %d names no file", i+1)
		}
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join("..", file[1]))
			if err != nil {
				t.Errorf("step %d: %v", i+1, err)
				continue
			}
			declared := fmt.Sprintf(`(?m)^func (\([^)]*\) )?%s\(`, file[2])
			if file[2] != "" && !regexp.MustCompile(declared).Match(content) {
				t.Errorf("step %d: %s does not declare %s", i+1, file[1], file[2])
			}
		}
	}
}

// TestArchitectureDoc_Layers: each package of the programs is in one of the five layers, and
// imports nothing of a higher one.
func TestArchitectureDoc_Layers(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(read(t, "architecture.md"), "\n## Layers\n")
	section, _, _ = strings.Cut(section, "\n\nTests enforce")
	layers := regexp.MustCompile(`(?m)^\d+\. `).Split(section, -1)[1:]
	if len(layers) != 5 {
		t.Fatalf("%d layers, want 5", len(layers))
	}
	layerOf := map[string]int{}
	for i, layer := range layers {
		for _, span := range packageSpan.FindAllStringSubmatch(layer, -1) {
			layerOf[span[1]] = i + 1
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = testkit.ModuleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "belabox-metrics/"
	for line := range strings.Lines(string(out)) {
		imports := strings.Fields(line)
		from := strings.TrimPrefix(imports[0], module)
		if len(imports) == 1 && from != "migrations" || strings.Contains(from, "test") || strings.HasPrefix(from, "scripts") {
			continue // tests only, or their helpers
		}
		above := layerOf[filepath.Base(from)]
		if above == 0 {
			t.Errorf("%s is in no layer", from)
		}
		for _, to := range imports[1:] {
			to, own := strings.CutPrefix(to, module)
			if below := layerOf[filepath.Base(to)]; own && below < above {
				t.Errorf("%s (layer %d) imports %s (layer %d)", from, above, to, below)
			}
		}
	}
}
