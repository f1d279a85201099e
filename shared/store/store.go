// Package store is the database file that the two daemons share, and the only package with SQL in
// it. It promises that a committed sample is in the file until it is proven delivered, moved to the
// dead letters with a reason, or dropped by the size budget and counted; that a sample is never
// stored twice; and that neither daemon ever reads a partial change of the other.
//
// collectord gets an Inserter, shipperd an Outbox: the type limits what a daemon can do. A sample
// is one row of table metrics, whose key packs its millisecond and its series (see PackKey);
// migrations/0006_compact.sql has the tables.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store/internal/salvage"
)

// Options say which file and who opens it.
type Options struct {
	Path    string           // absolute path of the database file; made when missing
	Daemon  string           // "collectord" or "shipperd"; goes into table sessions
	Version string           // of the program; goes into table sessions
	Log     *slog.Logger     // nil = discard
	Now     func() time.Time // nil = time.Now; only for times that are stored
	Lock    *lock.Lock       // of the daemon; Watch ends when it is lost. nil = none

	// MaxPages bounds the database file in pages (SQLite's max_page_count), so
	// that a test can fill a disk that is not full. 0 = unbounded.
	MaxPages int

	// BusyTimeout is how long a statement waits for the other daemon's write, 0 =
	// 10 s. Transactions last milliseconds; only a checkpoint on a slow card or an
	// upgrade comes near it.
	BusyTimeout time.Duration

	watchEvery time.Duration // other than replaced.go's, for tests

	crash func(point string) // called at named crash points of a salvage; nil = nothing
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

const (
	// applicationID marks the file as ours in its header, set by migration 6.
	applicationID = 1113946212
	firstMarked   = 6
	firstEpochs   = 7

	busyTimeout = 10 * time.Second

	// newPageSize is the page size of files made from now on; a file keeps the
	// size it was born with. Rows are small and each commit writes whole pages to
	// the WAL, so small pages wear a card less (docs/decisions/0002).
	newPageSize = 1024
)

// minSQLite is the first release without the WAL-reset bug, which can corrupt a
// database that two connections write and checkpoint.
// https://sqlite.org/releaselog/3_51_3.html
var minSQLite = []int{3, 51, 3}

// open opens the file, makes it when it is missing, brings its schema up to date,
// and salvages it when it is damaged (docs/decisions/0005). conns bounds the pool;
// connections are kept, since opening one costs more than a tick. Release the lock
// after the database was closed.
func open(ctx context.Context, o Options, synchronous string, conns int) (*sql.DB, *openLock, error) {
	if !filepath.IsAbs(o.Path) {
		return nil, nil, fmt.Errorf("open store %q: the path must be absolute", o.Path)
	}
	if err := prepareFolder(o.Path); err != nil {
		return nil, nil, err
	}
	for again := false; ; again = true {
		db, l, err := openOnce(ctx, o, synchronous, conns)
		if err == nil {
			return db, l, nil
		}
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrReplaced) || again {
			return nil, nil, fmt.Errorf("open store %q: %w", o.Path, ExplainAccess(o.Path, err))
		}
		// Whoever is alone with it next salvages: mostly this process. Files that vanish while they
		// are opened are being exchanged by another one.
	}
}

func openOnce(ctx context.Context, o Options, synchronous string, conns int) (db *sql.DB, l *openLock, err error) {
	if l, err = lockOpen(ctx, o.Path, o.Log); err != nil {
		return nil, nil, err
	}
	l.daemon = o.Lock
	defer func(l *openLock) {
		if err != nil {
			err = errors.Join(err, RequestSalvage(o.Path, err), l.release())
		}
	}(l)
	doubt := ""
	if l.alone {
		if doubt, err = l.examine(ctx, o); err != nil {
			return nil, nil, classify(err)
		}
	}
	if err = prepareFile(o.Path); err != nil {
		return nil, nil, err
	}
	if db, err = openFile(ctx, o, synchronous, conns); err != nil {
		return nil, nil, classify(err)
	}
	if l.alone {
		err = inspect(ctx, db, o)
	}
	if err == nil && doubt != "" {
		var asked int64
		if asked, err = readBackPending(ctx, db, o.Now()); asked > 0 {
			o.Log.Warn("pending samples in doubt, read back first", "reason", doubt, "samples", asked)
		}
	}
	if err == nil {
		err = warm(ctx, db, conns)
	}
	if err == nil {
		err = l.opened()
	}
	if err != nil {
		return nil, nil, errors.Join(classify(err), db.Close())
	}
	return db, l, nil
}

// openFile has SQLite open the file. Settings stand in the DSN because a PRAGMA
// sent by Exec reaches one pooled connection only.
func openFile(ctx context.Context, o Options, synchronous string, conns int) (db *sql.DB, err error) {
	var migrateLock *lock.Lock
	defer func() {
		if migrateLock != nil {
			err = errors.Join(err, migrateLock.Release())
		}
	}()
	takeLock := func() (err error) {
		if migrateLock == nil {
			migrateLock, err = lock.AcquireWait(ctx, o.Path+".migrate.lock")
		}
		return err
	}
	if db, err = openDB(dsn(o, synchronous)); err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err = checkFile(ctx, db); err == nil {
		err = useWAL(ctx, db, takeLock)
	}
	if err == nil {
		err = migrate(ctx, db, o, migrations.All(), takeLock)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// warm opens all connections of the pool now. One that was opened later, after
// somebody removed the WAL, would make a new WAL beside the one that the others use. None takes a
// row that we would not have written.
func warm(ctx context.Context, db *sql.DB, conns int) (err error) {
	var all []*sql.Conn
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.Close())
		}
	}()
	for range conns {
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		all = append(all, c)
		if _, err := sqlite.Limit(c, sqlite3.SQLITE_LIMIT_LENGTH, salvage.MaxRow); err != nil {
			return err
		}
		var n int
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&n); err != nil {
			return err
		}
	}
	return nil
}

// prepareFolder makes the directory, and refuses what is not a regular file.
func prepareFolder(path string) error {
	if err := MakeFolder(path); err != nil {
		return err
	}
	if err := checkFiles(path); err != nil {
		return fmt.Errorf("open store %q: %w", path, err)
	}
	return nil
}

// checkFiles refuses files that SQLite would open and that are not regular files of ours.
func checkFiles(path string) error {
	for _, s := range [...]string{"", "-wal", "-shm", "-journal"} {
		// Any other fault shows when the file is opened.
		if err := datafile.Check(path + s); errors.Is(err, datafile.ErrNotRegular) || errors.Is(err, datafile.ErrForeign) {
			return fmt.Errorf("%w, or set storage.path to another file", err)
		}
	}
	return nil
}

// prepareFile makes, where there is no file yet, an empty one readable by owner
// and group only; SQLite gives -wal and -shm the same mode. It opens no file that
// is there: closing it would drop all locks that SQLite holds on it in this
// process (https://sqlite.org/howtocorrupt.html, 2.2).
func prepareFile(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createFile(path)
	}
	return err
}

// MakeFolder makes the directory for the database at path, for the owner and the
// group, where it is missing.
func MakeFolder(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("open store %q: %w", path, ExplainAccess(path, err))
	} else if err != nil {
		return fmt.Errorf("open store %q: %w; create the directory, or set storage.path to one that this user may write", path, err)
	}
	syncFolders(filepath.Dir(path))
	return nil
}

func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil // the other daemon was faster
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// cacheKiB is SQLite's cache, of each connection: all work goes along the edges of the
// b-tree, so more of it holds no page that is read again.
const cacheKiB = 256

func dsn(o Options, synchronous string) string {
	pragma := func(name string, value any) string { return fmt.Sprintf("%s(%v)", name, value) }
	q := url.Values{
		"_synchronous": {synchronous},
		"_pragma": {
			pragma("busy_timeout", cmp.Or(o.BusyTimeout, busyTimeout).Milliseconds()),
			pragma("page_size", newPageSize),
			pragma("wal_autocheckpoint", 0), // one daemon checkpoints, by its own clock: Checkpointer
			pragma("cache_size", -cacheKiB),
			pragma("foreign_keys", 1),
			pragma("trusted_schema", 0),
		},
	}
	if o.MaxPages > 0 {
		q["_pragma"] = append(q["_pragma"], pragma("max_page_count", o.MaxPages))
	}
	return (&url.URL{Scheme: "file", Path: o.Path, RawQuery: q.Encode()}).String()
}

// mostNewer is how many versions a newer program may be ahead: beyond, a bit of the number has
// flipped.
const mostNewer = 100

// checkFile refuses an SQLite library with a known corruption bug and a file
// that belongs to another program.
func checkFile(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if err := checkSQLiteVersion(version); err != nil {
		return err
	}
	// One statement sees one moment: another process may be upgrading the file.
	var app, schema, tables, ours int
	err := db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema),
		(SELECT count(*) FROM pragma_table_info('metrics')
			WHERE name IN ('timestamp_ms', 'name', 'value', 'tags', 'device_id'))`).Scan(&app, &schema, &tables, &ours)
	if err != nil {
		return err
	}
	switch {
	case app == 0 && schema == 0 && tables == 0:
		return nil // empty
	case app == applicationID && schema >= firstMarked && schema <= migrations.Newest()+mostNewer:
		return nil
	case app == 0 && 0 < schema && schema < firstMarked && ours == 5:
		return nil
	}
	if checkSchema(ctx, db) == nil {
		return fmt.Errorf("%w: its header has the application id %d and schema %d", ErrDamaged, app, schema)
	}
	return ErrForeign
}

// useWAL brings the file into WAL mode, which it then keeps. The setting is not
// in the DSN: it is written into the file, which may turn out to be another
// program's. The busy timeout does not cover the change: one process at a time.
func useWAL(ctx context.Context, db *sql.DB, takeLock func() error) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode == "wal" {
		return err
	}
	if err := takeLock(); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode stays %q: the file system cannot share memory between processes; use a local one", mode)
	}
	return nil
}

func checkSQLiteVersion(version string) error {
	var have []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf("sqlite version %q: %w", version, err)
		}
		have = append(have, n)
	}
	if slices.Compare(have, minSQLite) < 0 {
		return fmt.Errorf("sqlite %s can corrupt a database that two processes write (WAL-reset bug): 3.51.3 or newer is needed", version)
	}
	return nil
}
