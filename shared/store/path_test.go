package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/testkit"
)

func TestOpen_RelativePath(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "metrics.db", "./metrics.db", "../metrics.db", "file:/tmp/metrics.db"} {
		for name, open := range openers {
			err := open(t, options(path))
			if want := fmt.Sprintf("open store %q: the path must be absolute", path); err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
	}
}

// TestOpen_OddNames has names with every character that means something in a
// URI or in SQL.
func TestOpen_OddNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"with space.db", "what?.db", "what?mode=ro&cache=shared", "a#fragment.db", "100%.db", "%41%00.db", "a+b&c=d;e.db",
		"it's \"quoted\".db", "zône ☀.db", "new\nline.db", "back\\slash.db", "sub?folder/with#more/m.db", "?", ":memory:", "file:x.db",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			in := openInserter(t, options(path), 0)
			mustInsert(t, in, tick0, samples(numberSeries(3), 1))
			if WALSize(path) == 0 {
				t.Errorf("no WAL beside %q", path)
			}
			rows, err := openOutbox(t, options(path)).Pending(t.Context(), 0, 10, nil)
			if err != nil || len(rows) != 3 {
				t.Errorf("%d rows, %v, want 3", len(rows), err)
			}
			if _, err := in.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			if FileSize(path) == 0 {
				t.Errorf("nothing in %q; its folder has %q", path, listFolder(t, filepath.Dir(path)))
			}
		})
	}
}

func TestOpen_MakesFolders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "metrics.db")
	openInserter(t, options(path), 0)
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), 0o750&^umask(t); got != want {
		t.Errorf("the folder has mode %o, want %o", got, want)
	}
}

// TestOpen_FileMode: samples are for owner and group only, in all files.
func TestOpen_FileMode(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	mustInsert(t, openInserter(t, options(path), 0), tick0, samples(numberSeries(3), 1))
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".migrate.lock"} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := info.Mode().Perm(), 0o640&^umask(t); got != want {
			t.Errorf("%s has mode %o, want %o", file, got, want)
		}
	}
}

// umask is what this user's settings take away from the mode of new files.
func umask(t *testing.T) fs.FileMode {
	t.Helper()
	probe := filepath.Join(t.TempDir(), "probe")
	if err := os.Mkdir(probe, 0o777); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(probe)
	if err != nil {
		t.Fatal(err)
	}
	return 0o777 &^ info.Mode().Perm()
}

func TestOpen_FolderInPlaceOfFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	err := Migrate(t.Context(), options(path))
	if want := "not a regular file"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}

func TestOpen_FileInPlaceOfFolder(t *testing.T) {
	t.Parallel()
	file := newPath(t)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Migrate(t.Context(), options(filepath.Join(file, "metrics.db")))
	if want := "set storage.path to one that this user may write"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}

// TestOpen_NotAllowed has a user who may not write the directory or the file.
func TestOpen_NotAllowed(t *testing.T) {
	t.Parallel()
	who := "user " + userName(os.Getuid())
	if os.Getuid() == 0 {
		who = "user " + userName(nobody)
	}
	f := func(name string, fileMode, folderMode os.FileMode, make bool, want ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			if make {
				if err := Migrate(t.Context(), options(path)); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, fileMode); err != nil {
					t.Fatal(err)
				}
			}
			folder := filepath.Dir(path)
			if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(folder, folderMode); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(folder, 0o755) }) // for TempDir, which removes it
			child := startJob(t, "open-as-stranger", path, "")
			if code := child.Wait(testkit.WaitLimit); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			for _, w := range want {
				if !strings.Contains(child.Stdout(), w) {
					t.Errorf("got %s, want %q in it", child.Stdout(), w)
				}
			}
		})
	}
	f("no file, read-only folder", 0, 0o555, false, "ErrReadOnly", who+" may not write the directory", "mode 0555", "run as root: find ", "-exec chown -h ")
	f("read-only file", 0o444, 0o777, true, "ErrReadOnly", who+" may not read and write", "owner root, group root, mode 0444", "run as root: find ", "-exec chown -h ")
	f("read-only folder", 0o666, 0o555, true, "ErrReadOnly", who+" may not write the directory", "mode 0555")
	f("secret file", 0o000, 0o777, true, "ErrReadOnly", who+" may not read and write", "metrics.db (", "mode 0000")
	f("secret folder", 0o666, 0o000, true, "permission denied", "ErrReadOnly", who+" may not write the directory", "mode 0000")
}

// nobody is a user without any rights, on every Linux.
const nobody = 65534

// openAsStranger opens the file as a user without any rights, for root may write
// everything.
func openAsStranger(path, _ string) error {
	if os.Getuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
	}
	in, err := OpenInserter(background, options(path), 0)
	if err == nil {
		_ = in.Close(background)
		return errors.New("the file opened")
	}
	fmt.Println(err)
	if errors.Is(err, ErrReadOnly) {
		fmt.Println("ErrReadOnly")
	}
	return nil
}
