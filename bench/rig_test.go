//go:build bench

package bench

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// device is a configuration, its database and the two daemons.
type device struct {
	b          *testing.B
	bins       testkit.Bins
	config, db string
}

// newDevice writes a configuration and the place of a database in dir. storage are
// further keys of that section, "durability: 10s"; sections are other ones,
// "collection: {interval: 1s}". All else stays at its default.
func newDevice(b *testing.B, dir, storage string, sections ...string) *device {
	b.Helper()
	d := &device{b: b, bins: testkit.Binaries(b), config: filepath.Join(dir, "config.yaml"), db: filepath.Join(dir, "metrics.db")}
	sections = append(sections,
		"device: {id: "+deviceID+"}",
		fmt.Sprintf("storage: {path: %s, %s}", d.db, storage),
		"health: {collectord_listen: 127.0.0.1:0, shipperd_listen: 127.0.0.1:0}\n")
	if err := os.WriteFile(d.config, []byte(strings.Join(sections, "\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	return d
}

func (d *device) collectord(args ...string) *testkit.Proc { return d.start(d.bins.Collectord, args) }
func (d *device) shipperd(args ...string) *testkit.Proc   { return d.start(d.bins.Shipperd, args) }

func (d *device) start(bin string, args []string) *testkit.Proc {
	d.b.Helper()
	return testkit.StartProc(d.b, testkit.Command{Path: bin, Args: append([]string{"-config", d.config}, args...)})
}

// stop ends a daemon as systemd does.
func (d *device) stop(p *testkit.Proc) {
	d.b.Helper()
	if code := p.Stop(testkit.WaitLimit); code != 0 {
		d.b.Fatalf("exit code %d, want 0:\n%s", code, p.Stderr())
	}
}

// inserter opens the database as collectord does.
func (d *device) inserter(durability time.Duration) *store.Inserter {
	d.b.Helper()
	in, err := store.OpenInserter(d.b.Context(), store.Options{Path: d.db, Daemon: "collectord", Version: "bench"}, durability)
	if err != nil {
		d.b.Fatal(err)
	}
	return in
}

// close leaves the file without a WAL.
func (d *device) close(in *store.Inserter) {
	d.b.Helper()
	if _, err := in.Checkpoint(d.b.Context()); err != nil {
		d.b.Fatal(err)
	}
	if err := in.Close(d.b.Context()); err != nil {
		d.b.Fatal(err)
	}
}

// reader opens the database as a person would, beside the daemons.
func (d *device) reader() *sql.DB {
	d.b.Helper()
	db, err := sql.Open("sqlite", "file:"+d.db+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		d.b.Fatal(err)
	}
	d.b.Cleanup(func() { db.Close() })
	return db
}

// count asks for one number.
func count(b *testing.B, db *sql.DB, query string, args ...any) (n int64) {
	b.Helper()
	if err := db.QueryRowContext(b.Context(), query, args...).Scan(&n); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	return n
}

// cpuTime returns what a running process has used so far.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	d, err := testkit.ReadCPUTime(pid)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func usage(b *testing.B, p *testkit.Proc) testkit.Usage {
	b.Helper()
	u, err := p.Usage()
	if err != nil {
		b.Fatal(err)
	}
	return u
}

const (
	mega   = 1e6
	millis = float64(time.Millisecond)
)
