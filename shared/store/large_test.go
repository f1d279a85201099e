package store

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"belabox-metrics/shared/store/internal/salvage"
)

// TestLarge_File: offsets and sizes beyond 2 and 4 GiB, which do not fit in 32 bits, with the
// settings of the handles. The file is a hole up to there: SQLite takes new pages behind the number
// of pages in its header. A handle would salvage it, because nothing refers to the pages of the
// hole.
// https://sqlite.org/fileformat.html#in_header_database_size
func TestLarge_File(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{2 << 30, 4 << 30} {
		path := newPath(t)
		db := rawDB(t, path)
		mustExec(t, db, "CREATE TABLE large(id INTEGER PRIMARY KEY, content)")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 100)
		if _, err := file.ReadAt(head, 0); err != nil {
			t.Fatal(err)
		}
		begin := limit - 64<<10
		pages := begin / int64(binary.BigEndian.Uint16(head[16:]))
		if _, err := file.WriteAt(binary.BigEndian.AppendUint32(nil, uint32(pages)), 28); err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(begin); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}

		db = rawDB(t, path)
		mustExec(t, db, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) INSERT INTO large SELECT i, printf('%01000d', i) FROM n")
		mustExec(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if size := FileSize(path); size < limit+128<<10 || size > limit+1<<20 {
			t.Fatalf("the file has %d bytes, want a little more than %d", size, limit)
		}
		db = rawDB(t, path)
		if n := queryInt(t, db, "SELECT count(*) FROM large WHERE content = printf('%01000d', id)"); n != 300 {
			t.Errorf("beyond %d bytes: %d rows as they were written, want 300", limit, n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		view, closeView, err := salvage.View(path, nil) // SQLite reads it through our own code
		if err != nil {
			t.Fatal(err)
		}
		if n := queryInt(t, view, "SELECT count(*) FROM large WHERE content = printf('%01000d', id)"); n != 300 {
			t.Errorf("beyond %d bytes: %d rows in a view, want 300", limit, n)
		}
		if err := errors.Join(view.Close(), closeView()); err != nil {
			t.Fatal(err)
		}
	}
}
