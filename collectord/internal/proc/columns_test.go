package proc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// treeOf returns the fixture tree testdata/<name>.
func treeOf(name string) FS {
	dir := filepath.Join("testdata", name)
	return FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
}

// fuzzFixtures runs fuzz with each fixture that matches one of the patterns, and
// with some texts that parsers stumble over, as seeds.
func fuzzFixtures(f *testing.F, fuzz func(t *testing.T, text []byte), patterns ...string) {
	f.Helper()
	var paths []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(found) == 0 {
			f.Fatalf("no fixture matches %s: %v", pattern, err)
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a fixture of a file that cannot be read
		}
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	for _, text := range []string{"", "\n", " ", "\x00", ":", "-", ".", "18446744073709551616 0\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(fuzz)
}

// wantParseError fails unless err is a ParseError of the file at path or, if
// path is "", of no file, at the given line.
func wantParseError(t *testing.T, err error, path string, line int) {
	t.Helper()
	e, ok := errors.AsType[*ParseError](err)
	if !ok || e.File != path || e.Line != line {
		t.Errorf("got error %v, want one of %s:%d", err, path, line)
	}
}

func TestParseUints(t *testing.T) {
	t.Parallel()
	var v [2]uint64
	for _, c := range []struct {
		line string
		rest string
		err  error
	}{
		{"1 2", "", nil},
		{"  1\t2 three", " three", nil},
		{"1", "", errColumns},
		{"", "", errColumns},
		{"1 -2", "", ErrSyntax},
		{"1 18446744073709551616", "", ErrRange},
	} {
		rest, err := parseUints([]byte(c.line), v[:])
		if string(rest) != c.rest || !errors.Is(err, c.err) {
			t.Errorf("%q: got rest %q, %v, want %q, %v", c.line, rest, err, c.rest, c.err)
		}
		if err == nil && v != [2]uint64{1, 2} {
			t.Errorf("%q: got %v", c.line, v)
		}
	}
}

func isNotSupported(err error) bool { return errors.Is(err, ErrNotSupported) }

// writeFile makes a file with the folders above it.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantLinesCounted fails if a parser of lines lost one without an error, or made
// several of one.
func wantLinesCounted(t *testing.T, text []byte, parsed int, err error) {
	t.Helper()
	lines := 0
	for len(text) > 0 {
		_, text = NextLine(text)
		lines++
	}
	if parsed > lines || err == nil && parsed < lines {
		t.Errorf("%d of %d lines, error %v", parsed, lines, err)
	}
}
