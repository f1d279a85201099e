package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGoBuild(t *testing.T) {
	t.Parallel()
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "new", "dir")
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example\n\ngo 1.26\n")
	write("one/main.go", "package main\n\nfunc main() { println(1) }\n")
	write("deep/two/main.go", "package main\n\nfunc main() { println(2) }\n")
	if err := goBuild(root, dir, nil, "./one", "./deep/two"); err != nil {
		t.Fatal(err)
	}
	run := func(name string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if one, two := run("one"), run("two"); one != "1" || two != "2" {
		t.Errorf("the programs say %q and %q, want 1 and 2", one, two)
	}
	before, err := os.Stat(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	write("one/main.go", "package main\n\nfunc main() { println(3) }\n")
	if err := goBuild(root, dir, nil, "./one"); err != nil {
		t.Fatal(err)
	}
	if one := run("one"); one != "3" {
		t.Errorf("after a change the program says %q, want 3", one)
	}
	after, err := os.Stat(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, after) {
		t.Error("a build wrote into the file that a test may be running")
	}
	write("one/main.go", "package main\n\nfunc main() { nonsense }\n")
	if err := goBuild(root, dir, nil, "./one"); err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("a build of nonsense says %v, want the compiler's words", err)
	}
}

func TestModuleRoot(t *testing.T) {
	root := ModuleRoot(t)
	if _, err := os.Stat(filepath.Join(root, "shared", "testkit", "binaries_test.go")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if got := failure(t, func(t testing.TB) { ModuleRoot(t) }); !strings.Contains(got, "belabox-metrics") {
		t.Errorf("outside of a checkout the message is %q", got)
	}
}
