// Package salvage reads the rows of a damaged database. SQLite gives up at the first page of a
// table that does not fit, so each page is given to it separately, as the only page of a small
// intact database. Neither the header, nor the schema, nor the inner pages of a tree are needed: a
// row is lost only with its own page.
//
// The package never writes to the damaged files, and always terminates. It does not promise that
// rows of different pages belong to the same commit.
package salvage

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Row is a row that could be read.
type Row struct {
	RowID  int64 // 0 where HasID is false
	HasID  bool  // of a table with row ids; else of a table WITHOUT ROWID, or an entry of an index
	Free   bool  // on a free page: it was deleted or moved, and may be an old version
	Values []any // nil, int64, float64, string or []byte, without the NULLs at the end; the alias of the row id is nil
}

// The widest rows that are read, in columns.
const (
	tableColumns = 24
	indexColumns = 8
)

// The kinds of pages in trees. Inner pages of tables hold no rows.
const (
	indexInner = 2
	tableInner = 5
	indexLeaf  = 10
	tableLeaf  = 13
)

// Inspect says what is wrong with the files of the database at path, as far as it shows
// without reading the rows; "" = nothing. SQLite itself takes a WAL with a bad frame for
// one that ends there, and a page that is cut off for one that ends in zeros. tornWAL
// says that a WAL with bad frames is to be expected, after a power cut.
//
// This and the other functions here drop the locks that SQLite has on the files in this
// process: nobody in it may have them open.
func Inspect(path string, tornWAL bool) (damage string, err error) {
	f, err := openFile(path)
	if err != nil {
		return "", err
	}
	defer f.close() //nolint:errcheck // it was only read
	head, ok := readHeader(f.main)
	switch {
	case f.wal.bytes == 0 && ok && head.pages > f.pages:
		return "the file is cut off: it is shorter than its header says", nil
	case ok && head.format > newestFormat:
		// SQLite would open it for reading only, which looks like a missing permission.
		return fmt.Sprintf("its header has the file format %d, which no version of SQLite writes", head.format), nil
	case f.wal.broken() && !tornWAL:
		return fmt.Sprintf("the WAL is damaged behind frame %d: %d genuine ones follow", f.wal.good, f.wal.behind), nil
	}
	return "", nil
}

// Identity returns the application_id and user_version of the database at path. ok is
// false when its first page is lost.
func Identity(path string) (application, userVersion int, ok bool, err error) {
	f, err := openFile(path)
	if err != nil {
		return 0, 0, false, err
	}
	page := make([]byte, f.pageSize)
	f.readPage(1, page)
	head, ok := parseHeader(page)
	return head.application, head.userVersion, ok, f.close()
}

// Unread is what could not be read.
type Unread struct {
	Pages    int   // of no kind that SQLite knows, or not to their end
	Missing  int64 // pages behind the end of the file
	PageSize int   // bytes
	WAL      bool  // committed transactions are missing, or may be
}

// Rows calls each for every row that can be read in the database at path; the values stay
// valid. Rows of tables WITHOUT ROWID may come more than once. An error of each ends it.
func Rows(ctx context.Context, path string, each func(Row) error) (unread Unread, err error) {
	f, err := openFile(path)
	if err != nil {
		return unread, err
	}
	defer f.close() //nolint:errcheck // it was only read
	unread = Unread{PageSize: f.pageSize, WAL: f.wal.broken()}
	if head, ok := readHeader(f.main); ok {
		unread.Missing = max(0, head.pages-f.pages)
	}
	if f.pages < 2 { // page 1 is of the schema
		return unread, nil
	}
	r := &reader{f: f, free: f.freelist(), each: each}
	err = f.show(ctx, func(db *sql.DB) error {
		if err := limitRows(ctx, db); err != nil {
			return err
		}
		if err := r.prepare(ctx, db); err != nil {
			return err
		}
		unread.Pages, err = r.pages(ctx)
		return err
	})
	return unread, err
}

// MaxRow bounds a row that is read or written, in bytes: the largest that the daemons write is a
// chunk's record.
const MaxRow = 16 << 20

// limitRows sets the bound; db has one connection.
func limitRows(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	_, err = sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_LENGTH, MaxRow)
	return errors.Join(err, conn.Close())
}

type reader struct {
	f     *file
	free  []uint32
	table [2]*sql.Stmt // reads the page upwards, downwards
	index [2]*sql.Stmt
	each  func(Row) error
}

func (r *reader) prepare(ctx context.Context, db *sql.DB) (err error) {
	for i, order := range []string{"", " DESC"} {
		if r.table[i], err = db.PrepareContext(ctx, "SELECT rowid, * FROM t ORDER BY rowid"+order); err != nil {
			return err
		}
		if r.index[i], err = db.PrepareContext(ctx, "SELECT 0, * FROM i ORDER BY c0"+order+", c1"+order+", c2"+order); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) pages(ctx context.Context) (bad int, err error) {
	page := make([]byte, r.f.pageSize)
	for n := int64(2); n <= r.f.pages; n++ {
		r.f.readPage(n, page)
		_, isFree := slices.BinarySearch(r.free, uint32(n))
		complete, err := r.page(ctx, n, page[0], isFree)
		if complete && n > 1 && !slices.ContainsFunc(page, func(b byte) bool { return b != 0 }) {
			complete = false // SQLite writes no such page
		}
		if err != nil {
			return bad, err
		}
		if !complete && !isFree {
			bad++
		}
	}
	return bad, nil
}

// page reads a page; complete is false where there may be more on it.
func (r *reader) page(ctx context.Context, n int64, kind byte, free bool) (complete bool, err error) {
	statements, hasID := r.index, false
	switch kind {
	case tableLeaf:
		statements, hasID = r.table, true
	case indexLeaf, indexInner:
	default: // of no tree: the first byte of a page that continues a row is 0, unless it is huge
		return kind == 0 || kind == tableInner, nil
	}
	r.f.current = n
	for _, stmt := range statements { // downwards, what stands behind a bad cell is found as well
		r.f.changes++
		if complete, err = r.read(ctx, stmt, Row{HasID: hasID, Free: free}); complete || err != nil {
			return complete, err
		}
	}
	return false, ctx.Err()
}

func (r *reader) read(ctx context.Context, stmt *sql.Stmt, row Row) (complete bool, err error) {
	rows, err := stmt.QueryContext(ctx)
	if err != nil {
		return false, nil
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	columns, err := rows.Columns()
	if err != nil {
		return false, err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range into {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return false, nil
		}
		width := len(values)
		for width > 1 && values[width-1] == nil {
			width--
		}
		row.RowID, _ = values[0].(int64)
		row.Values = slices.Clone(values[1:width])
		if err := r.each(row); err != nil {
			return false, err
		}
	}
	return rows.Err() == nil, nil
}

// show has SQLite open the database in which f.current is the only page of each table.
func (f *file) show(ctx context.Context, use func(*sql.DB) error) (err error) {
	if f.first, err = f.firstPage(ctx); err != nil {
		return err
	}
	defer func() { f.first = nil }()
	db, closeView, err := f.open(nil)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(use(db), db.Close(), closeView())
}

// firstPage returns the first page of a database with a table t and a table without
// row ids i, as SQLite makes it, both beginning at the page behind the last one.
func (f *file) firstPage(ctx context.Context) (page []byte, err error) {
	db, err := sql.Open("sqlite", fmt.Sprintf("file::memory:?_pragma=page_size(%d)&_pragma=writable_schema(1)", f.pageSize))
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // it is in memory
	db.SetMaxOpenConns(1)
	columns := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("c", i))
		}
		return strings.Join(names, ",")
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE t(%s); CREATE TABLE i(%s,PRIMARY KEY(c0,c1,c2))WITHOUT ROWID;
		UPDATE sqlite_schema SET rootpage = %d`, columns(tableColumns), columns(indexColumns), f.pages+1))
	if err != nil {
		return nil, err
	}
	err = db.QueryRowContext(ctx, "SELECT data FROM sqlite_dbpage WHERE pgno = 1").Scan(&page)
	if err == nil {
		clear(page[28:32]) // how many pages there are: as many as the file has
	}
	return page, err
}

// freelist returns the pages that are free, sorted. A broken list ends early.
func (f *file) freelist() (free []uint32) {
	page := make([]byte, f.pageSize)
	f.readPage(1, page)
	head, ok := parseHeader(page)
	if !ok {
		return nil
	}
	trunks := map[uint32]bool{}
	for trunk := head.freelist; trunk != 0 && int64(trunk) <= f.pages && !trunks[trunk]; {
		f.readPage(int64(trunk), page)
		trunks[trunk] = true
		free = append(free, trunk)
		for i := range min(binary.BigEndian.Uint32(page[4:]), uint32(f.pageSize/4-2)) {
			free = append(free, binary.BigEndian.Uint32(page[8+4*i:]))
		}
		trunk = binary.BigEndian.Uint32(page)
	}
	slices.Sort(free)
	return slices.Compact(free)
}
