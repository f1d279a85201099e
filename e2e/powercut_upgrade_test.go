//go:build linux && (amd64 || arm64)

package e2e

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/migrations"
)

const (
	oldSamples = 3000
	// upgradeRequests is somewhat more than the requests to the disk that an upgrade
	// of them takes.
	upgradeRequests = 2000
)

// TestPowerCut_Upgrade cuts the power again and again while both daemons start on
// a file of schema 1, and so take it through the whole ladder: none of its samples
// is lost, the file is whole after each cut, and once there is power for long
// enough the newest schema is there.
func TestPowerCut_Upgrade(t *testing.T) {
	t.Parallel()
	seed := seedOf(*powercutSeed)
	t.Logf("%d rounds; repeat with -powercut.seed=%d", *powercutRounds, seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	b := newPowerDevice(t, "http://127.0.0.1:1/api/v1/import") // nobody is there
	defer b.keepCopies(seed)
	old := oldFile(t)
	halfWay, cuts := 0, 0
	for round := range *powercutRounds {
		b.install(old)
		for try := 0; ; try++ {
			b.machine.CutAt(1+dice.IntN(upgradeRequests), powerRound{counts: "any"}.matches)
			b.collectord, b.shipperd = b.start(b.bins.Collectord, 0), b.start(b.bins.Shipperd, 0)
			b.live(time.Second)
			b.cut()
			cuts++
			b.report.damage.Add(b.machine.Restart(dice))
			version := b.checkUpgrade()
			if t.Failed() {
				t.Fatalf("in round %d, cut %d", round+1, try+1)
			}
			if version == migrations.Newest() {
				break
			}
			if version > 1 {
				halfWay++
			}
		}
	}
	t.Logf("%d upgrades with %d cuts, %d of them between two schemas; sectors not synced: %+v", *powercutRounds, cuts, halfWay, b.report.damage)
}

// oldFile makes a database of schema 1, as a program would leave it that was
// stopped in order, and returns its bytes.
func oldFile(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		migrations.All()[0].SQL, "PRAGMA user_version = 1",
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO metrics (timestamp_ms, name, value, tags, device_id)
			SELECT %d + i / 50 * 1000, 'old.metric_' || (i %% 50), i, '{"b":"2","a":"1"}', 'old' FROM n`,
			oldSamples-1, time.Now().Add(-time.Hour).UnixMilli()),
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// install puts a database on the machine's disk, synced, in the place of whatever
// is there.
func (b *powerDevice) install(image []byte) {
	b.t.Helper()
	home := filepath.Join(b.machine.Dir, b.home)
	err := os.RemoveAll(home)
	if err == nil {
		err = os.MkdirAll(home, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "metrics.db"), image, 0o640)
	}
	for path := filepath.Join(home, "metrics.db"); err == nil && path != filepath.Dir(b.machine.Dir); path = filepath.Dir(path) {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			err = f.Sync()
			f.Close()
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// checkUpgrade checks what a cut has left of an old file, and returns its schema.
func (b *powerDevice) checkUpgrade() (version int) {
	b.t.Helper()
	b.db = b.save("left")
	table := "metrics"
	if b.recover() != 0 {
		table = "metric_rows"
	}
	version = b.count("PRAGMA user_version")
	if n := b.count("SELECT count(*) FROM " + table + " WHERE device_id = 'old'"); n != oldSamples {
		b.t.Errorf("schema %d: %d of %d samples are there", version, n, oldSamples)
	}
	return version
}
