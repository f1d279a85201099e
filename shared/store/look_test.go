package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenReader_ChangesNothing: a command that looks leaves every byte of every file, whatever
// state the files are in, and adds none. What it reads is what the next start would find.
func TestOpenReader_ChangesNothing(t *testing.T) {
	t.Parallel()
	whole := lived(t, 20)
	for name, c := range map[string]struct {
		do   func(t *testing.T, path string)
		want error // of opening it; nil = every row is read
	}{
		"killed": {func(*testing.T, string) {}, nil},
		"killed, without shm": {func(t *testing.T, path string) {
			if err := os.Remove(path + "-shm"); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"killed, shm of zeros": {func(t *testing.T, path string) { patch(t, path+"-shm", 0, make([]byte, 32<<10)) }, nil},
		"closed":               {func(t *testing.T, path string) { mergeWAL(t, &life{path: path}) }, nil},
		"empty beside a WAL": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := whole.copyTo(t, filepath.Join(t.TempDir(), "metrics.db"))
			c.do(t, l.path)
			before := folder(t, l.path)
			r, err := OpenReader(t.Context(), l.path)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil {
				n, err := r.RowCount(t.Context())
				if err != nil || n != int64(len(whole.values)) {
					t.Errorf("%d rows, %v, want %d", n, err, len(whole.values))
				}
				if _, err := r.Ledger(t.Context()); err != nil {
					t.Error(err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if after := folder(t, l.path); !maps.Equal(before, after) {
				t.Errorf("the files changed: %v, were %v", sizes(after), sizes(before))
			}
			if c.want == nil {
				return
			}
			if _, err := OpenDeadLetters(t.Context(), l.path); !errors.Is(err, c.want) || len(readFile(t, l.path+"-wal")) == 0 {
				t.Errorf("dead letters: got %v, want %v and the WAL", err, c.want)
			}
		})
	}
}

// folder is the content of all files beside the database.
func folder(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range listFolder(t, filepath.Dir(path)) {
		all[name] = readFile(t, filepath.Join(filepath.Dir(path), name))
	}
	return all
}

func sizes(files map[string]string) (all []string) {
	for name, content := range files {
		all = append(all, fmt.Sprint(name, " ", len(content)))
	}
	return all
}
