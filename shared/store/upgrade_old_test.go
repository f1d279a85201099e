package store

import (
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/migrations"
)

// oldRow is a row of table metrics as an older version could hold it, and what
// must become of it.
type oldRow struct {
	device, name, tags, ts, value any // as inserted
	text                          any // since version 4, like typ
	typ                           int
	uploaded                      bool // since version 2

	canonical string // its tags in the newest version
	wantValue any
	wantText  any
	duplicate bool // the server knows, or the file keeps, another copy
	outside   bool // no key can hold its timestamp
}

const ms0 = int64(1_650_000_000_000)

// oldRows are the odd rows and then, so that the file has some pages, the
// ordinary ones of many series.
func oldRows() []oldRow {
	rows := []oldRow{
		// Tags in any order and form.
		{name: "tags.unsorted", tags: `{"zone":"z","core":"0","a":"1"}`, canonical: `{"a":"1","core":"0","zone":"z"}`},
		{name: "tags.spaces", tags: `{ "b" : "2", "a" : "1" }`, canonical: `{"a":"1","b":"2"}`},
		{name: "tags.null", tags: nil, canonical: `{}`},
		{name: "tags.empty", tags: ``, canonical: `{}`},
		{name: "tags.blank", tags: `  `, canonical: `{}`},
		{name: "tags.json-null", tags: `null`, canonical: `{}`},
		{name: "tags.malformed", tags: `{"a":`, canonical: `{"invalid_tags":"{\"a\":"}`},
		{name: "tags.text", tags: `core=0`, canonical: `{"invalid_tags":"core=0"}`},
		{name: "tags.array", tags: `["a"]`, canonical: `{"invalid_tags":"[\"a\"]"}`},
		{name: "tags.number", tags: `{"core":0,"on":true,"f":1.50}`, canonical: `{"core":"0","f":"1.50","on":"true"}`},
		{name: "tags.doubled", tags: `{"a":"1","a":"2"}`, canonical: `{"a":"2"}`},
		{name: "tags.unicode", tags: `{"zône":"☀<&>"}`, canonical: `{"zône":"☀<&>"}`},
		{name: "tags.blob", tags: []byte(`{"b":"1","a":"2"}`), canonical: `{"a":"2","b":"1"}`},

		// Values.
		{name: "value.text", value: "n/a", wantText: "n/a"},
		{name: "value.numeric-text", value: "12.5", wantValue: 12.5},
		{name: "value.blob", value: []byte("raw"), wantText: "raw"},
		{name: "value.integer", value: 7, wantValue: 7.0},
		{name: "value.large", value: int64(1) << 53, wantValue: float64(1 << 53)},
		{name: "value.none", value: nil, wantValue: nil},
		{name: "value.infinite", value: math.Inf(1), wantValue: math.Inf(1)},
		{name: "value.tiny", value: 5e-324, wantValue: 5e-324},

		// Names and devices that are no text.
		{name: []byte("name.blob"), value: 1.0, wantValue: 1.0},
		{device: []byte("device-blob"), name: "device.blob", value: 1.0, wantValue: 1.0},
		{device: "", name: "", value: 1.0, wantValue: 1.0},

		// One sample twice: equal, different, and one of them known to the server.
		{name: "twice.equal", tags: `{"a":"1","b":"2"}`, canonical: `{"a":"1","b":"2"}`, value: 1.0, wantValue: 1.0},
		{name: "twice.equal", tags: `{"b":"2","a":"1"}`, canonical: `{"a":"1","b":"2"}`, value: 1.0, wantValue: 1.0, duplicate: true},
		{name: "twice.different", value: 1.0, wantValue: 1.0},
		{name: "twice.different", value: 2.0, wantValue: 2.0, duplicate: true},
		{name: "twice.different", value: "three", wantText: "three", duplicate: true},
		{name: "twice.uploaded", value: 1.0, wantValue: 1.0, duplicate: true},
		{name: "twice.uploaded", value: 2.0, wantValue: 2.0, uploaded: true},
		{name: "twice.uploaded", value: 3.0, wantValue: 3.0, uploaded: true, duplicate: true},
		{name: "twice.at-other-times", ts: ms0, value: 1.0, wantValue: 1.0},
		{name: "twice.at-other-times", ts: ms0 + 1, value: 1.0, wantValue: 1.0},
		// What version 2 took for one sample: its key ran the parts together.
		{device: "a|b", name: "c", value: 1.0, wantValue: 1.0},
		{device: "a", name: "b|c", value: 2.0, wantValue: 2.0},

		// Timestamps at the ends of the range and beyond.
		{name: "time.first", ts: int64(0), value: 1.0, wantValue: 1.0, uploaded: true},
		{name: "time.last", ts: int64(MaxTimestampMS), value: 1.0, wantValue: 1.0},
		{name: "time.negative", ts: int64(-1), value: 1.0, wantValue: 1.0, outside: true},
		{name: "time.late", ts: int64(MaxTimestampMS + 1), value: 1.0, wantValue: 1.0, outside: true},
		{name: "time.late", ts: int64(MaxTimestampMS + 1), value: 1.0, wantValue: 1.0, outside: true, uploaded: true},
		{name: "time.least", ts: int64(math.MinInt64), value: 1.0, wantValue: 1.0, outside: true},
		{name: "time.greatest", ts: int64(math.MaxInt64), value: 1.0, wantValue: 1.0, outside: true},
		{name: "time.fraction", ts: ms0, value: 1.0, wantValue: 1.0},
		{name: "time.fraction", ts: float64(ms0) + 0.5, value: 2.0, wantValue: 2.0, outside: true},
		{name: "time.text", ts: "yesterday", value: 1.0, wantValue: 1.0, outside: true},
		{name: "time.blob", ts: []byte("x"), value: "n/a", wantText: "n/a", outside: true},

		// Text series, of their own identity beside the number series.
		{name: "text.release", typ: 1, text: "6.1.0", wantText: "6.1.0"},
		{name: "text.release", typ: 1, text: "6.1.0", wantText: "6.1.0", duplicate: true},
		{name: "text.empty", typ: 1, text: "", wantText: "", uploaded: true},
		{name: "text.none", typ: 1, wantText: nil},
		{name: "text.blob", typ: 1, text: []byte("b"), wantText: "b"},
		{name: "text.and-number", typ: 1, text: "x", wantText: "x"},
		{name: "text.and-number", value: 1.0, wantValue: 1.0},
		{name: "text.with-value", typ: 1, text: "x", wantText: "x", value: 3.0, wantValue: 3.0},
	}
	for i := range rows {
		r := &rows[i]
		if r.device == nil {
			r.device = "device-1"
		}
		if r.ts == nil {
			r.ts = ms0
		}
		if r.canonical == "" {
			r.tags, r.canonical = `{}`, `{}`
		}
	}
	for tick := range int64(4) {
		for i := range 150 {
			value := float64(tick) + float64(i)/8
			rows = append(rows, oldRow{
				device: "device-2", name: fmt.Sprintf("many.metric_%d", i/3), ts: ms0 + 1000*tick, value: value, wantValue: value,
				tags: fmt.Sprintf(`{"part":"%d"}`, i%3), canonical: fmt.Sprintf(`{"part":"%d"}`, i%3), uploaded: tick < 2,
			})
		}
	}
	return rows
}

// rowsOf returns the rows that a file of an old version can hold, in the order
// of their ids, as that version sees them.
func rowsOf(version int) (rows []oldRow) {
	for _, r := range oldRows() {
		if version < 4 && r.typ == 1 {
			continue
		}
		if version < 2 {
			// No row is known to the server, so the first copy is the one to keep.
			r.uploaded = false
			if r.name == "twice.uploaded" {
				r.duplicate = r.value != 1.0
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// makeOld makes a file of an old version by the project's own scripts, with rows
// in that version's shape in every table.
func makeOld(t *testing.T, path string, version int) []oldRow {
	t.Helper()
	db := rawDB(t, path)
	migrateTo(t, db, version)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	insert := func(statement string, args ...any) {
		t.Helper()
		if _, err := tx.Exec(statement, args...); err != nil {
			t.Fatalf("%s %v: %v", statement, args, err)
		}
	}
	rows := rowsOf(version)
	for i, r := range rows {
		if version >= 6 {
			insertCompact(insert, r)
			continue
		}
		columns, args := "device_id, name, tags, timestamp_ms, value", []any{r.device, r.name, r.tags, r.ts, r.value}
		if version >= 2 {
			// Any key that is unique: it does not outlive version 5.
			columns, args = columns+", uploaded, dedup_key", append(args, r.uploaded, fmt.Sprint("key-", i))
		}
		if version >= 4 {
			columns, args = columns+", value_type, value_text", append(args, r.typ, r.text)
		}
		insert("INSERT INTO metrics ("+columns+") VALUES (?"+strings.Repeat(",?", len(args)-1)+")", args...)
	}
	if version >= 6 {
		insert("UPDATE ledger SET samples = ? WHERE account = 'inserted'", len(rows))
		insert("UPDATE outbox SET low_water = (SELECT min(dedup_key) FROM metrics WHERE uploaded = 0)")
	} else if version >= 2 {
		insert("INSERT INTO upload_checkpoints (batch_id, chunk_index, status, metric_count, http_status, created_ms) VALUES ('b', 0, 'done', 50, 204, 1)")
	}
	if version >= 7 {
		insert("INSERT INTO epochs VALUES (?, 'b', -60000, 5, 1, 0, 'kernel')", int64(PackKey(ms0+10_000, 0)))
	}
	if version >= 8 {
		insert("INSERT INTO traffic VALUES (20000, 5, 6)")
	}
	if version >= 3 {
		insert("INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('shipperd', 'uploader.metrics_uploaded_total', '{}', 'counter', 12345, 1)")
	}
	if version >= 4 {
		insert("INSERT INTO sessions (uuid, daemon, version, boot_id, started_ms, ended_ms, clean) VALUES ('u-1', 'collectord', '0.4', 'b', 1, 2, 1)")
		insert("INSERT INTO sessions (uuid, daemon, version, boot_id, started_ms) VALUES ('u-2', 'collectord', '0.4', 'b', 3)")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if version >= 6 {
		keys := uploadedKeys(t, db)
		mustExec(t, db, `INSERT INTO upload_checkpoints
			(batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash, created_ms, accepted_ms)
			VALUES ('b', 0, 'accepted', ?, ?, ?, ?, 50, zeroblob(32), 1, 2)`,
			int64(keys[0]), int64(keys[len(keys)-1]), keys.Pack(), len(keys))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// insertCompact inserts a row in the layout of version 6: what no key can hold, and each further
// copy of a sample, is a dead letter there.
func insertCompact(insert func(statement string, args ...any), r oldRow) {
	device, name := asText(r.device), asText(r.name)
	if reason := r.deadReason(); reason != "" {
		insert(`INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_text, value_type, reason, created_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)`, device, asInteger(r.ts), name, r.canonical, r.wantValue, r.wantText, r.typ, reason)
		return
	}
	insert(`INSERT OR IGNORE INTO series (dedup_key, device_id, name, tags, value_type)
		VALUES (bx_series_key(?1, ?2, ?3, ?4), ?1, ?2, ?3, ?4)`, device, name, r.canonical, r.typ)
	insert(`INSERT INTO metrics (dedup_key, value, value_text, uploaded)
		SELECT ?5 << 22 | id, ?6, ?7, ?8 FROM series WHERE dedup_key = bx_series_key(?1, ?2, ?3, ?4)`,
		device, name, r.canonical, r.typ, r.ts, r.wantValue, r.wantText, r.uploaded)
}

// uploadedKeys returns the keys of the rows that the server accepted, in a file of version 6 or
// later: the one chunk of an old file has all of them.
func uploadedKeys(t *testing.T, db *sql.DB) (keys KeySet) {
	t.Helper()
	rows, err := db.Query("SELECT dedup_key FROM metrics WHERE uploaded = 1 ORDER BY dedup_key")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k int64
		if err := rows.Scan(&k); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, Key(k))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// deadReason is why the row becomes a dead letter in version 6, or empty.
func (r oldRow) deadReason() string {
	switch {
	case r.outside:
		return "timestamp_range"
	case r.duplicate:
		return "duplicate"
	}
	return ""
}

// wantRows renders what the newest version must hold of the old rows.
func wantRows(rows []oldRow) (live, dead []string) {
	for _, r := range rows {
		device, name := asText(r.device), asText(r.name)
		if reason := r.deadReason(); reason != "" {
			dead = append(dead, line(device, name, r.canonical, asInteger(r.ts), r.wantValue, r.wantText, int64(r.typ), reason))
			continue
		}
		uploaded := int64(0)
		if r.uploaded {
			uploaded = 1
		}
		live = append(live, line(device, name, r.canonical, r.ts, r.wantValue, r.wantText, int64(r.typ), uploaded, nil))
	}
	return live, dead
}

func asText(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v.(string)
}

// asInteger is what CAST makes of a timestamp.
func asInteger(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case float64:
		return int64(v)
	}
	return 0
}

// checkUpgraded compares a file of the newest version with the old rows it was
// made from.
func checkUpgraded(t *testing.T, db *sql.DB, version int, rows []oldRow) {
	t.Helper()
	if got := queryInt(t, db, "PRAGMA user_version"); got != int64(migrations.Newest()) {
		t.Fatalf("the file is at schema %d, want %d", got, migrations.Newest())
	}
	checkIntegrity(t, db)
	live, dead := wantRows(rows)
	compare := func(what, query string, want []string) {
		t.Helper()
		got := queryLines(t, db, query)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d:\n%s", what, len(got), len(want), diff(strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	}
	compare("rows", "SELECT device_id, name, tags, timestamp_ms, value, value_text, value_type, uploaded, session_id FROM metric_rows", live)
	compare("dead letters", "SELECT device_id, name, tags, timestamp_ms, value, value_text, value_type, reason FROM dead_letters", dead)
	if got := queryInt(t, db, "SELECT samples FROM ledger WHERE account = 'inserted'"); got != int64(len(rows)) {
		t.Errorf("the ledger says %d inserted, want %d", got, len(rows))
	}
	if got := queryInt(t, db, "SELECT (SELECT low_water FROM outbox) - (SELECT min(dedup_key) FROM metrics WHERE uploaded = 0)"); got != 0 {
		t.Errorf("low_water is %d beside the first pending row", got)
	}
	epochs := []string{line(int64(0), "", int64(0), int64(0), nil, int64(0), "unconfirmed")}
	if version >= 7 {
		epochs = append(epochs, line(int64(PackKey(ms0+10_000, 0)), "b", int64(-60000), int64(5), int64(1), int64(0), "kernel"))
	}
	compare("epochs", "SELECT * FROM epochs", epochs)
	var traffic []string
	if version >= 8 {
		traffic = []string{line(int64(20000), int64(5), int64(6))}
	}
	compare("traffic", "SELECT * FROM traffic", traffic)
	compare("wall clock", "SELECT DISTINCT raw_timestamp_ms - timestamp_ms FROM metric_rows", map[bool][]string{
		false: {line(int64(0))}, true: {line(int64(0)), line(int64(-60000))},
	}[version >= 7])
	var stats, sessions []string
	if version >= 3 {
		stats = []string{line("shipperd", "uploader.metrics_uploaded_total", "{}", "counter", 12345.0, int64(1))}
	}
	if version >= 4 {
		sessions = []string{
			line(int64(1), "u-1", "collectord", "0.4", "b", int64(1), int64(2), int64(1)),
			line(int64(2), "u-2", "collectord", "0.4", "b", int64(3), nil, int64(0)),
		}
	}
	compare("daemon_stats", "SELECT * FROM daemon_stats", stats)
	compare("sessions", "SELECT * FROM sessions", sessions)
	var chunks []string
	if version >= 6 {
		keys := uploadedKeys(t, db)
		chunks = []string{line("b", int64(0), "accepted", int64(len(keys)), fmt.Sprintf("%X", keys.Pack()), int64(2))}
	}
	compare("chunks", "SELECT batch_id, chunk_index, state, sample_count, hex(row_keys), accepted_ms FROM upload_checkpoints", chunks)
}
