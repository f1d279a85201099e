package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/testkit"
)

// TestWatch: whatever is done to one of the files shows, and says which.
func TestWatch(t *testing.T) {
	t.Parallel()
	f := func(name, suffix string, do func(t *testing.T, file string), want string) {
		t.Run(name+suffix, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			o := options(path)
			o.watchEvery = 50 * time.Millisecond
			in, ob := openInserter(t, o, 0), openOutbox(t, o)
			mustInsert(t, in, tick0, samples(numberSeries(3), 1))
			if err := errors.Join(in.lock.inPlace(), ob.lock.inPlace()); err != nil {
				t.Fatalf("before: %v", err)
			}
			do(t, path+suffix)
			ctx, cancel := context.WithTimeout(t.Context(), testkit.WaitLimit)
			defer cancel()
			for daemon, watch := range map[string]func() error{
				"collectord": func() error { return in.Watch(ctx) }, "shipperd": func() error { return ob.Watch(ctx) },
			} {
				err := watch()
				if !errors.Is(err, ErrReplaced) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: got %v, want %q in it", daemon, err, want)
				}
			}
		})
	}
	remove := func(t *testing.T, file string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(t *testing.T, file string) {
		other := filepath.Join(filepath.Dir(file), "other")
		if err := errors.Join(os.WriteFile(other, nil, 0o640), os.Rename(other, file)); err != nil {
			t.Fatal(err)
		}
	}
	f("removed", "", remove, "it was removed")
	f("replaced", "", replace, "it was replaced by another file")
	f("removed", "-wal", remove, "its wal file was removed")
	f("replaced", "-wal", replace, "its wal file was replaced")
	f("removed", "-shm", remove, "its shm file was removed")
	f("replaced", "-shm", replace, "its shm file was replaced")
	f("removed", ".open.lock", remove, ".open.lock is no longer the file that is locked")
	f("replaced", ".open.lock", replace, ".open.lock is no longer the file that is locked")
}

// The lock of the daemon is watched too. When the database went with it, that is what counts: its
// content must be saved.
func TestWatch_Lock(t *testing.T) {
	t.Parallel()
	f := func(suffixes []string, want error) {
		t.Helper()
		path := newPath(t)
		held, err := lock.Acquire(path + ".collectord.lock")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Release() //nolint:errcheck // the test ends
		o := options(path)
		o.watchEvery, o.Lock = 50*time.Millisecond, held
		in := openInserter(t, o, 0)
		if err := in.lock.inPlace(); err != nil {
			t.Fatalf("before: %v", err)
		}
		for _, s := range suffixes {
			if err := os.Remove(path + s); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), testkit.WaitLimit)
		defer cancel()
		if err := in.Watch(ctx); !errors.Is(err, want) {
			t.Errorf("%q removed: got %v, want %v", suffixes, err, want)
		}
	}
	f([]string{".collectord.lock"}, lock.ErrLost)
	f([]string{".collectord.lock", ""}, ErrReplaced)
}

// TestWatch_WALRemoved: the rows of a WAL that was removed under the daemons reach
// the database with the last checkpoint, and nobody opens it before that.
func TestWatch_WALRemoved(t *testing.T) {
	t.Parallel()
	for _, files := range [][]string{{"-wal"}, {"-shm"}, {"-wal", "-shm"}} {
		path := newPath(t)
		in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
		mustInsert(t, in, tick0, samples(numberSeries(30), 1))
		for _, s := range files {
			if err := os.Remove(path + s); err != nil {
				t.Fatal(err)
			}
		}
		mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(30), 2)) // not noticed yet
		again := make(chan error, 1)
		var next *Inserter
		go func() {
			var err error
			next, err = OpenInserter(background, options(path), 0)
			again <- err
		}()
		if r, err := in.Checkpoint(t.Context()); err != nil || !r.Complete {
			t.Fatalf("the last checkpoint: %+v, %v", r, err)
		}
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-again:
			t.Fatalf("opened while the other daemon had the old files: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if err := ob.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-again; err != nil {
			t.Fatal(err)
		}
		if n := queryInt(t, next.db, "SELECT count(*) FROM metrics"); n != 60 {
			t.Errorf("without %q: %d rows, want 60", files, n)
		}
		checkIntegrity(t, next.db)
		if err := next.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRescue: a database that was removed is back with the next start, with every
// row; one that was replaced is kept, and the other one is taken.
func TestRescue(t *testing.T) {
	t.Parallel()
	for _, remove := range []bool{true, false} {
		path := newPath(t)
		in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
		mustInsert(t, in, tick0, samples(numberSeries(30), 1))
		if err := errors.Join(in.Rescue(t.Context()), ob.Rescue(t.Context())); err != nil {
			t.Fatalf("with the file in place: %v", err)
		}
		other := newPath(t)
		if err := Migrate(t.Context(), options(other)); err != nil {
			t.Fatal(err)
		}
		var err error
		if remove {
			err = os.Remove(path)
		} else {
			err = os.Rename(other, path)
		}
		if err != nil {
			t.Fatal(err)
		}
		c := recordPending(t, ob, 10)
		mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(30), 2)) // not noticed yet
		if err := in.Rescue(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What shipperd does before it notices is not in the copy.
		late := newChunk(pendingKeys(t, ob, 60, c.Keys.Contains)[:10], false)
		if err := ob.RecordSending(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(in.Close(t.Context()), ob.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		l := &life{path: path, sent: map[Key]bool{}}
		for _, k := range append(c.Keys, late.Keys...) {
			l.sent[k] = true
		}
		_, ledger := l.check(t, options(path))
		reports, err := DamagedFiles(path)
		if err != nil || len(reports) != 1 || reports[0].Rows != 60 {
			t.Fatalf("remove %v: reports %+v, %v", remove, reports, err)
		}
		kept := path
		if !remove {
			kept = reports[0].Aside
			if ledger.Inserted != 0 {
				t.Errorf("the other file has %+v", ledger)
			}
		}
		db := rawDB(t, kept)
		if n := queryInt(t, db, "SELECT count(*) FROM metrics"); n != 60 {
			t.Errorf("remove %v: %s has %d rows, want 60", remove, kept, n)
		}
		checkIntegrity(t, db)
	}
}

// TestRescue_AllRemoved: with all files, or with their folder, the locks go too, by which
// shipperd knows whether collectord is there. It notices first, and waits: what
// collectord had inserted until it noticed is there with the next start.
func TestRescue_AllRemoved(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(path string) error{
		"folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"files": func(path string) error {
			names, err := filepath.Glob(path + "*")
			for _, name := range names {
				err = errors.Join(err, os.Remove(name))
			}
			return err
		},
	} {
		for _, collectord := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", with collectord: ", collectord), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "var", "metrics.db")
				in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
				mustInsert(t, in, tick0, samples(numberSeries(30), 1))
				if err := remove(path); err != nil {
					t.Fatal(err)
				}
				mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(30), 2))
				if !collectord {
					if err := in.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				saved := make(chan error, 1)
				go func() { saved <- errors.Join(ob.Rescue(background), ob.Close(background)) }()
				if collectord {
					select {
					case err := <-saved:
						t.Fatalf("shipperd did not wait for collectord: %v", err)
					case <-time.After(100 * time.Millisecond):
					}
					mustInsert(t, in, tick0.Add(2*time.Second), samples(numberSeries(30), 3))
					if err := errors.Join(in.Rescue(t.Context()), in.Close(t.Context())); err != nil {
						t.Fatal(err)
					}
				}
				if err := <-saved; err != nil {
					t.Fatal(err)
				}
				next := openInserter(t, options(path), 0)
				want := map[bool]int64{true: 90, false: 60}[collectord]
				if n := queryInt(t, next.db, "SELECT count(*) FROM metrics"); n != want {
					t.Errorf("%d rows are back, want %d", n, want)
				}
				checkIntegrity(t, next.db)
			})
		}
	}
}

// sentAndKilled makes a file whose database knows nothing of a chunk that was sent
// and of rows that came later: those stand in the WAL. It is a copy, since a handle
// of this process stands in the way of what a kill leaves.
func sentAndKilled(t *testing.T) *life {
	t.Helper()
	l := &life{path: newPath(t), sent: map[Key]bool{}}
	in, ob := openInserter(t, options(l.path), 0), openOutbox(t, options(l.path))
	mustInsert(t, in, tick0, samples(numberSeries(30), 1))
	if _, err := in.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.values, _ = contents(t, ob.db)
	for _, k := range recordPending(t, ob, 100).Keys {
		l.sent[k] = true
	}
	return l.copyTo(t, newPath(t))
}

// recordOpen writes what a run left in the lock file.
func recordOpen(t *testing.T, path string, i lastOpen) {
	t.Helper()
	file, err := os.OpenFile(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	(&openLock{file: file}).write(i)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func identityOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return idOf(info)
}

// TestOpen_WALGone: without its WAL a file is older than what was sent.
func TestOpen_WALGone(t *testing.T) {
	t.Parallel()
	l := sentAndKilled(t)
	recordOpen(t, l.path, lastOpen{open: true, db: identityOf(t, l.path), wal: identityOf(t, l.path+"-wal")})
	if err := errors.Join(os.Remove(l.path+"-wal"), os.Remove(l.path+"-shm")); err != nil {
		t.Fatal(err)
	}
	if lost, _ := l.check(t, l.options()); lost != 0 {
		t.Errorf("%d rows lost", lost)
	}
	if files := l.damagedFiles(t); len(files) > 0 {
		t.Errorf("a whole file was set aside: %q", files)
	}
}

// TestOpen_Backup: a backup in the place of the database is older than what was
// sent, and the WAL beside it is not its own.
func TestOpen_Backup(t *testing.T) {
	t.Parallel()
	for _, inUse := range []bool{true, false} {
		l := sentAndKilled(t)
		wal := readFile(t, l.path+"-wal")
		recordOpen(t, l.path, lastOpen{open: inUse, db: identityOf(t, l.path), wal: identityOf(t, l.path+"-wal")})
		backup := l.path + ".backup"
		overwrite(t, backup, readFile(t, l.path)) // without the WAL: as it was before the chunk
		if err := os.Rename(backup, l.path); err != nil {
			t.Fatal(err)
		}
		if !inUse { // closed in order: there was no WAL any more
			if err := errors.Join(os.Remove(l.path+"-wal"), os.Remove(l.path+"-shm")); err != nil {
				t.Fatal(err)
			}
		}
		if lost, _ := l.check(t, l.options()); lost != 0 {
			t.Errorf("%d rows lost", lost)
		}
		reports, err := DamagedFiles(l.path)
		if inUse && (err != nil || len(reports) != 1 || readFile(t, reports[0].Aside+"-wal") != wal) {
			t.Errorf("the WAL of the old file is not kept: %+v, %v", reports, err)
		}
		if !inUse && len(reports) > 0 {
			t.Errorf("a whole file was set aside: %+v", reports)
		}
	}
}

// TestOpen_Moved: a database that was moved together with its WAL is the same one.
func TestOpen_Moved(t *testing.T) {
	t.Parallel()
	l := sentAndKilled(t).copyTo(t, newPath(t))
	if lost, _ := l.check(t, l.options()); lost != 0 {
		t.Errorf("%d rows lost", lost)
	}
	if files := l.damagedFiles(t); len(files) > 0 {
		t.Errorf("it was set aside: %q", files)
	}
}

// TestLeave_Together: of two that leave at the same moment, one notes that all was
// closed in order.
func TestLeave_Together(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for round := range 30 {
		a, b := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
		start := make(chan bool)
		errs := make(chan error)
		for _, end := range []func() error{func() error { return a.Close(background) }, func() error { return b.Close(background) }} {
			go func() {
				<-start
				errs <- end()
			}()
		}
		close(start)
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path + ".open.lock")
		if err != nil {
			t.Fatal(err)
		}
		// SQLite itself may leave the WAL when both close at once: then it is still owed.
		if got := (&openLock{file: file}).read(); !got.known || got.open != (WALSize(path) > 0) {
			t.Fatalf("round %d: %+v, WAL %d bytes", round, got, WALSize(path))
		}
		file.Close()
	}
}

// TestImprint: what the lock file says is what was last written to it.
func TestImprint(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	state := func() lastOpen {
		file, err := os.OpenFile(path+".open.lock", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		return (&openLock{file: file}).read()
	}
	in, ob := openInserter(t, o, 0), openOutbox(t, o)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := state(); !got.known || !got.open || got.db != idOf(info) || got.wal == "" || got.wal == "none" {
		t.Errorf("open: %+v", got)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := state(); !got.open {
		t.Errorf("one of two has closed: %+v", got)
	}
	if err := ob.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := state(); !got.known || got.open || got.db != idOf(info) {
		t.Errorf("both have closed: %+v", got)
	}
	for _, text := range []string{"", "open", "open db", "nonsense db 1 wal 2", "\x00\x00\x00", strings.Repeat("x", 5000)} {
		overwrite(t, path+".open.lock", text)
		if got := state(); got.known {
			t.Errorf("%q is taken for %+v", text, got)
		}
		openInserter(t, o, 0) // and is no reason not to start
	}
}
