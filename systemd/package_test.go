//go:build systemdtest

package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"belabox-metrics/shared/testkit"
)

// Two releases, one after the other.
const (
	oldVersion = "1.0.0"
	newVersion = "1.0.1"
)

// theDebs has the packages of both for this machine.
var theDebs struct {
	sync.Once
	dir string
	err error
}

func debs(t *testing.T) string {
	t.Helper()
	theDebs.Do(func() {
		if theDebs.dir, theDebs.err = os.MkdirTemp("", "belabox-debs-"); theDebs.err != nil {
			return
		}
		for _, version := range []string{oldVersion, newVersion} {
			if theDebs.err = makeDebs(t, "deb-linux-"+runtime.GOARCH, version, theDebs.dir); theDebs.err != nil {
				return
			}
		}
	})
	if theDebs.err != nil {
		t.Fatal(theDebs.err)
	}
	return theDebs.dir
}

func makeDebs(t *testing.T, target, version, dir string) error {
	cmd := exec.Command("make", target, "VERSION="+version, "DIST="+dir)
	cmd.Dir = testkit.ModuleRoot(t)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600") // there may be no commit to take it from
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", target, err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if theDebs.dir != "" {
		_ = os.RemoveAll(theDebs.dir)
	}
	os.Exit(code)
}

// apt installs a version, as a person does with a downloaded file.
func (m *machine) apt(version string) {
	m.t.Helper()
	m.install(m.deb(version))
}

// install is apt for the package in a file of the host.
func (m *machine) install(deb string) {
	m.t.Helper()
	if out, err := m.tryInstall(deb); err != nil {
		m.t.Fatalf("apt-get install: %v\n%s", err, out)
	}
}

// deb is the package of a version.
func (m *machine) deb(version string) string {
	m.t.Helper()
	return filepath.Join(debs(m.t), fmt.Sprintf("belabox-metrics_%s-1_%s.deb", version, runtime.GOARCH))
}

// tryInstall is install where it may fail.
func (m *machine) tryInstall(deb string) (output string, err error) {
	m.t.Helper()
	text, err := os.ReadFile(deb)
	if err != nil {
		m.t.Fatal(err)
	}
	name := filepath.Base(deb)
	m.write("/root/"+name, string(text), 0o644)
	output, err = m.try("apt-get", "install", "--yes", "--no-install-recommends", "--allow-downgrades",
		"-o", "Dpkg::Options::=--force-confold", "/root/"+name)
	if err := os.Remove(m.path("/root/" + name)); err != nil {
		m.t.Fatal(err)
	}
	return output, err
}

// TestSystem_Packages has Debian's own checker read the packages of all
// architectures: no error, no warning beyond those that lintian-overrides explains.
func TestSystem_Packages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := makeDebs(t, "deb", oldVersion, dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("belabox-metrics_%s-1_%s.deb", oldVersion, runtime.GOARCH)
	if out, err := exec.Command("cmp", filepath.Join(dir, name), filepath.Join(debs(t), name)).CombinedOutput(); err != nil {
		t.Errorf("two builds of one commit differ: %v: %s", err, out)
	}
	listing, err := exec.Command("dpkg-deb", "--contents", filepath.Join(dir, name)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, listing)
	}
	for _, doc := range []string{"operations.md", "alerts.yml", "health-monitoring.md"} {
		if !strings.Contains(string(listing), "./usr/share/doc/belabox-metrics/"+doc+"\n") {
			t.Errorf("%s has no %s:\n%s", name, doc, listing)
		}
	}
	archs := map[string]bool{}
	for _, file := range files {
		arch, err := exec.Command("dpkg-deb", "--field", file, "Architecture").Output()
		if err != nil {
			t.Fatal(err)
		}
		archs[strings.TrimSpace(string(arch))] = true
	}
	for _, arch := range []string{"amd64", "arm64", "armhf"} {
		if !archs[arch] {
			t.Errorf("no package for %s among %q", arch, files)
		}
	}
	cmd := exec.Command("lintian", append([]string{"--allow-root", "--fail-on", "error,warning"}, files...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
}
