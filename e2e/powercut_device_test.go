//go:build linux && (amd64 || arm64)

package e2e

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/powercut"
)

// powerDevice is a device that loses its power: both daemons on a disk that forgets what
// was not synced. What is on the disk is looked at in copies, so that the daemons
// are the first to open it after a cut.
type powerDevice struct {
	*rig    // its db is the last copy
	rigs    map[time.Duration]*rig
	machine *powercut.Machine
	home    string // of the database, on the machine's disk; the daemons make it
	copies  string

	collectord *testkit.Proc
	shipperd   *testkit.Proc // nil = it does not run

	left    map[sample]float64 // rows that the last cut left in the file
	pending map[int64]bool     // their ticks with rows that the server is not known to have
	held    map[sample]float64 // rows that any cut left: the server may have these, and no others

	report powerReport
}

// powerReport is what the cuts did.
type powerReport struct {
	cuts, early, seen, kept, lost int // early: before anything was committed; then samples
	costly                        int // cuts that cost samples
	longest                       time.Duration
	damage                        powercut.Damage
}

func (p powerReport) String() string {
	return fmt.Sprintf("%d cuts, %d of them before a daemon had opened the file; they found %d committed samples and left %d; %d of them cost %d samples, at most the last %v; sectors not synced: %d kept, %d lost, %d torn; names not synced: %d kept, %d lost",
		p.cuts, p.early, p.seen, p.kept, p.costly, p.lost, p.longest,
		p.damage.Kept, p.damage.Lost, p.damage.Torn, p.damage.KeptNames, p.damage.LostNames)
}

// durabilities are the values of storage.durability that are tried.
var durabilities = []time.Duration{0, time.Second}

// lateness is how much longer than from one tick to another their commits may be
// apart: collecting, waiting for a lock, a busy machine.
const lateness = 500 * time.Millisecond

func newPowerDevice(t testing.TB, importURL string) *powerDevice {
	t.Helper()
	b := &powerDevice{
		rigs: map[time.Duration]*rig{}, machine: powercut.New(t), copies: t.TempDir(),
		left: map[sample]float64{}, held: map[sample]float64{},
	}
	b.home = filepath.Join("var", "lib", "belabox")
	for _, d := range durabilities {
		b.rig = newRig(t, importURL, map[string]string{
			"collection": "interval: 100ms\ncollectors:\n" +
				"  disk: {enabled: false}\n  thermal: {enabled: false}\n  hwmon: {enabled: false}\n" +
				"  filesystem: {enabled: false}\n  pressure: {enabled: false}\n  wireless: {enabled: false}\n",
			"storage": fmt.Sprintf("path: %s\ndurability: %v\nretention: 1s\n", filepath.Join(b.machine.Dir, b.home, "metrics.db"), d),
		})
		b.rigs[d] = b.rig
	}
	return b
}

// logOf is where a daemon that does not live long writes to.
func (b *powerDevice) logOf(bin string) string {
	return filepath.Join(b.copies, filepath.Base(bin)+".log")
}

func (b *powerDevice) start(bin string, durability time.Duration) *testkit.Proc {
	b.t.Helper()
	return testkit.StartProc(b.t, testkit.Command{
		Path: bin, Args: []string{"-config", b.rigs[durability].config}, Output: b.logOf(bin),
	})
}

// live lets the daemons work for a while, or until the power is cut.
func (b *powerDevice) live(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.machine.Down():
	}
}

func (b *powerDevice) daemons() []*testkit.Proc {
	if b.shipperd == nil {
		return []*testkit.Proc{b.collectord}
	}
	return []*testkit.Proc{b.collectord, b.shipperd}
}

// cut takes the power away, if the matches has not, and kills the daemons. It returns
// the header of the WAL's index, which is in the kernel's memory alone.
func (b *powerDevice) cut() (index []byte) {
	b.t.Helper()
	b.checkAlive()
	b.machine.Cut()
	// Open, the kernel keeps what the processes had in it.
	file, err := os.Open(filepath.Join(b.machine.Dir, b.home, "metrics.db-shm"))
	for _, p := range b.daemons() {
		p.Kill()
	}
	if err != nil {
		return nil // no daemon has come so far
	}
	index = make([]byte, 2*indexHeader)
	if n, err := file.ReadAt(index, 0); n < len(index) {
		b.t.Logf("read the WAL's index: %d bytes: %v", n, err)
		index = nil
	}
	if err := file.Close(); err != nil {
		b.t.Error(err)
	}
	return index
}

// checkAlive: a daemon that ends by itself while there is power is a bug.
func (b *powerDevice) checkAlive() {
	b.t.Helper()
	for _, p := range b.daemons() {
		select {
		case <-p.Done():
		default:
			continue
		}
		select {
		case <-b.machine.Down():
		default:
			if p.ExitCode() != 0 { // 0: it was told to stop
				b.t.Errorf("process %d ended by itself, exit code %d; see its log", p.PID(), p.ExitCode())
			}
		}
	}
}

// indexHeader is the size of the header of the WAL's index, of which there are two
// copies: https://sqlite.org/walformat.html#the_wal_index_header
const indexHeader = 48

// frames returns how many frames of the WAL are committed, as all processes see
// it, and the size of a page. Not ok when no process has come so far.
func frames(index []byte) (n, page int64, ok bool) {
	if index == nil || index[12] != 1 {
		return 0, 0, false
	}
	if !bytes.Equal(index[:indexHeader], index[indexHeader:]) {
		index = index[:indexHeader] // killed while writing it; this copy is written last
	}
	page = int64(binary.NativeEndian.Uint16(index[14:]))
	if page == 1 {
		page = 65536
	}
	return int64(binary.NativeEndian.Uint32(index[16:])), page, true
}

// save copies the disk as processes see it and returns where the database is.
func (b *powerDevice) save(name string) (db string) {
	b.t.Helper()
	dir := filepath.Join(b.copies, name)
	if err := os.RemoveAll(dir); err != nil {
		b.t.Fatal(err)
	}
	b.machine.Save(dir)
	return filepath.Join(dir, b.home, "metrics.db")
}

// committed returns what a kill alone would have left: the rows of all
// transactions that had ended. A transaction that is written and not yet synced
// has not ended. Before a daemon has opened the file nothing is new.
func (b *powerDevice) committed(index []byte) map[sample]float64 {
	b.t.Helper()
	n, page, ok := frames(index)
	if !ok {
		b.report.early++
		return maps.Clone(b.left)
	}
	db := b.save("committed")
	const walHeader, frameHeader = 32, 24
	if info, err := os.Stat(db + "-wal"); err == nil {
		size := min(info.Size(), walHeader+n*(frameHeader+page))
		if err := os.Truncate(db+"-wal", size); err != nil {
			b.t.Fatal(err)
		}
	} else if n > 0 {
		b.t.Errorf("%d frames are committed, and there is no WAL: %v", n, err)
	}
	return b.rowsOf(db)
}

// rowsOf returns the numbers in a copy; none where there is no file or no table
// yet. It fails the test where the file is not whole.
func (b *powerDevice) rowsOf(db string) map[sample]float64 {
	b.t.Helper()
	all := map[sample]float64{}
	if _, err := os.Stat(db); err != nil {
		return all
	}
	b.db = db
	if b.recover() == 0 {
		return all
	}
	b.checkFile()
	for _, r := range b.rows() {
		all[r.sample] = r.value
	}
	return all
}

// recover has SQLite do what it does after a crash, which takes writing, and
// returns whether the newest schema is there.
func (b *powerDevice) recover() (current int) {
	b.t.Helper()
	db, err := sql.Open("sqlite", "file:"+b.db+"?mode=rw")
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		b.t.Fatalf("integrity_check of %s: %q, %v", b.db, verdict, err)
	}
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'metric_rows'").Scan(&current); err != nil {
		b.t.Fatal(err)
	}
	return current
}

// check compares what was committed with what the cut has left, which b.db is a copy
// of.
func (b *powerDevice) check(committed, seen, left map[sample]float64, durability time.Duration) {
	b.t.Helper()
	newest, oldest := int64(0), int64(0) // committed, lost
	lost := 0
	for s, value := range committed {
		newest = max(newest, s.ts)
		got, kept := left[s]
		switch {
		case !kept:
			lost++
			if oldest == 0 || s.ts < oldest {
				oldest = s.ts
			}
		case got != value:
			b.t.Errorf("%s at %d was %v and is %v after the cut", s.series, s.ts, value, got)
		}
	}
	b.report.cuts++
	b.report.seen += len(committed)
	b.report.kept += len(left)
	if lost > 0 {
		span := time.Duration(newest-oldest) * time.Millisecond
		b.report.costly++
		b.report.lost += lost
		b.report.longest = max(b.report.longest, span)
		if durability == 0 {
			b.t.Errorf("%d committed samples are lost, from %d on, the newest is of %d; storage.durability: 0s promises none", lost, oldest, newest)
		} else if span >= durability+lateness {
			b.t.Errorf("%d committed samples are lost, of the last %v; storage.durability promises %v", lost, span, durability)
		}
		for s := range left {
			if _, before := b.left[s]; !before && s.ts > oldest {
				b.t.Fatalf("a tick of %d is lost and one of %d is there", oldest, s.ts)
			}
		}
	}
	// What an earlier cut has left is durable. It goes by pruning alone, which comes
	// right after a start, before anything can be newly proven.
	for s := range b.left {
		_, kept := left[s]
		if _, there := seen[s]; !kept && (there || b.pending[s.ts]) {
			b.t.Fatalf("%s at %d was there after the cut before, and is lost", s.series, s.ts)
		}
	}
	b.left, b.pending = left, map[int64]bool{}
	maps.Copy(b.held, left)
	if len(left) > 0 {
		b.query("SELECT DISTINCT timestamp_ms FROM metric_rows WHERE uploaded = 0", func(rows *sql.Rows) error {
			var ms int64
			err := rows.Scan(&ms)
			b.pending[ms] = true
			return err
		})
	}
}

// everything returns all rows that the server should have.
func (b *powerDevice) everything() (rows []row) {
	for _, s := range slices.SortedFunc(maps.Keys(b.held), func(a, b sample) int { return int(a.ts - b.ts) }) {
		rows = append(rows, row{s, b.held[s]})
	}
	return rows
}

// keepCopies keeps the copies and the logs of a failed run where the test's end does
// not delete them.
func (b *powerDevice) keepCopies(seed uint64) {
	if !b.t.Failed() {
		return
	}
	root, err := os.MkdirTemp("", fmt.Sprintf("powercut-%d-", seed))
	if err == nil {
		err = os.CopyFS(root, os.DirFS(b.copies))
	}
	b.t.Logf("what was on the disk, and the logs, are kept in %s (%v)", root, err)
}
