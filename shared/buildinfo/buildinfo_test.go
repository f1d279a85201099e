package buildinfo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	t.Parallel()
	got := String("collectord")
	wantStart := "collectord " + Version + " (commit "
	wantEnd := fmt.Sprintf(", %s, %s/%s)", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if !strings.HasPrefix(got, wantStart) || !strings.HasSuffix(got, wantEnd) {
		t.Errorf("got %q, want %q…%q", got, wantStart, wantEnd)
	}
}

func TestRevision(t *testing.T) {
	t.Parallel()
	f := func(want string, pairs ...string) {
		t.Helper()
		var settings []debug.BuildSetting
		for i := 0; i < len(pairs); i += 2 {
			settings = append(settings, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		if got := revision(settings); got != want {
			t.Errorf("revision(%q): got %q, want %q", pairs, got, want)
		}
	}
	f("unknown")
	f("unknown", "GOOS", "linux")
	f("abc", "vcs.revision", "abc")
	f("0123456789ab", "vcs.revision", "0123456789abcdef", "vcs.modified", "false")
	f("0123456789ab-dirty", "vcs.modified", "true", "vcs.revision", "0123456789abcdef")
}

// TestLinkerFlags builds a program with the flags of the comment on Version: a renamed variable or
// package would make the linker ignore them without a word.
func TestLinkerFlags(t *testing.T) {
	t.Parallel()
	const pkg = "belabox-metrics/shared/buildinfo"
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	err := os.WriteFile(src, []byte("package main\n\nimport \""+pkg+"\"\n\nfunc main() { print(buildinfo.String(\"x\")) }\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "x")
	flags := "-X " + pkg + ".Version=9.8.7 -X " + pkg + ".Commit=feed"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", flags, "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program := []string{bin}
	if emulator := os.Getenv("TEST_EMULATOR"); emulator != "" {
		program = []string{emulator, bin}
	}
	out, err := exec.CommandContext(t.Context(), program[0], program[1:]...).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "x 9.8.7 (commit feed, "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}
