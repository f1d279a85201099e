//go:build systemdtest

package systemd

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/testkit"
)

// TestSystem_Sandbox looks at what the daemons can see and reach from inside.
func TestSystem_Sandbox(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.partition("/home", 24<<20)
	m.write(configPath, strings.Replace(quickConfig, "interval: 1s", "interval: 1s, textfile: {directory: /run/belabox-metrics-textfile}", 1)+"health: {collectord_listen: 0.0.0.0:9100, shipperd_listen: 0.0.0.0:9101}\nservices: [tick.service, 'belabox-*']\n", 0o644)
	m.run("sh", "-c", "echo 'Dpkg::Options {\"--force-confold\";}' >/etc/apt/apt.conf.d/90test")
	m.apt(oldVersion)
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
	t.Run("filesystems", m.filesystems)
	t.Run("addresses", m.addresses)
	t.Run("files", m.files)
	t.Run("clock", m.clock)
	t.Run("services", m.services)
	t.Run("textfile", m.textfile)
	if m.systemd() >= 247 { // the first with LoadCredential=
		t.Run("credential", m.credential)
	}
}

// partition mounts a new ext4 of its own at a folder of the machine.
func (m *machine) partition(at string, size int64) {
	m.t.Helper()
	image := filepath.Join(m.t.TempDir(), "ext4")
	must := func(name string, args ...string) string {
		m.t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			m.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		m.t.Fatal(err)
	}
	must("mkfs.ext4", "-q", image)
	loop := must("losetup", "--find", "--show", image)
	var st unix.Stat_t
	if err := unix.Stat(loop, &st); err != nil {
		m.t.Fatal(err)
	}
	node := "/" + filepath.Base(loop) // not in /dev, which is the machine's own
	if err := unix.Mknod(m.path(node), unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
		m.t.Fatal(err)
	}
	m.run("mkdir", "-p", at)
	m.run("mount", "-t", "ext4", node, at)
	must("losetup", "--detach", loop) // by the kernel, with the last mount
}

// filesystems compares the newest samples of the room with what statfs says
// outside the sandbox: of the root, of a home of its own, which the sandbox
// closes, and of a stick that is plugged in while collectord runs.
func (m *machine) filesystems(t *testing.T) {
	m.partition("/media/stick", 16<<20)
	for _, point := range []string{"/", "/home", "/media/stick"} {
		fields := strings.Fields(m.run("stat", "-f", "-c", "%S %b %d", point)) // unit, blocks, free inodes
		unit, _ := strconv.ParseFloat(fields[0], 64)
		blocks, _ := strconv.ParseFloat(fields[1], 64)
		inodes, _ := strconv.ParseFloat(fields[2], 64)
		testkit.Eventually(t, testkit.WaitLimit, "the room of "+point, func() error {
			size, files := m.newest("filesystem.size_bytes", point), m.newest("filesystem.files_free", point)
			// Others make and remove files on the host's disk, which is the machine's root.
			if size != unit*blocks || point != "/" && files != inodes {
				return fmt.Errorf("size %.0f and %.0f files, want %.0f and %.0f", size, files, unit*blocks, inodes)
			}
			return nil
		})
	}
	others := m.texts(`SELECT DISTINCT json_extract(tags, '$.mountpoint') FROM metric_rows
		WHERE name = 'filesystem.size_bytes' AND json_extract(tags, '$.mountpoint') NOT IN ('/', '/home', '/media/stick')`)
	if len(others) > 0 {
		t.Errorf("the sandbox's own mounts have samples: %q", others)
	}
	// Unplugged: nothing of the sandbox holds it.
	m.run("umount", "/media/stick")
	m.dead(t, "filesystem.size_bytes", "/media/stick")
}

// newest is the last value of a file system's metric, -1 before the first.
func (m *machine) newest(name, mountpoint string) float64 {
	value := -1.0
	m.query(fmt.Sprintf(`SELECT value FROM metric_rows WHERE name = '%s' AND json_extract(tags, '$.mountpoint') = '%s'
		ORDER BY timestamp_ms DESC LIMIT 1`, name, mountpoint), func(rows *sql.Rows) error { return rows.Scan(&value) })
	return value
}

// dead waits until a file system has no samples any more.
func (m *machine) dead(t *testing.T, name, mountpoint string) {
	testkit.Eventually(t, testkit.WaitLimit, mountpoint+" to have no more samples", func() bool {
		late := m.texts(fmt.Sprintf(`SELECT timestamp_ms FROM metric_rows WHERE name = '%s' AND json_extract(tags, '$.mountpoint') = '%s'
			AND timestamp_ms >= (SELECT max(timestamp_ms) FROM metric_rows) - 1000`, name, mountpoint))
		return len(late) == 0
	})
}

// addresses: collectord answers this machine alone, also where it was told to
// listen for everyone. shipperd, which has no such limit, shows that the address works.
func (m *machine) addresses(t *testing.T) {
	const other = "198.51.100.7" // of a network for documentation
	_, err := inside(m.net, func() (struct{}, error) {
		out, err := exec.Command("ip", "address", "add", other+"/32", "dev", "lo").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ip address add: %w: %s", err, out)
		}
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	client := m.net.http()
	client.Timeout = 3e9
	get := func(url string) error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	}
	for _, url := range []string{"http://127.0.0.1:9100/health/live", "http://127.0.0.1:9101/health/live", "http://" + other + ":9101/health/live"} {
		if err := get(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := get("http://" + other + ":9100/health/live"); err == nil {
		t.Error("collectord answers others than this machine")
	}
}

// files looks at files the way the daemons see them, by /proc/PID/root: as their
// user for what is hidden, as root for what is read-only even then.
func (m *machine) files(t *testing.T) {
	const protectProc, execPaths = 247, 248 // the first versions of systemd with these settings
	version := m.systemd()
	for _, c := range []struct {
		daemon, user, script string
		allowed              bool
		since                int
	}{
		{"both", "root", "echo >$root/etc/x", false, 0},
		{"both", "root", "echo >$root/usr/bin/x", false, 0},
		{"both", "root", "echo >>$root/etc/belabox-metrics/config.yaml", false, 0},
		{"both", "root", "echo >$root/home/x", false, 0},
		{"both", "root", "echo 1 >$root/proc/sys/kernel/printk", false, 0},
		{"both", "root", "$root/bin/true", false, execPaths}, // it has nothing to execute but itself
		{"both", "metrics", "cat $root/proc/1/status", false, protectProc},
		{"both", "metrics", "cat $root/proc/self/status || cat $root/proc/$pid/status", true, 0},
		{"both", "metrics", "echo >$root/var/lib/belabox-metrics/x && rm $root/var/lib/belabox-metrics/x", true, 0},
		{"both", "metrics", "test -z \"$(ls -A $root/tmp)\" && echo >$root/tmp/x && rm $root/tmp/x", true, 0},
		{"collectord", "metrics", "cat $root/proc/stat $root/proc/diskstats $root/sys/class/net/lo/mtu", true, 0},
		{"shipperd", "metrics", "ls $root/proc/stat", false, protectProc},
		{"shipperd", "metrics", "ls $root/proc/sys", false, protectProc},
		{"shipperd", "metrics", "ls $root/home", false, 0},
	} {
		for _, daemon := range daemons {
			if c.daemon != "both" && c.daemon != daemon {
				continue
			}
			if version < c.since {
				t.Logf("%s: systemd %d cannot keep it from: %s", daemon, version, c.script)
				continue
			}
			pid := m.pid(daemon)
			script := fmt.Sprintf("pid=%d root=/proc/%d/root; %s", pid, pid, c.script)
			out, err := m.try("runuser", "-u", c.user, "--", "sh", "-c", script)
			if (err == nil) != c.allowed {
				t.Errorf("%s, as %s, %s: %v %s", daemon, c.user, c.script, err, out)
			}
		}
	}
	// Of itself it sees what its own numbers need, and the boot it is told.
	if written := m.get(t, "http://127.0.0.1:9101/metrics"); !strings.Contains(written, `storage_bytes_written_total{daemon="shipperd"}`) {
		t.Errorf("shipperd does not know what it wrote:\n%s", written)
	}
	if boots := m.texts("SELECT DISTINCT boot_id FROM sessions"); len(boots) != 1 || len(boots[0]) != 36 {
		t.Errorf("boots in the table of sessions: %q, want one", boots)
	}
}

// clock looks at what collectord knows of the clock. The sandbox forbids the question to the
// kernel, so without timesyncd, which does not run in a container, nobody can tell; its files tell.
// With the drop-in of docs/time.md it is the kernel's word that counts, which the test asks for
// too.
func (m *machine) clock(t *testing.T) {
	known := func(want string) {
		t.Helper()
		testkit.Eventually(t, testkit.WaitLimit, "the clock to be "+want, func() error {
			got := "unknown"
			for line := range strings.Lines(m.get(t, "http://127.0.0.1:9100/metrics")) {
				if value, ok := strings.CutPrefix(line, "time_clock_synchronised "); ok {
					got = strings.TrimSpace(value)
				}
			}
			if got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	known("unknown")
	m.run("mkdir", "/run/systemd/timesync")
	known("0")
	m.run("touch", "/run/systemd/timesync/synchronized")
	known("1")
	testkit.Eventually(t, testkit.WaitLimit, "the epoch to be synchronised", func() bool {
		got := m.texts("SELECT synchronised FROM epochs ORDER BY first_key DESC LIMIT 1")
		return len(got) == 1 && got[0] == "1"
	})
	m.run("rm", "-r", "/run/systemd/timesync")
	known("unknown")

	var question unix.Timex
	if _, err := unix.Adjtimex(&question); err != nil {
		t.Fatal(err)
	}
	want := "1"
	if question.Status&unix.STA_UNSYNC != 0 {
		want = "0"
		m.run("mkdir", "/run/systemd/timesync")
		m.run("touch", "/run/systemd/timesync/synchronized") // which says otherwise
	}
	page, err := os.ReadFile("../docs/time.md")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, _ := strings.Cut(string(page), "       [Service]\n")
	settings, _, ok := strings.Cut(settings, "\n\n")
	if !ok || !strings.Contains(settings, "ProtectClock=no") {
		t.Fatalf("docs/time.md has no drop-in: %q", settings)
	}
	m.dropIn("collectord", settings+"\n")
	m.run("systemctl", "restart", unitFile("collectord"))
	m.active("collectord", 0)
	known(want)
}

func (m *machine) get(t *testing.T, url string) string {
	t.Helper()
	resp, err := m.net.http().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// credential has systemd hand over a token that root alone may read.
func (m *machine) credential(t *testing.T) {
	got := make(chan string, 1)
	m.net.listen(t, "127.0.0.1:8500", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case got <- r.Header.Get("Authorization"):
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	m.write("/etc/belabox-metrics/token", "of-root-alone\n", 0o600)
	m.dropIn("shipperd", "LoadCredential=token:/etc/belabox-metrics/token\n")
	m.write(configPath, strings.Replace(quickConfig, "remote:\n", "remote:\n  url: http://127.0.0.1:8500/api/v1/import\n"+
		"  auth_token_file: /run/credentials/belabox-shipperd.service/token\n", 1), 0o644)
	m.run("systemctl", "restart", unitFile("shipperd"))
	var token string
	testkit.Eventually(t, testkit.WaitLimit, "an upload", func() bool {
		select {
		case token = <-got:
			return true
		default:
			return false
		}
	})
	if token != "Bearer of-root-alone" {
		t.Errorf("the server was shown %q", token)
	}
	// Root's doctor becomes the user of the service, who may read the credential.
	out, _ := m.try("belabox-shipperd", "doctor") // other checks fail: this server has no reads
	if want := "read from /run/credentials/belabox-shipperd.service/token"; !strings.Contains(out, want) {
		t.Errorf("root's doctor does not say %q:\n%s", want, out)
	}
}
