package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/store/internal/salvage"
	"belabox-metrics/shared/testkit"
)

// TestSalvage_EveryPage damages one page after the other: each one but for those with rows
// of metrics alone, of which it takes every fifth. The rows of other pages
// are all there again, and so is what only leads to rows.
func TestSalvage_EveryPage(t *testing.T) {
	t.Parallel()
	whole := lived(t, 40)
	mergeWAL(t, whole)
	pages := FileSize(whole.path) / newPageSize
	rowsOn := rowsByPage(t, whole.path)
	tried, noticed, lostAll := 0, 0, 0
	for page := int64(1); page <= pages; page++ {
		every := int64(5)
		if testkit.Race {
			every = 30
		}
		if n := rowsOn[page]; page%every != 0 && 0 < n && n < len(whole.values) {
			continue
		}
		tried++
		l := whole.copyTo(t, filepath.Join(t.TempDir(), "metrics.db"))
		before, err := os.ReadFile(l.path)
		if err != nil {
			t.Fatal(err)
		}
		patch(t, l.path, (page-1)*newPageSize, noise(uint64(page), newPageSize))
		if err := RequestSalvage(l.path, ErrDamaged); err != nil { // as when it was met by a statement
			t.Fatal(err)
		}
		lost, ledger := l.check(t, l.options())
		if lost > rowsOn[page] {
			t.Errorf("page %d had %d rows, %d are lost", page, rowsOn[page], lost)
		}
		reports, err := DamagedFiles(l.path)
		if err != nil || len(reports) != 1 {
			t.Fatalf("page %d: reports %+v, %v", page, reports, err)
		}
		r := reports[0]
		if r.Lost != nil && int(*r.Lost+r.LostProven) != lost && rowsOn[page] > 0 {
			t.Errorf("page %d: %d rows are lost, the report says %+v", page, lost, r)
		}
		if ledger.Inserted != l.ledger.Inserted && !r.LedgerLost {
			t.Errorf("page %d: the ledger has %d inserted, had %d", page, ledger.Inserted, l.ledger.Inserted)
		}
		if r.BadPages > 0 {
			noticed++
		}
		lostAll += lost
		kept, err := os.ReadFile(r.Aside)
		patched := slices.Clone(before)
		copy(patched[(page-1)*newPageSize:], noise(uint64(page), newPageSize))
		if err != nil || !bytes.Equal(kept, patched) {
			t.Fatalf("page %d: the damaged file is not kept as it was: %v", page, err)
		}
	}
	t.Logf("%d pages, %d of them missed by a tree, %d of %d rows lost in all", tried, noticed, lostAll, len(whole.values)*tried)
	if noticed < tried/2 || lostAll == 0 {
		t.Error("hardly any damage had an effect: the test proves nothing")
	}
}

// mergeWAL brings everything into the database file.
func mergeWAL(t testing.TB, l *life) {
	t.Helper()
	in := openInserter(t, l.options(), 0)
	if _, err := in.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// rowsByPage counts the rows of metrics on each page, with SQLite's own words; a
// page of series stands for all rows, as they are lost with their series.
func rowsByPage(t testing.TB, path string) map[int64]int {
	t.Helper()
	db := rawDB(t, path)
	defer db.Close()
	counts := map[int64]int{}
	all := int(queryInt(t, db, "SELECT count(*) FROM metrics"))
	rows, err := db.Query("SELECT name, pageno, ncell FROM dbstat WHERE name IN ('metrics', 'series') AND pagetype = 'leaf'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var page int64
		var n int
		if err := rows.Scan(&name, &page, &n); err != nil {
			t.Fatal(err)
		}
		counts[page] = n
		if name == "series" {
			counts[page] = all
		}
	}
	return counts
}

// TestSalvage_Random damages database and WAL in all ways at once.
func TestSalvage_Random(t *testing.T) {
	t.Parallel()
	whole := lived(t, 20)
	for round := range 25 {
		seed := rand.Uint64()
		dice := rand.New(rand.NewPCG(seed, 0))
		l := whole.copyTo(t, filepath.Join(t.TempDir(), "metrics.db"))
		l.values = nil // a single byte of a value changes and nobody can see it
		var blows []string
		for range 1 + dice.IntN(4) {
			blow, sees := l.strike(t, dice)
			blows = append(blows, blow)
			if !sees {
				l.sent = nil
			}
		}
		// The damage shows sooner or later.
		if err := RequestSalvage(l.path, ErrDamaged); err != nil {
			t.Fatal(err)
		}
		l.check(t, l.options())
		if t.Failed() {
			t.Fatalf("round %d, seed %d: %q", round, seed, blows)
		}
	}
}

// strike damages something. sees is false when nobody can see what was lost: a WAL
// that is cut off or gone has never been longer.
func (l *life) strike(t *testing.T, dice *rand.Rand) (blow string, sees bool) {
	t.Helper()
	file, size := l.path, FileSize(l.path)
	if dice.IntN(2) == 0 {
		file, size = l.path+"-wal", WALSize(l.path)
	}
	if size == 0 {
		return "nothing left", true
	}
	at := dice.Int64N(size)
	blow = fmt.Sprintf("%s at %d", filepath.Ext(file), at)
	switch dice.IntN(6) {
	case 0, 1, 2:
		n := 1 + dice.IntN(5000)
		patch(t, file, at, noise(dice.Uint64(), n))
		return fmt.Sprintf("%s: %d bytes of noise", blow, n), true
	case 3:
		patch(t, file, at/newPageSize*newPageSize, make([]byte, newPageSize))
		return blow + ": a page of zeros", true
	case 4:
		if err := os.Truncate(file, at); err != nil {
			t.Fatal(err)
		}
		return blow + ": cut off", file == l.path
	default:
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return blow + ": removed", file == l.path
	}
}

// TestSalvage_Noticed: what a start notices by itself, and that a second start has
// nothing to do.
func TestSalvage_Noticed(t *testing.T) {
	t.Parallel()
	whole := lived(t, 60)
	merged := whole.copyTo(t, newPath(t))
	mergeWAL(t, merged)
	root := func(t *testing.T, l *life, table string) int64 {
		db := rawDB(t, l.path)
		defer db.Close()
		return queryInt(t, db, "SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
	}
	garbage := func(t *testing.T, l *life, page int64) {
		patch(t, l.path, (page-1)*newPageSize, noise(1, newPageSize))
	}
	unclean := func(t *testing.T, l *life) { // as after a kill
		recordOpen(t, l.path, lastOpen{open: true, db: identityOf(t, l.path), wal: "none"})
	}
	for name, c := range map[string]struct {
		of     *life
		damage func(t *testing.T, l *life)
		all    bool // every row is there again
		some   bool // at least half of them are
	}{
		"a word":        {merged, func(t *testing.T, l *life) { overwrite(t, l.path, "hello") }, false, false},
		"a text":        {merged, func(t *testing.T, l *life) { overwrite(t, l.path, strings.Repeat("no database\n", 999)) }, false, false},
		"zeros":         {merged, func(t *testing.T, l *life) { overwrite(t, l.path, string(make([]byte, 8192))) }, false, false},
		"a magic alone": {merged, func(t *testing.T, l *life) { overwrite(t, l.path, "SQLite format 3\x00") }, false, false},
		"a header of nonsense": {merged, func(t *testing.T, l *life) {
			patch(t, l.path, 16, []byte(strings.Repeat("\xa5", 84)))
		}, true, false},
		"no magic":      {merged, func(t *testing.T, l *life) { patch(t, l.path, 0, make([]byte, 16)) }, true, false},
		"no first page": {merged, func(t *testing.T, l *life) { garbage(t, l, 1) }, true, false},
		"no first page, and a WAL": {whole, func(t *testing.T, l *life) {
			garbage(t, l, 1)
			patch(t, l.path+"-wal", 32+24, noise(3, 500)) // its copy in the WAL, perhaps
		}, false, true},
		"a third of the file": {merged, func(t *testing.T, l *life) {
			if err := os.Truncate(l.path, FileSize(l.path)*2/3); err != nil {
				t.Fatal(err)
			}
		}, false, true},
		"half of a page cut off": {merged, func(t *testing.T, l *life) {
			if err := os.Truncate(l.path, FileSize(l.path)-newPageSize/2); err != nil {
				t.Fatal(err)
			}
		}, false, true},
		"the root of metrics, after a kill": {merged, func(t *testing.T, l *life) {
			unclean(t, l)
			garbage(t, l, root(t, l, "metrics"))
		}, true, false},
		"an empty file beside a WAL": {whole, func(t *testing.T, l *life) { overwrite(t, l.path, "") }, false, false},
		"no file beside a WAL":       {whole, func(t *testing.T, l *life) { _ = os.Remove(l.path) }, false, false},
		"a WAL torn in its middle": {whole, func(t *testing.T, l *life) {
			frame := int64(frameBytes)
			patch(t, l.path+"-wal", 32+WALSize(l.path)/2/frame*frame+100, noise(5, 300))
		}, false, true},
		"a WAL without a header": {whole, func(t *testing.T, l *life) { patch(t, l.path+"-wal", 0, noise(6, 32)) }, false, false},
		"no root of the chunks":  {merged, func(t *testing.T, l *life) { unclean(t, l); garbage(t, l, root(t, l, "upload_checkpoints")) }, true, false},
		"no ledger":              {merged, func(t *testing.T, l *life) { unclean(t, l); garbage(t, l, root(t, l, "ledger")) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := c.of.copyTo(t, newPath(t))
			c.damage(t, l)
			lost, ledger := l.check(t, l.options())
			if c.all && lost > 0 || c.some && lost > len(l.values)/2 {
				t.Errorf("%d of %d rows are lost", lost, len(l.values))
			}
			reports, err := DamagedFiles(l.path)
			if err != nil || len(reports) != 1 {
				t.Fatalf("reports %+v, %v, want one", reports, err)
			}
			t.Logf("%d of %d rows lost; %+v", lost, len(l.values), reports[0])
			files := l.damagedFiles(t)
			notice := DamageNotice(l.path)
			for _, want := range []string{reports[0].Aside, reports[0].Reason, fmt.Sprint(reports[0].Rows, " samples were salvaged"), "remove "} {
				if !strings.Contains(notice, want) {
					t.Errorf("the notice %q lacks %q", notice, want)
				}
			}
			if _, again := l.check(t, l.options()); again.Inserted != ledger.Inserted || !slices.Equal(files, l.damagedFiles(t)) {
				t.Errorf("a second start changed something: %+v to %+v, %q", ledger, again, l.damagedFiles(t))
			}
			if _, err := os.Lstat(l.path + planSuffix); err == nil {
				t.Error("the request is still there")
			}
		})
	}
}

// frameBytes is a frame of the WAL of a new file.
const frameBytes = 24 + newPageSize

func overwrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// TestSalvage_NeverOver: each damaged file keeps a name of its own.
func TestSalvage_NeverOver(t *testing.T) {
	t.Parallel()
	l := lived(t, 20)
	o := l.options()
	for n := 1; n <= salvagesPerHour; n++ {
		if err := RequestSalvage(l.path, ErrDamaged); err != nil {
			t.Fatal(err)
		}
		l.check(t, o)
		reports, err := DamagedFiles(l.path)
		if err != nil || len(reports) != n {
			t.Fatalf("%d reports, %v, want %d", len(reports), err, n)
		}
	}
	if notice := DamageNotice(l.path); !strings.Contains(notice, "number 10: unless the files were changed by hand, the disk or card is failing") {
		t.Errorf("the notice: %s", notice)
	}
	// That is enough for an hour.
	if err := RequestSalvage(l.path, ErrDamaged); err != nil {
		t.Fatal(err)
	}
	before := l.damagedFiles(t)
	if err := Migrate(t.Context(), o); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "replace the disk") {
		t.Errorf("got %v, want ErrDamaged and what to do", err)
	}
	if after := l.damagedFiles(t); !slices.Equal(after, before) {
		t.Errorf("from %q to %q", before, after)
	}
	o.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	l.check(t, o)
}

// TestSalvage_KnowsEveryTable: each row of each table is told from its shape alone, so that none is
// lost with a damaged file. makeOld has rows in all tables.
func TestSalvage_KnowsEveryTable(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	makeOld(t, path, migrations.Newest())
	db := rawDB(t, path)
	// A key of the first millisecond of 1970 could be that of a series.
	mustExec(t, db, fmt.Sprint("DELETE FROM metrics WHERE dedup_key <= ", MaxSeries))
	want := map[string]int64{}
	// The row of outbox follows from metrics, those of sqlite_sequence from sessions.
	for _, name := range queryLines(t, db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('outbox', 'sqlite_sequence')") {
		want[strings.Trim(name, `"`)] = queryInt(t, db, "SELECT count(*) FROM "+name)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	if _, err := salvage.Rows(t.Context(), path, func(r salvage.Row) error {
		got[tableOf(r, migrations.Newest())]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for table, n := range want {
		if n == 0 || got[table] != n {
			t.Errorf("%s has %d rows, salvage finds %d: add rows to makeOld and their shape to tableOf", table, n, got[table])
		}
	}
}
