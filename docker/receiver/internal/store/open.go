package store

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// The steps of the schema: the first makes version 1, the second makes 2 of it, and so on.
//
//go:embed schema.sql
var schema1 string

//go:embed chunks.sql
var schema2 string

var schema = []string{schema1, schema2}

const (
	// applicationID marks a file as the receiver's ("bMrx"): https://www.sqlite.org/pragma.html#pragma_application_id
	applicationID = 0x624d7278
	schemaVersion = 2

	// maxReaders is how many connections read at a time. A read lasts for one piece of an export, so a few serve many.
	maxReaders = 4
)

// Pragmas stand in the DSN, because one that is executed reaches only one connection of a pool.
var (
	writePragmas = []string{
		"busy_timeout(2000)",
		"journal_mode(WAL)",
		// An answer promises that the samples are on the disk: sync at every commit.
		"synchronous(FULL)",
		// 16 MB between checkpoints: pages that change again and again are copied back less often.
		"wal_autocheckpoint(4000)",
		"cache_size(-32768)", // KiB
	}
	readPragmas = []string{"busy_timeout(2000)", "query_only(1)"}
)

// dsn builds the data source name. Transactions are IMMEDIATE: one that begins as a reader and then writes can fail
// with SQLITE_BUSY whatever busy_timeout says.
func dsn(path string, pragmas []string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

// resolve makes path absolute and follows symbolic links, so that a file has one lock whatever name it is opened by.
func resolve(path string) (string, error) {
	if path == "" {
		return "", errors.New("the name is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		return target, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no folder %q; create it first", filepath.Dir(path))
	}
	return filepath.Join(folder, filepath.Base(path)), err
}

// acquire takes the lock file and writes this process into it. The file stays when the lock is let go: removing it
// could take the lock from under a process that has just opened it.
func acquire(path string) (*flock.Flock, error) {
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if !ok {
		holder := "another process"
		if pid, err := os.ReadFile(path); err == nil && len(bytes.TrimSpace(pid)) > 0 {
			holder = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("%s has it open (lock file %q)", holder, path)
	}
	if err := os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), lock.Unlock())
	}
	return lock, nil
}

// inspect refuses a file that is not the receiver's. It opens it read-only, because the pragmas of the writer would
// already change it.
func inspect(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if info.Size() == 0 {
		return nil
	}
	const magic = "SQLite format 3\x00"
	header := make([]byte, len(magic))
	if _, err := io.ReadFull(f, header); err != nil || string(header) != magic {
		return errors.New("is not a SQLite file; it was left as it is, choose another file")
	}

	db, err := sql.Open("sqlite", dsn(path, readPragmas)+"&mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var application, version, tables int
	err = db.QueryRow(`SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&application, &version, &tables)
	switch {
	case err != nil:
		return fmt.Errorf("%w; it was left as it is", err)
	case application == 0 && version == 0 && tables == 0:
		return nil // a receiver that was killed before its first transaction
	case application != applicationID:
		return fmt.Errorf("belongs to another program (application_id %#x, want %#x); it was left as it is, "+
			"choose another file", application, applicationID)
	case version > schemaVersion:
		return fmt.Errorf("schema %d is newer than this receiver's %d; use the newer receiver", version, schemaVersion)
	}
	return nil
}

// prepareSchema creates the tables in a new file, and those that a file of an earlier receiver lacks.
func prepareSchema(db *sql.DB) error {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version == schemaVersion {
		return nil
	}
	if _, err := tx.Exec(fmt.Sprintf("%s; PRAGMA application_id = %d; PRAGMA user_version = %d",
		strings.Join(schema[version:], ";"), applicationID, schemaVersion)); err != nil {
		return fmt.Errorf("create schema: %w", err)
	}
	return tx.Commit()
}
