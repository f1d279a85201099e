package store

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"belabox-metrics/shared/store/internal/salvage"
	"belabox-metrics/shared/testkit"
)

// TestSalvage_Damage damages files in a hundred ways, each with its own seed. Every row
// whose page nobody touched can be read. docs/decisions/0005-damaged-files.md has the
// figures of a run beside two other ways of reading.
func TestSalvage_Damage(t *testing.T) {
	t.Parallel()
	whole := lived(t, 60)
	merged := whole.copyTo(t, newPath(t))
	mergeWAL(t, merged)
	rowsOn := rowsByPage(t, merged.path)
	original := []byte(readFile(t, merged.path))
	var all, saved int
	for kind, damage := range damages {
		var kindSaved int
		rounds := 12
		if testkit.Race {
			rounds = 3
		}
		for seed := range uint64(rounds) {
			dice := rand.New(rand.NewPCG(seed, 1))
			l := merged.copyTo(t, filepath.Join(t.TempDir(), "metrics.db"))
			damage(t, l.path, dice)
			possible := len(l.values)
			after := []byte(readFile(t, l.path))
			for page := range int64(len(original) / newPageSize) {
				from, to := page*newPageSize, (page+1)*newPageSize
				if to > int64(len(after)) || !bytes.Equal(original[from:to], after[from:to]) {
					possible -= rowsOn[page+1] // a page of series counts for all rows
				}
			}
			got := l.readable(t)
			if got < possible {
				t.Errorf("%s, seed %d: %d of %d rows are read, %d are on pages that nobody touched", kind, seed, got, len(l.values), possible)
			}
			kindSaved += got
		}
		t.Logf("%-12s %5.1f %% of the rows are read", kind, 100*float64(kindSaved)/float64(rounds*len(whole.values)))
		all, saved = all+rounds*len(whole.values), saved+kindSaved
	}
	// In the WAL a frame costs its page, or the copy of it that the database still has.
	for kind, damage := range map[string]func(log []byte, dice *rand.Rand){
		"torn WAL":   func(log []byte, dice *rand.Rand) { copy(log[32+dice.IntN(len(log)-32):], noise(dice.Uint64(), 1000)) },
		"WAL header": func(log []byte, dice *rand.Rand) { copy(log, noise(dice.Uint64(), 32)) },
	} {
		for seed := range uint64(8) {
			l := whole.copyTo(t, filepath.Join(t.TempDir(), "metrics.db"))
			log := []byte(readFile(t, l.path+"-wal"))
			damage(log, rand.New(rand.NewPCG(seed, 2)))
			overwrite(t, l.path+"-wal", string(log))
			got := l.readable(t)
			if lost := len(l.values) - got; lost > 3*rowsOn[int64(len(original)/newPageSize)-1]+150 {
				t.Errorf("%s, seed %d: %d of %d rows are lost", kind, seed, lost, len(l.values))
			}
			all, saved = all+len(whole.values), saved+got
		}
	}
	t.Logf("%d of %d rows are read", saved, all)
}

// damages are ways of damaging a file.
var damages = map[string]func(t *testing.T, path string, dice *rand.Rand){
	"noise": func(t *testing.T, path string, dice *rand.Rand) {
		for range 1 + dice.IntN(8) {
			patch(t, path, dice.Int64N(FileSize(path)/newPageSize)*newPageSize, noise(dice.Uint64(), newPageSize))
		}
	},
	"zeros": func(t *testing.T, path string, dice *rand.Rand) {
		for range 1 + dice.IntN(8) {
			patch(t, path, dice.Int64N(FileSize(path)/newPageSize)*newPageSize, make([]byte, newPageSize))
		}
	},
	"bits": func(t *testing.T, path string, dice *rand.Rand) {
		content := []byte(readFile(t, path))
		for range 1 + dice.IntN(32) {
			content[dice.IntN(len(content))] ^= 1 << dice.IntN(8)
		}
		overwrite(t, path, string(content))
	},
	"erase block": func(t *testing.T, path string, dice *rand.Rand) {
		patch(t, path, dice.Int64N(FileSize(path)-32768)/4096*4096, noise(dice.Uint64(), 32768))
	},
	"first page": func(t *testing.T, path string, dice *rand.Rand) { patch(t, path, 0, noise(dice.Uint64(), newPageSize)) },
	"all roots": func(t *testing.T, path string, dice *rand.Rand) {
		db := rawDB(t, path)
		roots := queryLines(t, db, "SELECT DISTINCT pageno FROM dbstat WHERE pagetype = 'internal'")
		db.Close()
		for _, root := range roots {
			patch(t, path, (number(t, root)-1)*newPageSize, noise(dice.Uint64(), newPageSize))
		}
	},
	"cut": func(t *testing.T, path string, dice *rand.Rand) {
		if err := os.Truncate(path, dice.Int64N(FileSize(path))); err != nil {
			t.Fatal(err)
		}
	},
}

// readable counts the rows of l that can be read and have their series.
func (l *life) readable(t *testing.T) (n int) {
	t.Helper()
	series, keys := map[int64]bool{}, map[Key]bool{}
	_, err := salvage.Rows(t.Context(), l.path, func(r salvage.Row) error {
		switch tableOf(r, firstMarked) {
		case "series":
			series[r.RowID] = true
		case "metrics":
			keys[Key(r.RowID)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for k := range keys {
		if _, known := l.values[k]; known && series[k.SeriesID()] {
			n++
		}
	}
	return n
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
