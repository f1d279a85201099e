package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"belabox-metrics/migrations"

	"belabox-metrics/shared/testkit"
)

// eachStep runs f once for every migration, on a file of the version before it;
// version 0 is an empty file.
func eachStep(t *testing.T, f func(t *testing.T, path string, step migrations.Migration)) {
	for _, step := range migrations.All() {
		t.Run(step.Name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			if step.Version > 1 {
				makeOld(t, path, step.Version-1)
			}
			f(t, path, step)
		})
	}
}

// withStatement is the ladder up to step, with one more statement at the end of
// that step.
func withStatement(step migrations.Migration, statement string) []migrations.Migration {
	steps := migrations.All()[:step.Version]
	steps[step.Version-1].SQL += "\n" + statement
	return steps
}

// runSteps is what open does with a file, with other steps.
func runSteps(t *testing.T, o Options, steps []migrations.Migration) error {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(o, "FULL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	free := func() error { return nil }
	if err := useWAL(t.Context(), db, free); err != nil {
		t.Fatal(err)
	}
	return migrate(t.Context(), db, o.withDefaults(), steps, free)
}

// checkStillOld compares the file with what it was before a failed upgrade, and
// then upgrades it.
func checkStillOld(t *testing.T, path string, version int, before string) {
	t.Helper()
	db := rawDB(t, path)
	if after := dump(t, db); after != before {
		t.Errorf("the failed upgrade changed the file:\n%s", diff(after, before))
	}
	checkIntegrity(t, db)
	db.Close()
	if err := Migrate(t.Context(), options(path)); err != nil {
		t.Fatal(err)
	}
	if version > 0 {
		checkUpgraded(t, rawDB(t, path), version, rowsOf(version))
	}
}

func dumpFile(t *testing.T, path string) string {
	t.Helper()
	db := rawDB(t, path)
	defer db.Close()
	return dump(t, db)
}

func TestMigrate_BrokenStepLeavesOldVersion(t *testing.T) {
	t.Parallel()
	eachStep(t, func(t *testing.T, path string, step migrations.Migration) {
		before := dumpFile(t, path)
		err := runSteps(t, options(path), withStatement(step, "INSERT INTO no_such_table VALUES (1);"))
		want := fmt.Sprintf("upgrade by %s: "+ErrDamaged.Error()+": SQL logic error: no such table: no_such_table (1); the file stays at schema %d", step.Name, step.Version-1)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		checkStillOld(t, path, step.Version-1, before)
	})
}

// TestMigrate_BrokenCommit lets the last moment of a step fail: what a step does
// and its version number are one transaction.
func TestMigrate_BrokenCommit(t *testing.T) {
	t.Parallel()
	eachStep(t, func(t *testing.T, path string, step migrations.Migration) {
		before := dumpFile(t, path)
		err := runSteps(t, options(path), withStatement(step, `CREATE TABLE parent (id INTEGER PRIMARY KEY);
			CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
			INSERT INTO child VALUES (12345);`))
		if err == nil || !strings.Contains(err.Error(), "FOREIGN KEY constraint failed") {
			t.Errorf("got %v", err)
		}
		checkStillOld(t, path, step.Version-1, before)
	})
}

// TestMigrate_BrokenLaterStep runs several steps of which a later one fails: the
// file stays at the last complete version.
func TestMigrate_BrokenLaterStep(t *testing.T) {
	t.Parallel()
	path, want := newPath(t), newPath(t)
	rows := makeOld(t, path, 1)
	makeOld(t, want, 1)
	if err := runSteps(t, options(want), migrations.All()[:3]); err != nil {
		t.Fatal(err)
	}
	if err := runSteps(t, options(path), withStatement(migrations.All()[3], "SELECT no_such_function();")); err == nil {
		t.Fatal("no error")
	}
	if got, want := dumpFile(t, path), dumpFile(t, want); got != want {
		t.Errorf("the file is not what three steps make of it:\n%s", diff(got, want))
	}
	if err := Migrate(t.Context(), options(path)); err != nil {
		t.Fatal(err)
	}
	checkUpgraded(t, rawDB(t, path), 1, rows)
}

// TestMigrate_DiskFull lets the disk fill at every point of a step: it gives the
// file one page more until the step succeeds.
func TestMigrate_DiskFull(t *testing.T) {
	t.Parallel()
	eachStep(t, func(t *testing.T, path string, step migrations.Migration) {
		before := dumpFile(t, path)
		db := rawDB(t, path)
		o := options(path)
		o.MaxPages = max(1, int(queryInt(t, db, "PRAGMA page_count")))
		db.Close()
		for failures := 0; ; failures++ {
			err := runSteps(t, o, migrations.All()[:step.Version])
			if err == nil {
				if failures == 0 {
					t.Error("the step never failed: the test proves nothing")
				}
				break
			}
			if !errors.Is(err, ErrFull) {
				t.Fatalf("with %d pages: %v, want ErrFull", o.MaxPages, err)
			}
			if after := dumpFile(t, path); after != before {
				t.Fatalf("with %d pages the failed upgrade changed the file:\n%s", o.MaxPages, diff(after, before))
			}
			o.MaxPages += 1 + failures // a page at first, then larger strides
		}
		if err := Migrate(t.Context(), options(path)); err != nil {
			t.Fatal(err)
		}
		checkIntegrity(t, rawDB(t, path))
		if step.Version > 1 {
			checkUpgraded(t, rawDB(t, path), step.Version-1, rowsOf(step.Version-1))
		}
	})
}

// TestMigrate_Killed kills a process at the end of a step, when all of the step
// is done and nothing of it committed.
func TestMigrate_Killed(t *testing.T) {
	t.Parallel()
	eachStep(t, func(t *testing.T, path string, step migrations.Migration) {
		before := dumpFile(t, path)
		child := startJob(t, "migrate-paused", path, strconv.Itoa(step.Version))
		child.WaitLine(testkit.WaitLimit, "paused")
		if step.Version > 1 && WALSize(path) == 0 {
			t.Error("nothing of the step has reached the WAL: the test proves little")
		}
		child.Kill()
		checkStillOld(t, path, step.Version-1, before)
	})
}

// migratePaused runs the ladder up to version arg and stops for ever within its
// last step.
func migratePaused(path, arg string) error {
	sqlite.MustRegisterScalarFunction("bx_test_pause", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		fmt.Println("paused")
		time.Sleep(time.Hour) // until the parent kills us
		return nil, errors.New("not killed")
	})
	version, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	o := options(path)
	db, err := sql.Open("sqlite", dsn(o, "FULL"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	free := func() error { return nil }
	if err := useWAL(background, db, free); err != nil {
		return err
	}
	if _, err := db.Exec("PRAGMA cache_size = 1"); err != nil { // page: what is done goes to the WAL at once
		return err
	}
	return migrate(background, db, o.withDefaults(), withStatement(migrations.All()[version-1], "SELECT bx_test_pause();"), free)
}
