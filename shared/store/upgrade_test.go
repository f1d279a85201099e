package store

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"belabox-metrics/migrations"
)

// TestMigrate_EveryOldVersion upgrades a file of each version. The newest is among them: nothing
// changes, and the rows are those from which the next migration starts.
func TestMigrate_EveryOldVersion(t *testing.T) {
	t.Parallel()
	for version := 1; version <= migrations.Newest(); version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			rows := makeOld(t, path, version)
			if err := Migrate(t.Context(), options(path)); err != nil {
				t.Fatal(err)
			}
			checkUpgraded(t, rawDB(t, path), version, rows)
		})
	}
}

// TestMigrate_Idempotent: a second upgrade finds nothing to do. Not a byte changes, the
// change counter in the header included.
func TestMigrate_Idempotent(t *testing.T) {
	t.Parallel()
	for version := 1; version <= migrations.Newest(); version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			makeOld(t, path, version)
			var before string
			for run := range 3 {
				if err := Migrate(t.Context(), options(path)); err != nil {
					t.Fatal(err)
				}
				content := readFile(t, path)
				if run > 0 && content != before {
					t.Errorf("run %d of Migrate changed the file", run+1)
				}
				before = content
			}
		})
	}
}

// TestMigrate_V5RegeneratesDedupKeys: on the step from 4 to 5 every row gets a key anew,
// over its canonical tags and its value type; the first of several copies gets it
// plain, so that the key stays unique.
func TestMigrate_V5RegeneratesDedupKeys(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	rows := makeOld(t, path, 4) // with keys "key-0", "key-1" …
	db := rawDB(t, path)
	migrateTo(t, db, 5)
	want, taken := make([]string, len(rows)), map[string]bool{}
	for i, r := range rows {
		sum := identity(asText(r.device), asText(r.name), r.canonical, text(r.ts), fmt.Sprint(r.typ))
		want[i] = hex.EncodeToString(sum[:])
		if taken[want[i]] {
			want[i] += fmt.Sprintf("#%d", i+1)
		}
		taken[want[i]] = true
	}
	got := queryLines(t, db, "SELECT dedup_key FROM metrics ORDER BY id")
	if len(got) != len(rows) {
		t.Fatalf("%d rows, want %d", len(got), len(rows))
	}
	for i := range rows {
		if got[i] != line(want[i]) {
			t.Errorf("row %d, %v: key %s, want %q", i+1, rows[i].name, got[i], want[i])
		}
	}
	if _, err := db.Exec("INSERT INTO metrics (device_id, name, timestamp_ms, value, dedup_key) VALUES ('d', 'n', 1, 1, ?)", want[0]); err == nil ||
		!strings.Contains(err.Error(), "UNIQUE constraint failed") {
		t.Errorf("a second row with a key that is taken: %v", err)
	}
}

// TestMigrate_UpgradedFileWorks opens an upgraded file with both handles.
func TestMigrate_UpgradedFileWorks(t *testing.T) {
	t.Parallel()
	for version := 1; version <= migrations.Newest(); version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			rows := makeOld(t, path, version)
			in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))

			// An identity made by the migration and one made by NewSeries are the same.
			all := []Sample{
				{Series: NewSeries("device-1", "tags.unsorted", Number, Tag{"a", "1"}, Tag{"zone", "z"}, Tag{"core", "0"})},
				{Series: NewSeries("device-1", "tags.number", Number, Tag{"core", "0"}, Tag{"on", "true"}, Tag{"f", "1.50"})},
				{Series: NewSeries("device-1", "tags.null", Number)},
				{Series: NewSeries("device-2", "many.metric_7", Number, Tag{"part", "2"})},
				{Series: NewSeries("device-2", "new", Number)},
			}
			got, err := in.Insert(t.Context(), fromMS(ms0), all)
			if want := (InsertResult{Inserted: 1, Duplicates: 4}); err != nil || got != want {
				t.Errorf("insert: %+v, %v, want %+v", got, err, want)
			}

			live, _ := wantRows(rows)
			pending := 1
			for _, l := range live {
				if strings.HasSuffix(l, "| 0 | <nil>") {
					pending++
				}
			}
			list, err := ob.Pending(t.Context(), 0, len(rows)+10, nil)
			if err != nil || len(list) != pending {
				t.Errorf("%d pending rows, %v, want %d", len(list), err, pending)
			}
			for _, r := range list {
				if _, err := ob.Series(t.Context(), r.Key.SeriesID()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMigrate_NewFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if err := Migrate(t.Context(), options(path)); err != nil {
		t.Fatal(err)
	}
	db := rawDB(t, path)
	checkIntegrity(t, db)
	if got, err := schemaVersion(t.Context(), db); err != nil || got != migrations.Newest() {
		t.Errorf("schema %d, %v, want %d", got, err, migrations.Newest())
	}
	if got := queryLines(t, db, "SELECT * FROM metric_rows"); len(got) != 0 {
		t.Errorf("a new file has rows: %s", got)
	}
	if got := queryInt(t, db, "SELECT low_water FROM outbox"); got != 0 {
		t.Errorf("low_water %d, want 0", got)
	}
}
