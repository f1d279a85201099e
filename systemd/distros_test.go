//go:build systemdtest

package systemd

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

const (
	debianMirror = "http://deb.debian.org/debian"
	ubuntuMirror = "http://archive.ubuntu.com/ubuntu"
)

// distributions are those that docs/operations.md names.
var distributions = map[string]distribution{
	"debian-11":    {suite: "bullseye", mirror: debianMirror},
	"debian-12":    {suite: "bookworm", mirror: debianMirror},
	"debian-13":    {suite: "trixie", mirror: debianMirror},
	"ubuntu-20.04": {suite: "focal", mirror: ubuntuMirror, ubuntu: true}, // the oldest systemd that the package allows
	"ubuntu-26.04": {suite: "resolute", mirror: ubuntuMirror, ubuntu: true},
}

// TestDistros installs the package on each distribution, upgrades it from 1.0.0 with a full file
// and running daemons, goes back to 1.0.0, which refuses the file, and removes it.
func TestDistros(t *testing.T) {
	old := release1(t)
	for name, d := range distributions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := bootCopy(t, d.bootstrapped)
			release := m.run("sh", "-c", `. /etc/os-release; echo "$PRETTY_NAME"`)
			t.Logf("%s, systemd %d", strings.TrimSpace(release), m.systemd())
			data := t.TempDir()
			server, vm := m.net.startVMOn(t, data)

			m.install(m.deb(newVersion))
			m.healthy()
			testkit.Eventually(t, testkit.WaitLimit, "a sample in the file", func() bool { return len(m.ticks()) > 0 })
			m.delivered(vm, 1)
			m.purge()

			m.install(old)
			m.write(configPath, dayConfig, 0o644)
			m.restart()
			testkit.Eventually(t, testkit.WaitLimit, "the series", func() bool { return len(m.ticks()) > 1 })
			day := m.fillDay()
			testkit.Eventually(t, testkit.WaitLimit, "a quarter of the day at the server", func() error {
				ticks, err := atServer(vm)
				if err == nil && ticks < day/4 {
					err = fmt.Errorf("%d of %d ticks", ticks, day)
				}
				return err
			})
			server.Signal(syscall.SIGINT) // an orderly end: it forgets nothing
			server.Wait(testkit.WaitLimit)
			before := m.content(-1)
			t.Logf("%s before the upgrade", before)
			if before.pending == 0 || before.pending == before.rows {
				t.Fatal("nothing waits, or nothing was sent: the upgrade would prove little")
			}

			m.upgrade(before)
			_, vm = m.net.startVMOn(t, data)
			m.delivered(vm, 3)
			m.refuseDowngrade(old)
			m.upgrade(before)
			m.settle(vm)
			m.restart() // a count of what waits is remembered the longer the longer it took
			m.healthy()
			m.wantFile(configPath, dayConfig)
			m.removal(m.deb(newVersion), dayConfig)
		})
	}
}

// dayConfig keeps the day, also when all of it was verified, and leaves the time to stop the server
// before all of it was sent.
const dayConfig = quickConfig + `  catch_up_bytes_per_second: 100000
storage: {retention: 72h, max_size_mb: 512}
`

// restart restarts both daemons and waits until they are ready.
func (m *machine) restart() {
	m.t.Helper()
	m.run("systemctl", "restart", unitFile("collectord"), unitFile("shipperd"))
	for _, daemon := range daemons {
		m.active(daemon, 0)
	}
}

// healthy waits until both units are active and neither daemon has a condition.
func (m *machine) healthy() {
	m.t.Helper()
	for i, daemon := range daemons {
		m.active(daemon, 0)
		url := fmt.Sprintf("http://127.0.0.1:%d/health/ready", 9100+i)
		testkit.Eventually(m.t, testkit.WaitLimit, daemon+" to be healthy", func() error {
			resp, err := m.net.http().Get(url)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", resp.Status, m.get(m.t, url))
			}
			return nil
		})
	}
}

// atServer is how many ticks the server has.
func atServer(vm testkit.Client) (ticks int, err error) {
	series, err := vm.Export(`{__name__="load_average_1m",device_id="` + device + `"}`)
	for _, s := range series {
		ticks += len(s.Timestamps)
	}
	return ticks, err
}

// fillDay stops both daemons and gives the file a sample of each of its series each ten seconds of
// the last day, which all wait. It returns how many ticks these are.
func (m *machine) fillDay() (ticks int) {
	m.t.Helper()
	m.run("systemctl", "stop", unitFile("collectord"), unitFile("shipperd"))
	const every = 10_000
	ticks = int(24 * time.Hour / time.Millisecond / every)
	from := (time.Now().Add(-24*time.Hour).UnixMilli()/every - 60) * every
	db, err := sql.Open("sqlite", "file:"+m.path(databasePath))
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // the last one to close takes the WAL away
	for _, statement := range []string{
		"BEGIN",
		`WITH RECURSIVE tick(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM tick WHERE i + 1 < ?1)
			INSERT INTO metrics (dedup_key, value, uploaded)
			SELECT (?2 + i * ?3) << 22 | s.id, i + s.id, 0 FROM tick CROSS JOIN (SELECT id FROM series WHERE value_type = 0 ORDER BY id) s`,
		"UPDATE ledger SET samples = samples + changes() WHERE account = 'inserted'",
		"UPDATE outbox SET low_water = (SELECT min(dedup_key) FROM metrics)",
		"COMMIT",
	} {
		var args []any
		if strings.HasPrefix(statement, "WITH") {
			args = []any{ticks, from, every}
		}
		if _, err := db.Exec(statement, args...); err != nil {
			m.t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.restart()
	return ticks
}

// content is what a file has up to a key.
type content struct{ through, rows, pending, check int64 }

func (c content) String() string {
	return fmt.Sprintf("%d rows, %d of them pending", c.rows, c.pending)
}

// content reads it; through -1 is all.
func (m *machine) content(through int64) (c content) {
	m.t.Helper()
	if through < 0 {
		m.query("SELECT max(dedup_key) FROM metrics", func(rows *sql.Rows) error { return rows.Scan(&through) })
	}
	m.query(fmt.Sprintf(`SELECT %d, count(*), count(*) FILTER (WHERE uploaded = 0), sum(dedup_key %% 1000003 + CAST(value * 16 AS INTEGER) %% 1000003)
		FROM metrics WHERE dedup_key <= %[1]d`, through), func(rows *sql.Rows) error {
		return rows.Scan(&c.through, &c.rows, &c.pending, &c.check)
	})
	return c
}

// upgrade installs the newest package over another one. The rows of before stay what they were.
func (m *machine) upgrade(before content) {
	m.t.Helper()
	pids := map[string]int{}
	for _, daemon := range daemons {
		pids[daemon] = m.pid(daemon)
	}
	start := time.Now()
	m.install(m.deb(newVersion))
	for _, daemon := range daemons {
		m.active(daemon, pids[daemon])
	}
	m.t.Logf("the upgrade took %v", time.Since(start).Round(100*time.Millisecond))
	after := m.content(before.through)
	if after.rows != before.rows || after.check != before.check || after.pending > before.pending {
		m.t.Errorf("%s before the upgrade, %s after it", before, after)
	}
	if got := m.texts("SELECT DISTINCT version FROM sessions WHERE id IN (SELECT max(id) FROM sessions GROUP BY daemon)"); len(got) != 1 || got[0] != newVersion {
		m.t.Errorf("the running versions are %q, want %q", got, newVersion)
	}
}

// refuseDowngrade installs 1.0.0 over the newer package: its daemons do not open the file, say why,
// and leave it as it is.
func (m *machine) refuseDowngrade(old string) {
	m.t.Helper()
	m.install(old)
	for _, daemon := range daemons {
		testkit.Eventually(m.t, testkit.WaitLimit, daemon+" of 1.0.0 to refuse the file", func() bool {
			return strings.Contains(m.journal(daemon), "the file was written by a newer version; install that version again")
		})
		if state := m.property(daemon, "ActiveState"); state == "active" {
			m.t.Errorf("%s of 1.0.0 is %s", daemon, state)
		}
	}
	if version := m.texts("PRAGMA user_version"); len(version) != 1 || version[0] == "6" {
		m.t.Errorf("1.0.0 left schema %q", version)
	}
}

// firstRelease is the commit that was released as 1.0.0. Its package is built as it was built then.
const firstRelease = "4f97a454c2c2e6c135d860eaf2b1f5ff0fb5ffcd"

// release1 is the package of 1.0.0, which is kept in the user's cache.
func release1(t *testing.T) string {
	t.Helper()
	root := testkit.ModuleRoot(t)
	name := fmt.Sprintf("belabox-metrics_1.0.0-1_%s.deb", runtime.GOARCH)
	dir, err := inCache("release-"+firstRelease[:12], holds(name), func(making string) error {
		git := exec.Command("git", "cat-file", "-e", firstRelease+"^{commit}")
		git.Dir = root
		if git.Run() != nil {
			return fmt.Errorf("this clone lacks commit %s, which is 1.0.0: run 'git fetch --unshallow', then the test again", firstRelease[:12])
		}
		build := exec.Command("sh", "-euc", `
			mkdir -p "$2/src" && git archive "$1" | tar -x -C "$2/src"
			make -C "$2/src" "deb-linux-$3" VERSION=1.0.0 COMMIT="$4" DIST="$2"
			rm -r "$2/src"`,
			"sh", firstRelease, making, runtime.GOARCH, firstRelease[:12])
		build.Dir = root
		build.Env = append(os.Environ(), "MAKEFLAGS=", "SOURCE_DATE_EPOCH=1764000000")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("make 1.0.0: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// ubuntuKeyring is the file with the keys of Ubuntu's archive, which Debian has no package of. It
// comes from there, and the hash makes it the one that was looked at.
func ubuntuKeyring() (string, error) {
	const (
		name = "ubuntu-keyring_2023.11.28.1_all.deb"
		hash = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
	)
	return inCache("ubuntu-archive-keyring.gpg", holds("."), func(making string) error {
		out, err := exec.Command("sh", "-euc", `
			/usr/lib/apt/apt-helper download-file "$1" "$2.deb" "SHA256:$3"
			dpkg-deb --fsys-tarfile "$2.deb" | tar -xO ./usr/share/keyrings/ubuntu-archive-keyring.gpg >"$2"
			rm "$2.deb"`, "sh", ubuntuMirror+"/pool/main/u/ubuntu-keyring/"+name, making, hash).CombinedOutput()
		if err != nil {
			return fmt.Errorf("the keys of Ubuntu: %w\n%s", err, out)
		}
		return nil
	})
}
