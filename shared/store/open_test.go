package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// connections returns every connection of a handle's pool: the one that writes,
// and the rest.
func connections(t *testing.T, db *sql.DB, w *writer, size int) []*sql.Conn {
	t.Helper()
	if got := db.Stats().MaxOpenConnections; got != size {
		t.Fatalf("the pool has %d connections, want %d", got, size)
	}
	all := []*sql.Conn{w.conn}
	for range size - 1 {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
	}
	if got := db.Stats().OpenConnections; got != size {
		t.Errorf("%d connections are open, want %d", got, size)
	}
	return all
}

// TestConnectionPool_Settings asks every connection of both handles: a setting that reached
// one of them only would show here.
func TestConnectionPool_Settings(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Second), openOutbox(t, options(path))
	all := connections(t, in.db, in.w, 2)
	all = append(all, connections(t, ob.db, ob.w, 3)...)
	for i, c := range all {
		for pragma, want := range map[string]string{
			"busy_timeout":       "10000",
			"journal_mode":       "wal",
			"synchronous":        "1", // NORMAL
			"wal_autocheckpoint": "0",
			"page_size":          "1024",
			"cache_size":         "-256",
			"foreign_keys":       "1",
			"trusted_schema":     "0",
			"mmap_size":          "0",
		} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("connection %d: %s is %s, %v, want %s", i, pragma, got, err, want)
			}
		}
	}
}

// TestConnectionPool_IsKept: opening one costs more than a tick.
func TestConnectionPool_IsKept(t *testing.T) {
	t.Parallel()
	ob := openOutbox(t, options(newPath(t)))
	var busy []*sql.Conn
	for range outboxConns - 1 {
		c, err := ob.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		busy = append(busy, c)
	}
	for _, c := range busy {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := ob.db.Stats().OpenConnections; got != outboxConns {
		t.Errorf("%d connections stay open, want %d", got, outboxConns)
	}
}

// TestOpen_TransactionsAreImmediate has two transactions that read and then
// write. Were they deferred, the first would fail with BUSY_SNAPSHOT as soon as
// the second had committed.
func TestOpen_TransactionsAreImmediate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
	stranger, err := sql.Open("sqlite", path) // no busy timeout
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stranger.Close() })
	readThenWrite := func(tx execer) error {
		var n int
		if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM daemon_stats").Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(t.Context(), "INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('d', ?, '', 'counter', 0, 0)", fmt.Sprint("row ", n))
		return err
	}

	first, err := in.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Exec("BEGIN IMMEDIATE"); !errors.Is(classify(err), ErrBusy) {
		t.Errorf("a transaction that has only begun: another one gets %v, want ErrBusy", err)
	}
	second := make(chan error)
	go func() {
		second <- ob.w.tx(context.Background(), unsynced, func(_ context.Context, tx execer) error { return readThenWrite(tx) })
	}()
	if err := readThenWrite(first); err != nil {
		t.Error(err)
	}
	if err := first.Commit(); err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Errorf("the transaction that had to wait: %v", err)
	}
	if got := queryInt(t, ob.db, "SELECT count(*) FROM daemon_stats WHERE name IN ('row 0', 'row 1')"); got != 2 {
		t.Errorf("%d rows, want both", got)
	}
}

func TestOpen_OldFileKeepsItsPageSize(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "PRAGMA page_size = 4096")
	migrateTo(t, db, 3)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	in := openInserter(t, options(path), 0)
	mustInsert(t, in, tick0, samples(numberSeries(100), 1))
	if got := queryInt(t, in.db, "PRAGMA page_size"); got != 4096 {
		t.Errorf("page size %d, want 4096", got)
	}
}

// TestOpen_SecondHandleKeepsTheLocks opens the file more than once in a process.
// As closing any descriptor of a file drops all locks of the process on it, a
// careless look at the file would leave the first handle without its lock; then
// any other program, the sqlite3 shell for one, takes itself for the last user
// and removes the WAL with all that is in it.
func TestOpen_SecondHandleKeepsTheLocks(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), 0)
	mustInsert(t, in, tick0, samples(numberSeries(3), 1))
	check := func(after string) {
		t.Helper()
		child := startJob(t, "look-for-lock", path, "")
		if got := child.WaitLine(testkit.WaitLimit, "locked"); got != fmt.Sprint("locked by ", os.Getpid()) {
			t.Errorf("after %s: the file is %s", after, got)
		}
	}
	check("OpenInserter")
	if err := Migrate(t.Context(), options(path)); err != nil {
		t.Fatal(err)
	}
	check("Migrate")
	ob := openOutbox(t, options(path))
	check("OpenOutbox")
	if err := ob.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("Close")
}

// lookForLock asks the kernel whether another process holds SQLite's shared lock,
// bytes of which the address is part of the file format
// (https://sqlite.org/src/file/src/os.h, SHARED_FIRST).
func lookForLock(path, _ string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 0x40000002, Len: 510}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return err
	}
	if lock.Type == syscall.F_UNLCK {
		fmt.Println("not locked")
	} else {
		fmt.Println("locked by", lock.Pid)
	}
	return nil
}

// TestClose_LeavesOneFile: the last one to close the file takes the WAL along.
func TestClose_LeavesOneFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(70)
	mustInsert(t, in, tick0, samples(series, 1))
	if _, err := ob.Pending(t.Context(), 0, 100, nil); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Errorf("the outbox is still open: %v", err)
	}
	if err := ob.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, file := range []string{path + "-wal", path + "-shm"} {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after the last close: %v, want no such file", file, err)
		}
	}
	if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM metrics"); got != 70 {
		t.Errorf("%d rows, want 70", got)
	}
}

func TestCheckSQLiteVersion(t *testing.T) {
	t.Parallel()
	f := func(version string, ok bool) {
		t.Helper()
		if err := checkSQLiteVersion(version); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted %v", version, err, ok)
		}
	}
	f("3.51.3", true)
	f("3.51.4", true)
	f("3.51.10", true)
	f("3.51.3.1", true)
	f("3.52", true)
	f("3.54.1", true)
	f("4.0.0", true)
	f("3.51.2", false)
	f("3.51", false)
	f("3.50.99", false)
	f("3.9.3", false)
	f("2.99.99", false)
	f("", false)
	f("3.51.3-beta", false)
	f("trunk", false)
}

// TestCheckSQLiteVersion_Linked is about the library that this program links.
func TestCheckSQLiteVersion_Linked(t *testing.T) {
	t.Parallel()
	var version string
	if err := rawDB(t, newPath(t)).QueryRow("SELECT sqlite_version()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if err := checkSQLiteVersion(version); err != nil {
		t.Error(err)
	}
}

func TestOpen_CancelledContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := newPath(t)
	if _, err := OpenInserter(ctx, options(path), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	openInserter(t, options(path), 0) // what it left behind is no hindrance
}
