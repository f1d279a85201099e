package scripts

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/testkit"
)

const releaseChangelog = `# Changelog

## Unreleased

- Not out yet.

## 1.2.3 (2026-11-23)

- One thing.

  ## Not a heading of a version.

## 1.2

- Older.

## 1.1.0 (2026-01-01)

`

// releaseTree is a checkout of version 1.2.3 whose "make deb" writes three small packages.
func releaseTree(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files := map[string]string{
		"CHANGELOG.md":                  releaseChangelog,
		"shared/buildinfo/buildinfo.go": "var (\n\tVersion = \"1.2.3\"\n)\n",
		".gitignore":                    "/dist/\n",
		"Makefile": "deb:\n\tfor arch in amd64 arm64 armhf; do " +
			"echo $$arch >$(DIST)/belabox-metrics_$(VERSION)-1_$$arch.deb; done\n",
	}
	for _, name := range []string{"release.sh", "release-notes.sh"} {
		text, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), "scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		files["scripts/"+name] = string(text)
	}
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	git(t, dir, "init", "--quiet")
	git(t, dir, "add", "--all")
	git(t, dir, "commit", "--quiet", "--message", "1.2.3")
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// script runs a script of the tree and returns what it printed.
func script(dir string, env []string, args ...string) (output string, err error) {
	cmd := exec.Command("bash", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestReleaseNotes(t *testing.T) {
	t.Parallel()
	dir := releaseTree(t)
	f := func(version, want string) {
		t.Helper()
		got, err := script(dir, nil, "scripts/release-notes.sh", version)
		if err != nil || got != want {
			t.Errorf("notes of %s: %q, %v, want %q", version, got, err, want)
		}
	}
	f("1.2.3", "- One thing.\n\n  ## Not a heading of a version.\n")
	f("1.2", "- Older.\n")
	f("Unreleased", "- Not out yet.\n")
	for _, version := range []string{"1.2.4", "1", "1.1.0"} {
		if out, err := script(dir, nil, "scripts/release-notes.sh", version); err == nil || !strings.Contains(out, `no section "## `+version+`"`) {
			t.Errorf("notes of %s: %q, %v, want an error", version, out, err)
		}
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	dir := releaseTree(t)
	writeFile(t, filepath.Join(dir, "dist/belabox-metrics_1.0.0-1_amd64.deb"), "an older build")
	if out, err := script(dir, nil, "scripts/release.sh", "1.2.3", "dist"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var sums strings.Builder
	for _, arch := range []string{"amd64", "arm64", "armhf"} {
		fmt.Fprintf(&sums, "%x  belabox-metrics_1.2.3-1_%s.deb\n", sha256.Sum256([]byte(arch+"\n")), arch)
	}
	for name, want := range map[string]string{
		"SHA256SUMS":       sums.String(),
		"RELEASE-NOTES.md": "- One thing.\n\n  ## Not a heading of a version.\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, "dist", name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestRelease_Refuses(t *testing.T) {
	t.Parallel()
	f := func(version, want string, change func(dir string)) {
		t.Helper()
		dir := releaseTree(t)
		change(dir)
		out, err := script(dir, []string{"TRIAL="}, "scripts/release.sh", version, "dist")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("got %q, %v, want a refusal with %q", out, err, want)
		}
		if debs, _ := filepath.Glob(filepath.Join(dir, "dist/*")); len(debs) > 0 {
			t.Errorf("after a refusal there is %q", debs)
		}
		if out, err := script(dir, []string{"TRIAL=1"}, "scripts/release.sh", version, "dist"); err != nil || !strings.Contains(out, want) {
			t.Errorf("with TRIAL=1: %v, want a release with the warning %q\n%s", err, want, out)
		}
	}
	f("1.2.3", "uncommitted changes", func(dir string) { writeFile(t, filepath.Join(dir, "new"), "") })
	f("1.2", "shared/buildinfo says 1.2.3, the release is 1.2", func(string) {})
	f("1.2.4", `no section "## 1.2.4"`, func(dir string) {
		writeFile(t, filepath.Join(dir, "shared/buildinfo/buildinfo.go"), "\tVersion = \"1.2.4\"\n")
		git(t, dir, "commit", "--quiet", "--all", "--message", "1.2.4")
	})
}

// TestWorkflow: the hosted workflow runs .ci/run and targets of the Makefile, and no command of its
// own.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), ".github/workflows/ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			If    string
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, job := range workflow.Jobs {
		for _, step := range job.Steps {
			if step.Run != "" {
				got = append(got, name+": "+step.Run)
			}
		}
	}
	slices.Sort(got)
	engine := "check: apt-get update && apt-get install -y --no-install-recommends docker.io && service docker start"
	want := []string{"check: .ci/run", engine, "nightly: make ${{ matrix.target }}", `release: make release VERSION="${GITHUB_REF_NAME#v}"`}
	if !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
	if when := workflow.Jobs["release"].If; when != "startsWith(github.ref, 'refs/tags/v')" {
		t.Errorf("release runs if %q", when)
	}
}
