//go:build systemdtest

package systemd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// commandLimit is for one command in a machine, an installation included.
const commandLimit = 5 * time.Minute

// machine is a Debian that systemd-nspawn boots from a folder, with a systemd of
// its own as process 1. It is no machine to the host's systemd, if there is one,
// and no command reaches that.
type machine struct {
	t      *testing.T
	root   string // its files
	net    network
	nspawn *exec.Cmd
	leader int // its process 1, as the host numbers it
	group  group
	output bytes.Buffer
}

// newMachine boots the Debian of the flags.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return bootCopy(t, theDebian)
}

// bootCopy copies a system and boots it.
func bootCopy(t *testing.T, system func() (string, error)) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a machine takes root: run 'make test-systemd' as root")
	}
	m := &machine{t: t, root: filepath.Join(t.TempDir(), "root"), net: newNetwork(t)}
	dir, err := system()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", "--reflink=auto", dir, m.root).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", dir, err, out)
	}
	// A journal that survives the boots.
	if err := os.MkdirAll(m.path("/var/log/journal"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && m.nspawn != nil {
			out, _ := m.try("journalctl", "--no-pager", "-o", "short-precise", "-n", "60", "-u", "belabox-*")
			t.Logf("the end of the machine's journal:\n%s", out)
		}
		m.kill()
	})
	m.boot()
	return m
}

// path is where the host finds a file of the machine.
func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

var machines atomic.Int32

// boot starts it and waits until its systemd has nothing more to start.
func (m *machine) boot() {
	m.t.Helper()
	// A control group of its own: two machines in one would share their groups.
	var err error
	if m.group, err = newGroup(fmt.Sprintf("belabox-test-%d-%d", os.Getpid(), machines.Add(1))); err != nil {
		m.t.Fatal(err)
	}
	dir, err := os.Open(m.group.path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer dir.Close()
	m.output.Reset()
	m.nspawn = exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no",
		"--boot", "--directory="+m.root, "--network-namespace-path="+m.net.path(),
		// What systemd needs to set up IPAddressDeny=, and the question whether the clock is right:
		// without a capability nobody can set it.
		"--capability=CAP_BPF", "--system-call-filter=bpf adjtimex",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe")
	// The unified hierarchy, where the host has it mounted at all: filters for
	// addresses exist only there.
	m.nspawn.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_LOG_LEVEL=warning")
	m.nspawn.Stdout, m.nspawn.Stderr = &m.output, &m.output
	// When the test is killed, nspawn is told to shut the machine down. Were it killed
	// itself, the machine would live on.
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	testkit.Eventually(m.t, testkit.WaitLimit, "the machine's process 1", func() error {
		m.leader, err = onlyChild(m.nspawn.Process.Pid)
		return err
	})
	testkit.Eventually(m.t, testkit.WaitLimit, "the machine's boot", func() error {
		state, err := m.try("systemctl", "is-system-running", "--wait")
		if s := strings.TrimSpace(state); s != "running" {
			return fmt.Errorf("the state is %q, %v", s, err)
		}
		return nil
	})
}

// onlyChild finds process 1 of the machine. It runs systemd when the helper that
// set the machine up is gone.
func onlyChild(parent int) (int, error) {
	path := fmt.Sprintf("/proc/%d/task/%d/children", parent, parent)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) != 1 {
		return 0, fmt.Errorf("%s has %d processes", path, len(fields))
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, err
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err == nil && strings.TrimSpace(string(comm)) != "systemd" {
		err = fmt.Errorf("process %d is %q yet", pid, comm)
	}
	return pid, err
}

// kill is a power cut: nothing in the machine gets another instruction.
func (m *machine) kill() {
	if m.nspawn == nil {
		return
	}
	if m.leader > 0 {
		_ = syscall.Kill(m.leader, syscall.SIGKILL) // with it the kernel kills all of its processes
	}
	_ = m.nspawn.Process.Kill()
	_ = m.nspawn.Wait() // that it was killed is known
	if err := m.group.remove(); err != nil {
		m.t.Error(err)
	}
	m.nspawn, m.leader = nil, 0
}

// try runs a command in the machine as its root.
func (m *machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit) // for cleanups too
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.leader), "--all", "--"}, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try where a failure fails the test.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// write writes a file of the machine.
func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// property asks systemd about a daemon.
func (m *machine) property(daemon, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "-p", name, unitFile(daemon)))
}

func (m *machine) pid(daemon string) int {
	m.t.Helper()
	pid, err := strconv.Atoi(m.property(daemon, "MainPID"))
	if err != nil {
		m.t.Fatal(err)
	}
	return pid
}

// active waits until a daemon has told systemd that it is ready, in another
// process than before (0: any).
func (m *machine) active(daemon string, before int) (pid int) {
	m.t.Helper()
	testkit.Eventually(m.t, testkit.WaitLimit, daemon+" to be active", func() error {
		state, pid := m.property(daemon, "ActiveState"), m.pid(daemon)
		if state != "active" || pid == 0 || pid == before {
			return fmt.Errorf("%s, process %d (before: %d)", state, pid, before)
		}
		return nil
	})
	return m.pid(daemon)
}

// systemd is the version of the machine's.
func (m *machine) systemd() int {
	m.t.Helper()
	fields := strings.Fields(m.run("systemctl", "--version")) // systemd 252 (252.39-1~deb12u1) …
	version, err := strconv.Atoi(fields[1])
	if err != nil {
		m.t.Fatal(err)
	}
	return version
}

// journal is what a daemon has written, and systemd about it.
func (m *machine) journal(daemon string) string {
	m.t.Helper()
	return m.run("journalctl", "--no-pager", "-o", "cat", "-u", unitFile(daemon))
}

// dropIn changes the settings of one daemon's unit, section Service.
func (m *machine) dropIn(daemon, settings string) {
	m.t.Helper()
	m.write("/etc/systemd/system/"+unitFile(daemon)+".d/test.conf", "[Service]\n"+settings, 0o644)
	m.run("systemctl", "daemon-reload")
}
