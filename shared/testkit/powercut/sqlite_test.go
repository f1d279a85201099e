//go:build linux && (amd64 || arm64)

package powercut

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"belabox-metrics/shared/testkit"
)

// TestMachine_SQLite: SQLite keeps every commit that it synced through cuts at any
// request, and without syncs it is damaged or forgets. So a cut is no worse than
// SQLite allows for, and bad enough to tell.
func TestMachine_SQLite(t *testing.T) {
	t.Parallel()
	const cuts = 25
	f := func(journal, synchronous string) (forgot, damaged int) {
		t.Helper()
		m := New(t)
		for n := range cuts {
			committed := insertUntilCut(t, m, seeded(n), journal, synchronous)
			m.Restart(seeded(n))
			dir := t.TempDir()
			m.Save(dir)
			rows, verdict := inspect(t, filepath.Join(dir, "db"))
			switch {
			case verdict != "ok":
				damaged++
				must(t, os.Remove(filepath.Join(m.Dir, "db"))) // the next round begins with a new file
				_ = os.Remove(filepath.Join(m.Dir, "db-wal"))
				syncPath(t, m.Dir)
			case rows < committed:
				forgot++
			}
		}
		t.Logf("journal_mode %s, synchronous %s: %d cuts, %d of them cost a commit, %d damaged the file", journal, synchronous, cuts, forgot, damaged)
		return forgot, damaged
	}
	if forgot, damaged := f("WAL", "FULL"); forgot+damaged != 0 {
		t.Errorf("WAL, FULL: %d cuts cost a commit, %d damaged the file; want none", forgot, damaged)
	}
	if forgot, damaged := f("WAL", "NORMAL"); forgot == 0 || damaged != 0 {
		t.Errorf("WAL, NORMAL: %d cuts cost a commit, %d damaged the file; want some and none", forgot, damaged)
	}
	if forgot, damaged := f("DELETE", "EXTRA"); forgot+damaged != 0 {
		t.Errorf("DELETE, EXTRA: %d cuts cost a commit, %d damaged the file; want none", forgot, damaged)
	}
	if forgot, damaged := f("DELETE", "OFF"); damaged == 0 {
		t.Errorf("DELETE, OFF: %d cuts cost a commit, %d damaged the file; want some damaged", forgot, damaged)
	}
}

// insertUntilCut has a process insert one row a transaction until the power is cut
// at a random request, and returns how many rows SQLite said were committed.
func insertUntilCut(t *testing.T, m *Machine, dice *rand.Rand, journal, synchronous string) (committed int) {
	t.Helper()
	m.CutAt(1+dice.IntN(300), func(Op) bool { return true })
	// An exclusive lock keeps the WAL's index out of shared memory.
	child := testkit.StartProc(t, testkit.Command{Path: os.Args[0], Env: []string{insertInto + "=" + fmt.Sprintf(
		"file:%s?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(%s)&_pragma=synchronous(%s)&_pragma=wal_autocheckpoint(20)",
		filepath.Join(m.Dir, "db"), journal, synchronous)}})
	child.Wait(20 * time.Second)
	select {
	case <-m.Down():
	default:
		t.Fatalf("before the cut: %s", child.Stderr())
	}
	if lines := strings.Fields(child.Stdout()); len(lines) > 0 {
		committed, _ = strconv.Atoi(lines[len(lines)-1])
	}
	return committed
}

// insertInto makes a child process of this test insert until it cannot.
const insertInto = "TEST_POWERCUT_INSERT_INTO"

func init() {
	if dsn := os.Getenv(insertInto); dsn != "" {
		fmt.Fprintln(os.Stderr, insert(dsn))
		os.Exit(1)
	}
}

func insert(dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS r (id INTEGER PRIMARY KEY, a TEXT, b TEXT UNIQUE)")
	for id := 0; err == nil; {
		err = db.QueryRow("INSERT INTO r (a, b) VALUES (hex(randomblob(200)), hex(randomblob(100))) RETURNING id").Scan(&id)
		if err == nil {
			fmt.Println(id)
		}
	}
	return err
}

// inspect returns how many rows a copy of the file has and what integrity_check says.
func inspect(t *testing.T, path string) (rows int, verdict string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	defer db.Close()
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil {
		return 0, err.Error()
	}
	err = db.QueryRow("SELECT count(*) FROM r").Scan(&rows)
	if err != nil && !strings.Contains(err.Error(), "no such table") {
		return 0, err.Error()
	}
	return rows, verdict
}
