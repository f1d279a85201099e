package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGlossary: each name in the last column of the glossary exists: a path in the tree, or a word
// of the sources, the schema, the configuration or the metrics.
func TestGlossary(t *testing.T) {
	t.Parallel()
	text := sources(t)
	terms, names := 0, 0
	for line := range strings.Lines(read(t, "glossary.md")) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, ""), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], " ---") || cells[1] == " term " {
			continue
		}
		terms++
		for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1) {
			names++
			if strings.Contains(span[1], "/") {
				if _, err := os.Stat(filepath.Join("..", span[1])); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(cells[1]), err)
				}
				continue
			}
			for part := range strings.FieldsFuncSeq(span[1], func(r rune) bool { return r == '.' || r == ' ' || r == '-' }) {
				if !regexp.MustCompile(`\b` + regexp.QuoteMeta(part) + `\b`).MatchString(text) {
					t.Errorf("%s: %q is nowhere in the sources", strings.TrimSpace(cells[1]), span[1])
				}
			}
		}
	}
	if terms < 50 || names < 50 {
		t.Errorf("%d terms with %d names: the form of the glossary must have changed", terms, names)
	}
}

// sources is the text of all Go files that are not tests, of the migrations and of the defaults.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		switch filepath.Ext(path) {
		case ".go", ".sql":
		default:
			if entry.Name() != "default.yaml" {
				return nil
			}
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
