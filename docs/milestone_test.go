package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What a line of MILESTONE-2.md or of the README may name as evidence.
var (
	testsSpan = regexp.MustCompile("`([a-z0-9/]+): ((?:Test|Fuzz|Benchmark)[^`]*)`")  // `shared/store: TestPrune, TestRows`
	testName  = regexp.MustCompile("[^n] (Test|Fuzz|Benchmark)[A-Z][a-z]+[A-Za-z_]*") // but not behind -run
	goTest    = regexp.MustCompile("`go test (?:-tags ([a-z]+) )?\\./([a-z0-9/]+)(?: -run '?([^ '`]+)'?)?(?: -bench ([A-Za-z_]+))?[^`]*`")
	figure    = regexp.MustCompile(`\d+(?:,\d{3})+|\d+\.\d+`) // with a decimal or a thousands separator
	makeSpan  = regexp.MustCompile("`make ([a-z-]+)[^`]*`")
	mdLink    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	criterion = regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$`)
)

// evidenceFiles name tests, targets and links; paths from this directory.
var evidenceFiles = []string{"MILESTONE-2.md", "../README.md"}

// tagTargets are the targets of the Makefile that run tests with a build tag.
var tagTargets = map[string]string{"systemdtest": "make test-systemd", "dockertest": "make test-docker", "bench": "make bench"}

// suite has the test functions of a package by name. Methods are entered under their bare names,
// which is enough to find out whether a test can reach one.
type suite map[string]*function

type function struct {
	calls []string
	skips bool   // calls Skip, Skipf or SkipNow of package testing
	tag   string // the build tag that it needs; "" = none
}

// parseSuite parses the test files of a directory, including those with build tags.
func parseSuite(dir string) (suite, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no tests in %s", dir)
	}
	all := suite{}
	for _, path := range paths {
		tag, err := needsTag(dir, filepath.Base(path))
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				all[fn.Name.Name] = inspect(fn, tag)
			}
		}
	}
	return all, nil
}

// needsTag returns the build tag that a file needs on linux/amd64, where CI runs; "" = none.
func needsTag(dir, name string) (string, error) {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH = "linux", "amd64"
	for _, tag := range append([]string{""}, slices.Sorted(maps.Keys(tagTargets))...) {
		ctx.BuildTags = []string{tag}
		if matches, err := ctx.MatchFile(dir, name); err != nil || matches {
			return tag, err
		}
	}
	return "another system", nil
}

// inspect returns what a function calls and whether it skips a test. The Skip of rapid's T skips
// one generated example and does not count.
func inspect(decl *ast.FuncDecl, tag string) *function {
	fn := &function{tag: tag}
	drawn := map[string]bool{}
	ast.Inspect(decl, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncType:
			for _, field := range node.Params.List {
				for _, name := range field.Names {
					drawn[name.Name] = strings.Contains(types.ExprString(field.Type), "rapid.")
				}
			}
		case *ast.CallExpr:
			switch call := node.Fun.(type) {
			case *ast.Ident:
				fn.calls = append(fn.calls, call.Name)
			case *ast.SelectorExpr:
				fn.calls = append(fn.calls, call.Sel.Name)
				on, _ := call.X.(*ast.Ident)
				if strings.HasPrefix(call.Sel.Name, "Skip") && on != nil && !drawn[on.Name] && slices.Contains([]string{"t", "b", "tb", "f"}, on.Name) {
					fn.skips = true
				}
			}
		}
		return true
	})
	return fn
}

// reaches reports whether want is true for a function or for one that it calls in the package.
func (s suite) reaches(name string, want func(*function) bool) bool {
	seen := map[string]bool{}
	var visit func(name string) bool
	visit = func(name string) bool {
		fn := s[name]
		if fn == nil || seen[name] {
			return false
		}
		seen[name] = true
		return want(fn) || slices.ContainsFunc(fn.calls, visit)
	}
	return visit(name)
}

// TestMilestone_Tests: every test that is named as evidence exists, is run by "go test" or by the
// target beside it, and is not skipped.
func TestMilestone_Tests(t *testing.T) {
	t.Parallel()
	suites := map[string]suite{}
	named := 0
	for _, path := range evidenceFiles {
		for line := range strings.Lines(read(t, path)) {
			for _, span := range testsSpan.FindAllStringSubmatch(line, -1) {
				pkg := span[1]
				if suites[pkg] == nil {
					var err error
					if suites[pkg], err = parseSuite(filepath.Join("..", pkg)); err != nil {
						t.Errorf("%s names %s: %v", path, span[0], err)
						suites[pkg] = suite{}
					}
				}
				for name := range strings.SplitSeq(span[2], ", ") {
					named++
					if err := checkEvidence(suites[pkg], pkg, name, line); err != nil {
						t.Errorf("%s names %s: %v", path, span[0], err)
					}
				}
			}
			for _, command := range goTest.FindAllStringSubmatch(line, -1) {
				if err := checkCommand(command, line); err != nil {
					t.Errorf("%s: %s: %v", path, command[0], err)
				}
			}
			if stray := testName.FindString(testsSpan.ReplaceAllString(line, "")); stray != "" {
				t.Errorf("%s names %s without its package", path, stray)
			}
		}
	}
	var steps []string
	for _, step := range regexp.MustCompile(`(?m)^step make (.*)$`).FindAllStringSubmatch(read(t, "../.ci/run"), -1) {
		steps = append(steps, strings.Fields(step[1])...)
	}
	for _, target := range []string{"make test", tagTargets["systemdtest"], tagTargets["dockertest"]} {
		if !slices.Contains(steps, strings.TrimPrefix(target, "make ")) {
			t.Errorf("CI does not run %q", target)
		}
	}
	if named < 200 {
		t.Errorf("%d tests are named: the notation must have changed", named)
	}
}

// checkEvidence checks one test that a line of text names.
func checkEvidence(s suite, pkg, name, line string) error {
	name, sub, _ := strings.Cut(name, "/")
	fn := s[name]
	if fn == nil {
		return fmt.Errorf("%s has no %s", pkg, name)
	}
	if sub != "" && !hasLiteral(pkg, sub) {
		return fmt.Errorf("%s has no sub-test %q", name, sub)
	}
	if target, hidden := tagTargets[fn.tag]; hidden && !strings.Contains(line, target) {
		return fmt.Errorf("%s is not run by go test: write %q beside it", name, target)
	} else if !hidden && fn.tag != "" {
		return fmt.Errorf("%s is not run on linux/amd64: %s", name, fn.tag)
	}
	if s.reaches(name, func(fn *function) bool { return fn.skips }) && !strings.Contains(line, "(root)") {
		return fmt.Errorf("%s may be skipped: write (root) beside it if only root can run it", name)
	}
	return nil
}

// checkCommand checks the parts of a match of goTest: the package is there, and what it selects.
func checkCommand(match []string, line string) error {
	tag, pkg, run, bench := match[1], match[2], match[3], match[4]
	s, err := parseSuite(filepath.Join("..", pkg))
	if err != nil {
		return err
	}
	prefix := "Test"
	if bench != "" {
		prefix, run = "Benchmark", bench
	}
	// Each level of sub-tests has an expression of its own.
	run, _, _ = strings.Cut(run, "/")
	pattern, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	selected := 0
	for name, fn := range s {
		if !strings.HasPrefix(name, prefix) || name == "TestMain" || !pattern.MatchString(name) || fn.tag != "" && fn.tag != tag {
			continue
		}
		selected++
		if bench == "" && run != "" {
			if err := checkEvidence(s, pkg, name, line); err != nil {
				return err
			}
		}
	}
	if selected == 0 {
		return errors.New("it selects nothing")
	}
	return nil
}

// TestMilestone_Catches checks that checkEvidence finds each kind of wrong evidence.
func TestMilestone_Catches(t *testing.T) {
	t.Parallel()
	s := suite{
		"TestGood":    {calls: []string{"fine", "Errorf"}},
		"TestSkipped": {calls: []string{"fine", "needRoot"}},
		"TestTagged":  {tag: "systemdtest"},
		"TestOfMacOS": {tag: "another system"},
		"fine":        {},
		"needRoot":    {skips: true},
	}
	f := func(name, line, want string) {
		t.Helper()
		err := checkEvidence(s, "docs", name, line)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s beside %q: got %v, want %q", name, line, err, want)
		}
	}
	f("TestGood", "", "")
	f("TestGood/linux", "", "")
	f("TestGood/none of that name", "", "has no sub-test")
	f("TestGone", "", "has no TestGone")
	f("TestSkipped", "", "may be skipped")
	f("TestSkipped", "shown (root)", "")
	f("TestTagged", "", "not run by go test")
	f("TestTagged", "`make test-systemd`", "")
	f("TestOfMacOS", "", "not run on linux")

	for command, want := range map[string]bool{
		"`go test ./docs`": true, "`go test ./docs -run TestMilestone -v`": true, "`go test ./docs -run '^TestNone$'`": false,
		"`go test -tags bench ./bench -run '^$' -bench Budget -v`": true, "`go test ./bench -run '^$' -bench Budget`": false,
		"`go test ./nowhere -run TestMilestone`": false, "`go test ./e2e -run '^TestSoak$/^faults$' -timeout 0`": true,
	} {
		match := goTest.FindStringSubmatch(command)
		if match == nil {
			t.Errorf("%s is not found", command)
		} else if err := checkCommand(match, command); (err == nil) != want {
			t.Errorf("%s: %v", command, err)
		}
	}

	real, err := parseSuite("../collectord/internal/sample")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"TestDisk_LoopDevice": true, "TestThermal_KernelErrors": true, "TestCPU_Delta": false} {
		if got := real.reaches(name, func(fn *function) bool { return fn.skips }); got != want {
			t.Errorf("%s may be skipped: %v, want %v", name, got, want)
		}
	}
	if real, err = parseSuite("../shared/store"); err != nil || real.reaches("TestModel", func(fn *function) bool { return fn.skips }) {
		t.Errorf("the Skip of a rapid example counts as a skipped test (%v)", err)
	}
}

// hasLiteral reports whether the tests of a package contain a string literal: the name of a
// sub-test.
func hasLiteral(pkg, text string) bool {
	paths, _ := filepath.Glob(filepath.Join("..", pkg, "*_test.go")) // the pattern is right
	return slices.ContainsFunc(paths, func(path string) bool {
		content, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(content), strconv.Quote(text))
	})
}

// TestMilestone_EachLineHasEvidence: every line of a table names a test, a target or a document.
func TestMilestone_EachLineHasEvidence(t *testing.T) {
	t.Parallel()
	lines := 0
	for line := range strings.Lines(read(t, "MILESTONE-2.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| --- ") || strings.HasPrefix(line, "| what ") || strings.HasPrefix(line, "| # ") {
			continue
		}
		lines++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		last := cells[len(cells)-1]
		if len(cells) < 2 || !testsSpan.MatchString(last) && !makeSpan.MatchString(last) && !goTest.MatchString(last) && !mdLink.MatchString(last) {
			t.Errorf("no evidence: %s", line)
		}
	}
	if lines < 100 {
		t.Errorf("%d lines, want at least 100", lines)
	}
}

// TestMilestone_Links: on all pages, linked files and headings exist, and so do the targets of the
// Makefile that are named.
func TestMilestone_Links(t *testing.T) {
	t.Parallel()
	makefile := read(t, "../Makefile")
	pages := []string{"../docker/README.md", "../shipperd/internal/ship/DESIGN.md"}
	for _, pattern := range []string{"../*.md", "*.md", "decisions/*.md"} {
		found, _ := filepath.Glob(pattern) // the pattern is right
		pages = append(pages, found...)
	}
	for _, path := range pages {
		text := read(t, path)
		for _, link := range mdLink.FindAllStringSubmatch(text, -1) {
			if err := checkLink(filepath.Dir(path), filepath.Base(path), link[1]); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		for _, target := range makeSpan.FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^` + target[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: the Makefile has no %s", path, target[1])
			}
		}
	}
}

func checkLink(dir, self, link string) error {
	if strings.Contains(link, "://") {
		return nil
	}
	path, anchor, _ := strings.Cut(link, "#")
	if path == "" {
		path = self
	}
	content, err := os.ReadFile(filepath.Join(dir, path))
	if info, statErr := os.Stat(filepath.Join(dir, path)); statErr == nil && info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	for _, heading := range mdHeading.FindAllStringSubmatch(string(content), -1) {
		if anchor == anchorOf(heading[1]) {
			return nil
		}
	}
	if anchor != "" {
		return fmt.Errorf("%s has no heading for #%s", path, anchor)
	}
	return nil
}

// anchorOf returns the anchor that GitHub generates for a heading.
func anchorOf(heading string) string {
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(heading, " ", "-")
}

// TestMilestone_Counts: there are at least as many tests as the document says, and the document
// says at least as many as required. An integration test starts the built programs; every other
// test function is a unit test.
func TestMilestone_Counts(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "testdata") {
			folders[filepath.Dir(path)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	units, integrations := 0, 0
	for dir := range folders {
		s, err := parseSuite(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name := range s {
			switch {
			case !strings.HasPrefix(name, "Test") || name == "TestMain":
			case s.reaches(name, func(fn *function) bool {
				return slices.Contains(fn.calls, "Binaries") || slices.Contains(fn.calls, "debian")
			}):
				integrations++
			default:
				units++
			}
		}
	}
	for what, count := range map[string]struct{ required, actual int }{
		"unit tests": {80, units}, "integration tests": {21, integrations},
	} {
		said := regexp.MustCompile(`(\d+) ` + what).FindStringSubmatch(read(t, "MILESTONE-2.md"))
		if said == nil {
			t.Fatalf("the document does not say how many %s there are", what)
		}
		n, err := strconv.Atoi(said[1])
		if err != nil || count.actual < n || n < count.required {
			t.Errorf("%d %s, the document says at least %d, required are %d", count.actual, what, n, count.required)
		}
	}
	t.Logf("%d unit tests, %d integration tests", units, integrations)
}

// TestMilestone_Criteria: all twenty are in the document, each with a figure and with a command
// that shows it.
func TestMilestone_Criteria(t *testing.T) {
	t.Parallel()
	rows := criterion.FindAllStringSubmatch(read(t, "MILESTONE-2.md"), -1)
	if len(rows) != 20 {
		t.Fatalf("%d criteria, want 20", len(rows))
	}
	for i, row := range rows {
		number, mark, result, command := row[1], row[3], row[4], row[5]
		if number != strconv.Itoa(i+1) || mark != "✔" {
			t.Errorf("criterion %s with the mark %q is at position %d", number, mark, i+1)
		}
		if !regexp.MustCompile(`\d`).MatchString(result) {
			t.Errorf("criterion %s has no figure: %s", number, result)
		}
		if !goTest.MatchString(command) && !makeSpan.MatchString(command) {
			t.Errorf("criterion %s has no command: %s", number, command)
		}
	}
}

// TestReadme_Figures: what README.md says of this agent and of others, and what MILESTONE-2.md says
// with a link to a measurement, is in the page of that measurement.
func TestReadme_Figures(t *testing.T) {
	t.Parallel()
	plain := func(text string) string { return strings.ReplaceAll(text, ",", "") }
	measured := map[string]bool{}
	for _, page := range []string{"benchmarks.md", "soak.md", "decisions/0004-gzip-level.md"} {
		for _, number := range regexp.MustCompile(`\d+(?:\.\d+)?`).FindAllString(plain(read(t, page)), -1) {
			measured[number] = true
		}
	}
	_, why, _ := strings.Cut(read(t, "../README.md"), "\n## Why another agent\n")
	why, _, _ = strings.Cut(why, "\n## ")
	lines := strings.Split(why, "\n")
	for line := range strings.Lines(read(t, "MILESTONE-2.md")) {
		if strings.Contains(line, "](benchmarks.md") || strings.Contains(line, "](soak.md") {
			lines = append(lines, line)
		}
	}
	found := 0
	for _, line := range lines {
		for _, number := range figure.FindAllString(line, -1) {
			found++
			if !measured[plain(number)] {
				t.Errorf("%s was not measured: %s", number, line)
			}
		}
	}
	if found < 25 {
		t.Errorf("%d figures: the form must have changed", found)
	}
}
