package proc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
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

func TestParseCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line          string
		first, second uint64
		bad, err      error
	}{
		{"1 x 2", 1, 2, nil, nil}, // a column that is not used may hold anything
		{"  1\t-9 2 three", 1, 2, nil, nil},
		{"1 0", 1, 0, nil, errColumns},
		{"", 0, 0, nil, errColumns},
		{"1 0 -2", 1, Absent, ErrRange, nil},
		{"1x 0 2", Absent, 2, ErrSyntax, nil},
		{"x 0 -2", Absent, Absent, ErrSyntax, nil}, // the first
		{"1 0 18446744073709551616", 1, Absent, ErrRange, nil},
		{"1 0 18446744073709551611", 1, Absent, ErrRange, nil}, // -5, printed as unsigned
		{"9223372036854775808 0 9223372036854775807", Absent, 9223372036854775807, ErrRange, nil},
	} {
		var first, second uint64
		bad, err := parseCounts([]byte(c.line), &first, nil, &second)
		if !errors.Is(err, c.err) || !errors.Is(bad, c.bad) || first != c.first || err == nil && second != c.second {
			t.Errorf("%q: got %d, %d, %v, %v, want %+v", c.line, first, second, bad, err, c)
		}
	}
}

// impossible reports whether a number is one that was printed as unsigned and is not.
func impossible(numbers ...uint64) bool {
	return slices.ContainsFunc(numbers, func(n uint64) bool { return n >= 1<<63 && n != Absent })
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
