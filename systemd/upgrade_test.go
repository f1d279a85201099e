//go:build systemdtest

package systemd

import (
	"os"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// TestSystem_Upgrade installs a newer package over running daemons, then removes
// and purges it.
func TestSystem_Upgrade(t *testing.T) {
	t.Parallel()
	m, vm := startQuick(t)
	m.delivered(vm, 3)
	pids := map[string]int{}
	for _, daemon := range daemons {
		pids[daemon] = m.pid(daemon)
	}
	before := m.ticks()

	m.apt(newVersion)
	for _, daemon := range daemons {
		m.active(daemon, pids[daemon])
	}
	m.delivered(vm, 3)
	if got, want := m.texts("SELECT version FROM sessions WHERE id IN (SELECT max(id) FROM sessions GROUP BY daemon)"),
		[]string{newVersion, newVersion}; !slices.Equal(got, want) {
		t.Errorf("the running versions are %q, want %q", got, want)
	}
	if cut := m.texts("SELECT daemon FROM sessions WHERE ended_ms IS NULL AND id NOT IN (SELECT max(id) FROM sessions GROUP BY daemon)"); len(cut) > 0 {
		t.Errorf("runs of %q were cut off by the upgrade", cut)
	}
	if after := m.ticks(); len(after) <= len(before) || !slices.Equal(before, after[:len(before)]) {
		t.Errorf("%d ticks before the upgrade, %d after it", len(before), len(after))
	}
	m.wantFile(configPath, quickConfig)
	m.settle(vm)

	// What the administrator stopped and disabled stays so.
	m.run("systemctl", "disable", "--now", unitFile("shipperd"))
	m.apt(oldVersion)
	if state, enabled := m.property("shipperd", "ActiveState"), m.property("shipperd", "UnitFileState"); state != "inactive" || enabled != "disabled" {
		t.Errorf("an upgrade made the disabled shipperd %s and %s", state, enabled)
	}
	m.active("collectord", 0)
	m.run("systemctl", "enable", "--now", unitFile("shipperd"))

	m.removal(m.deb(oldVersion), quickConfig)
}

// removal removes the package, installs it again, removes and purges it.
func (m *machine) removal(deb, config string) {
	t := m.t
	t.Helper()
	m.run("apt-get", "remove", "--yes", "belabox-metrics")
	for _, daemon := range daemons {
		if got := m.property(daemon, "ActiveState"); got != "inactive" {
			t.Errorf("%s is %s after the removal", daemon, got)
		}
		if _, err := os.Stat(m.path("/usr/bin/belabox-" + daemon)); err == nil {
			t.Errorf("%s is still there after the removal", daemon)
		}
	}
	m.wantFile(configPath, config)
	kept := m.ticks()
	if len(kept) == 0 {
		t.Error("the removal took the data")
	}
	if failed := m.run("systemctl", "list-units", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed units after the removal: %s", failed)
	}

	m.install(deb)
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
	testkit.Eventually(t, testkit.WaitLimit, "a new tick", func() bool { return len(m.ticks()) > len(kept) })
	if again := m.ticks(); !slices.Equal(kept, again[:len(kept)]) {
		t.Error("the second installation does not go on with the data of the first")
	}

	m.write("/etc/belabox-metrics/token", "secret\n", 0o600)
	m.purge()
}

// purge removes the package with configuration and data.
func (m *machine) purge() {
	t := m.t
	t.Helper()
	m.run("apt-get", "purge", "--yes", "belabox-metrics")
	for _, path := range []string{
		"/etc/belabox-metrics", "/var/lib/belabox-metrics", "/usr/lib/sysusers.d/belabox-metrics.conf",
		"/etc/systemd/system/multi-user.target.wants/" + unitFile("collectord"),
		"/var/lib/systemd/deb-systemd-helper-enabled/" + unitFile("collectord") + ".dsh-also",
	} {
		if _, err := os.Lstat(m.path(path)); err == nil {
			t.Errorf("%s is still there after the purge", path)
		}
	}
	if left := m.run("find", "/", "-xdev", "-name", "*belabox*"); left != "" {
		t.Errorf("left after the purge:\n%s", left)
	}
	m.run("getent", "passwd", "metrics")
}

func (m *machine) wantFile(name, want string) {
	m.t.Helper()
	if got, err := os.ReadFile(m.path(name)); err != nil || string(got) != want {
		m.t.Errorf("%s is %q, %v, want %q", name, got, err, want)
	}
}

// TestSystem_LoginUser: a person's user with the name of the service's is not taken over, and
// nothing of the package stays. When it has another name, the package installs.
func TestSystem_LoginUser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run("useradd", "--create-home", "--shell", "/bin/bash", "metrics")
	out, err := m.tryInstall(m.deb(oldVersion))
	if err == nil || !strings.Contains(out, "rename that user (usermod --login, groupmod --new-name) and install again") {
		t.Errorf("the installation: %v\n%s", err, out)
	}
	for _, path := range []string{"/usr/bin/belabox-shipperd", "/var/lib/belabox-metrics", "/etc/belabox-metrics"} {
		if _, err := os.Lstat(m.path(path)); err == nil {
			t.Errorf("%s is there after a refused installation", path)
		}
	}
	m.run("usermod", "--login", "ann", "metrics")
	m.run("groupmod", "--new-name", "ann", "metrics")
	m.apt(oldVersion)
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
	if uid := strings.TrimSpace(m.run("id", "-u", "metrics")); len(uid) > 3 {
		t.Errorf("user metrics has number %s, want one of the system", uid)
	}
}
