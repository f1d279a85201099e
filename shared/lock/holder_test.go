package lock

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	f := func(what string, wantPID int, wantHeld bool) {
		t.Helper()
		pid, held, err := Holder(path)
		if pid != wantPID || held != wantHeld || err != nil {
			t.Errorf("%s: got %d, %v, %v, want %d, %v", what, pid, held, err, wantPID, wantHeld)
		}
	}
	f("no file", 0, false)
	if _, err := os.Stat(path); err == nil {
		t.Error("asking for the holder made the file")
	}
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	f("held", os.Getpid(), true)
	f("held, asked again", os.Getpid(), true)
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	f("released", 0, false)
	// A killed holder leaves its PID behind, but not the lock.
	if err := os.WriteFile(path, []byte("1\n"), mode); err != nil {
		t.Fatal(err)
	}
	f("stale", 0, false)
	if _, _, err := Holder(filepath.Join(path, "below")); err == nil {
		t.Error("a path below a file: no error")
	}
	for range 100 { // asking frees what it took: nobody is kept out
		f("free", 0, false)
	}
	if l, err = Acquire(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}
