// Package scripts tests the shell scripts beside it. The one that installs packages
// runs on a PATH of stand-ins: nothing is installed.
package scripts

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// machine is a PATH with nothing on it but what a script may expect of any
// system, and stand-ins that write their arguments to a log.
type machine struct {
	t    *testing.T
	bin  string // the PATH
	dir  string
	env  []string
	root string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, bin: filepath.Join(dir, "bin"), dir: dir, root: testkit.ModuleRoot(t)}
	if err := os.Mkdir(m.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bash", "sh", "cat", "chmod", "grep", "mktemp", "printf", "rm", "sed", "xargs"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.env = []string{
		"PATH=" + m.bin,
		"BIN=" + m.bin,
		"SBIN=" + m.bin,
		"LOG=" + filepath.Join(dir, "log"),
		"TMPDIR=" + dir,
		"POLICY_RC_D=" + filepath.Join(dir, "policy-rc.d"),
	}
	m.program("systemd-analyze", "")
	m.program("groff", "")
	m.program("chromium", "")
	m.program("ip", "")
	return m
}

// clocks puts the programs of the clock tests there.
func (m *machine) clocks() {
	m.t.Helper()
	m.program("qemu-x86_64", "")
	m.program("faketime", "")
}

// program puts a stand-in on the PATH that logs its call and then runs body.
func (m *machine) program(name, body string) {
	m.t.Helper()
	text := "#!/bin/sh\necho \"" + name + " $*\" >>\"$LOG\"\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(m.bin, name), []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) testDeps(args ...string) (output string, code int) {
	m.t.Helper()
	cmd := exec.Command(filepath.Join(m.bin, "bash"), append([]string{filepath.Join(m.root, "scripts", "test-deps.sh")}, args...)...)
	cmd.Env = m.env
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	} else if err != nil {
		m.t.Fatal(err)
	}
	return string(out), 0
}

func (m *machine) calls() []string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func (m *machine) noPolicy() {
	m.t.Helper()
	if _, err := os.Stat(filepath.Join(m.dir, "policy-rc.d")); !errors.Is(err, os.ErrNotExist) {
		m.t.Errorf("the guard against starting services stayed: %v", err)
	}
}

const installs = `
case "$*" in *install*)
	[ -x "$POLICY_RC_D" ] || { echo "nothing keeps the services from starting"; exit 1; }
	! "$POLICY_RC_D" x start || exit 1
	for p in victoria-metrics prometheus-node-exporter qemu-x86_64 faketime; do printf '#!/bin/sh\n' >"$BIN/$p"; chmod 755 "$BIN/$p"; done
esac`

func TestTestDeps_AllThere(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("victoria-metrics", "")
	m.program("prometheus-node-exporter", "")
	m.clocks()
	m.program("apt-get", "")
	if out, code := m.testDeps(); code != 0 || out != "" {
		t.Errorf("exit code %d and %q, want a quiet 0", code, out)
	}
	if calls := m.calls(); !slices.Equal(calls, []string{""}) {
		t.Errorf("it called %q, want nothing", calls)
	}
}

func TestTestDeps_Installs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", "echo 0")
	m.program("apt-get", installs)
	if out, code := m.testDeps(); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	want := []string{
		"id -u",
		"apt-get update",
		"apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 victoria-metrics prometheus-node-exporter qemu-user faketime",
	}
	if calls := m.calls(); !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	m.noPolicy()
}

// A group adds what its tests alone need, and systemd's own units stay as they are.
func TestTestDeps_Group(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", "echo 0")
	m.program("victoria-metrics", "")
	m.program("prometheus-node-exporter", "")
	m.clocks()
	if err := os.Remove(filepath.Join(m.bin, "systemd-analyze")); err != nil {
		t.Fatal(err)
	}
	m.program("apt-get", `
case "$*" in *install*)
	for p in systemd-analyze systemd-nspawn debootstrap lintian mkfs.ext4; do printf '#!/bin/sh\n' >"$BIN/$p"; chmod 755 "$BIN/$p"; done
esac`)
	m.program("systemctl", "")
	m.program("dpkg", `printf '/lib/systemd/system/n.service\n'`)
	if out, code := m.testDeps("systemd"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	want := []string{
		"apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 systemd systemd-container debootstrap lintian e2fsprogs",
		"dpkg -L systemd-container debootstrap lintian e2fsprogs",
		"systemctl --quiet disable n.service",
	}
	if calls := m.calls(); !slices.Equal(calls[2:], want) {
		t.Errorf("calls %q, want them to end with %q", calls, want)
	}
	if out, code := m.testDeps("systemd"); code != 0 || out != "" {
		t.Errorf("with all of it there: exit code %d and %q, want a quiet 0", code, out)
	}
}

func TestTestDeps_DisablesOnlyTheNewServices(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", "echo 0")
	m.program("victoria-metrics", "")
	m.clocks()
	m.program("apt-get", installs)
	m.program("systemctl", "")
	m.program("dpkg", `printf '/usr/bin/x\n/lib/systemd/system/n.service\n/usr/lib/systemd/system/n.timer\n/lib/systemd/system/n@.service\n/lib/systemd/system/n.service.d/a.service\n'`)
	if out, code := m.testDeps(); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	want := []string{
		"dpkg -L prometheus-node-exporter",
		"systemctl --quiet disable n.service",
		"systemctl --quiet disable n.timer",
	}
	if calls := m.calls(); !slices.Equal(calls[3:], want) {
		t.Errorf("calls %q, want them to end with %q", calls, want)
	}
}

func TestTestDeps_KeepsAPolicyThatIsThere(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", "echo 0")
	m.program("apt-get", installs)
	policy := filepath.Join(m.dir, "policy-rc.d")
	if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101 # mine\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, code := m.testDeps(); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if text, err := os.ReadFile(policy); err != nil || !strings.Contains(string(text), "mine") {
		t.Errorf("the machine's own policy became %q, %v", text, err)
	}
}

func TestTestDeps_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	const all = `victoria-metrics, prometheus-node-exporter, qemu-x86_64, faketime are not on the PATH and could not be installed`
	f := func(name, want string, set func(m *machine)) {
		t.Helper()
		m := newMachine(t)
		m.program("id", "echo 0")
		set(m)
		out, code := m.testDeps()
		lines := strings.Split(strings.TrimSpace(out), "\n")
		last := lines[len(lines)-1]
		if code == 0 || !strings.Contains(last, want) || !strings.Contains(last, `as root, then 'make test' again`) {
			t.Errorf("%s: exit code %d and %q, want 1 and a sentence with %q", name, code, last, want)
		}
		m.noPolicy()
	}
	f("no Debian", all+" (this is no Debian): run 'apt-get install victoria-metrics prometheus-node-exporter qemu-user faketime'", func(*machine) {})
	f("no root", "(it takes root)", func(m *machine) {
		m.program("id", "echo 1000")
		m.program("apt-get", "")
	})
	f("sudo asks for a password", "(it takes root)", func(m *machine) {
		m.program("id", "echo 1000")
		m.program("apt-get", "")
		m.program("sudo", "exit 1")
	})
	f("no network", "(apt-get update failed)", func(m *machine) {
		m.program("apt-get", "exit 100")
	})
	f("one of them", `victoria-metrics is not on the PATH and could not be installed (apt-get install failed): run 'apt-get install victoria-metrics'`, func(m *machine) {
		m.program("prometheus-node-exporter", "")
		m.clocks()
		m.program("apt-get", `[ "$1" = update ]`)
	})
	f("a package without its program", "(the packages do not bring them)", func(m *machine) {
		m.program("apt-get", "")
	})
}

func TestTestDeps_WaitsForALock(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", "echo 0")
	m.program("sleep", "") // takes no time
	m.program("apt-get", installs+`
[ "$1" = update ] || exit 0
[ -e "$BIN/tried" ] && exit 0
: >"$BIN/tried"; echo 'E: Could not get lock /var/lib/apt/lists/lock'; exit 100`)
	if out, code := m.testDeps(); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if calls, want := m.calls()[1:4], []string{"apt-get update", "sleep 10", "apt-get update"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

func TestTestDeps_Sudo(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.program("id", `[ -e "$BIN/root" ] && echo 0 || echo 1000`)
	m.program("apt-get", installs)
	m.program("sudo", `[ "$2" = true ] && exit 0
: >"$BIN/root"; shift 2; exec "$@"`)
	if out, code := m.testDeps(); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	m.noPolicy()
}

func TestFindTests(t *testing.T) {
	t.Parallel()
	root := testkit.ModuleRoot(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"scripts/find-tests.sh":     "",
		"shared/run/a_test.go":      "func FuzzOne(f *testing.F) {}\nfunc TestFuzz(t *testing.T) {}\n",
		"b/b_test.go":               "func FuzzB_two(f *testing.F) {}\n\tfunc FuzzNot(",
		"b/b.go":                    "func FuzzNot(",
		"run/c_test.go":             "func FuzzNot(",
		"b/testdata/src/x_test.go":  "func FuzzNot(",
		"b/fuzzy_test.go":           "func Fuzzy(",
		"b/with space/in_test.go":   "func BenchmarkX(",
		"b/with space/more_test.go": "func BenchmarkX(",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "scripts/find-tests.sh" {
			script, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			text = string(script)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := func(kind, want string) {
		t.Helper()
		out, err := exec.Command("bash", filepath.Join(dir, "scripts", "find-tests.sh"), kind).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(out); got != want {
			t.Errorf("%s tests: %q, want %q", kind, got, want)
		}
	}
	f("Fuzz", "./b FuzzB_two\n./shared/run FuzzOne\n")
	f("Benchmark", "./b/with space BenchmarkX\n")
	f("Nothing", "")
}
