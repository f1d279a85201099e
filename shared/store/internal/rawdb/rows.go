package rawdb

import (
	"encoding/binary"
	"slices"
)

// Origin says how a row was found.
type Origin int

const (
	// Reached: by the tree of its table.
	Reached Origin = iota
	// Orphan: on a page to which no tree leads and which no free list names.
	Orphan
	// Stale: on a page of the free list. The row was deleted, or moved; it may be
	// an old version.
	Stale
)

// Row is one row, or one entry of an index where the file has lost its schema.
type Row struct {
	Origin Origin
	Table  string // by its tree; "" for the other origins
	RowID  int64  // 0 where HasID is false
	HasID  bool   // of a table with row ids
	Values []any  // nil, int64, float64, string or []byte; the alias of the row id is nil
}

// Damage says what could not be read.
type Damage struct {
	Pages  int            // pages that trees lead to and that are none, or are cut off
	Cells  int            // rows on readable pages
	Tables map[string]int // both, by table; "" = the schema itself
}

// reading is one pass over the file.
type reading struct {
	f        *File
	seen     []bool // by page number: trees led to it
	overflow []bool // it continues a row
	damage   Damage
	each     func(Row) error
}

// Rows calls each for every row of tables: first those that trees lead to, table
// by table in the order of the schema, then the others. An error of each ends it.
// The strings and blobs of a row stay valid.
func (f *File) Rows(each func(Row) error) (Damage, error) {
	r := &reading{
		f: f, seen: make([]bool, int(f.pages)+1), overflow: make([]bool, int(f.pages)+1),
		damage: Damage{Tables: map[string]int{}}, each: each,
	}
	for _, root := range r.schema() {
		if err := r.walk(root.page, root, 0); err != nil {
			return r.damage, err
		}
	}
	mine := slices.Clone(r.overflow) // of rows that trees led to
	free := r.freelist()
	for n := uint32(1); n <= f.pages; n++ {
		if r.seen[n] || mine[n] {
			continue
		}
		origin := Orphan
		if _, isFree := slices.BinarySearch(free, n); isFree {
			origin = Stale
		}
		if err := r.loose(n, origin); err != nil {
			return r.damage, err
		}
	}
	return r.damage, nil
}

// root is a tree of the schema.
type root struct {
	table string
	page  uint32
	index bool // of a table that has its rows elsewhere: walked, not told
}

// schema reads the roots of the trees.
func (r *reading) schema() (roots []root) {
	if !r.f.header.ok {
		r.bad("")
		return nil
	}
	outer := r.each
	defer func() { r.each = outer }()
	r.each = func(row Row) error {
		// type, name, tbl_name, rootpage, sql
		if len(row.Values) != 5 {
			r.bad("")
			return nil
		}
		kind, _ := row.Values[0].(string)
		name, _ := row.Values[1].(string)
		page, _ := row.Values[3].(int64)
		if page > 0 && page <= int64(r.f.pages) && (kind == "table" || kind == "index") {
			roots = append(roots, root{name, uint32(page), kind == "index"})
		}
		return nil
	}
	_ = r.walk(1, root{page: 1}, 0) // each has no errors
	return roots
}

func (r *reading) bad(table string) {
	r.damage.Pages++
	r.damage.Tables[table]++
}

// maxDepth is more than any tree of 2^32 pages has.
const maxDepth = 40

// walk reads the tree below a page. A page that is read already is damage too:
// two parents, or a circle.
func (r *reading) walk(n uint32, of root, depth int) error {
	page, ok := r.f.page(n, make([]byte, r.f.pageSize))
	if !ok || r.seen[n] || depth > maxDepth {
		r.bad(of.table)
		return nil
	}
	r.seen[n] = true
	start := 0
	if n == 1 {
		start = headerSize
	}
	t, ok := parsePage(page, start, r.f.usable)
	if !ok {
		r.seen[n] = false // not ours to judge: perhaps it shows as an orphan
		r.bad(of.table)
		return nil
	}
	for _, at := range t.cells {
		c, ok := r.f.readCell(page, t.kind, at, r.claim)
		if t.inner() && c.child > 0 {
			if err := r.walk(c.child, of, depth+1); err != nil {
				return err
			}
		}
		if t.kind == tableInner && ok {
			continue
		}
		if err := r.tell(c, ok, t.kind, Row{Origin: Reached, Table: of.table}, of.index); err != nil {
			return err
		}
	}
	if t.inner() {
		return r.walk(t.right, of, depth+1)
	}
	return nil
}

// claim takes a page as the continuation of a row. What continues a row of a loose
// page may be a tree page all the same: then it is read as both.
func (r *reading) claim(n uint32) bool {
	if r.overflow[n] {
		return false
	}
	r.overflow[n] = true
	return true
}

// tell hands a cell on as a row.
func (r *reading) tell(c cell, ok bool, kind byte, row Row, index bool) error {
	var values []any
	if ok {
		values, ok = record(c.payload)
	}
	if !ok {
		if row.Origin == Reached {
			r.damage.Cells++
			r.damage.Tables[row.Table]++
		}
		return nil
	}
	if index {
		return nil
	}
	row.HasID, row.RowID, row.Values = kind == tableLeaf, c.rowID, values
	return r.each(row)
}

// loose tells the rows of a page that no tree led to. Most such pages are of
// other kinds, so what does not fit is no damage.
func (r *reading) loose(n uint32, origin Origin) error {
	page, ok := r.f.page(n, make([]byte, r.f.pageSize))
	if !ok {
		return nil
	}
	t, ok := parsePage(page, 0, r.f.usable)
	if !ok || t.kind == tableInner {
		return nil
	}
	for _, at := range t.cells {
		c, ok := r.f.readCell(page, t.kind, at, r.claim)
		if err := r.tell(c, ok, t.kind, Row{Origin: origin}, false); err != nil {
			return err
		}
	}
	return nil
}

// freelist returns the pages that are free, sorted. A broken list ends early:
// what it does not name is an orphan.
func (r *reading) freelist() (free []uint32) {
	buf := make([]byte, r.f.pageSize)
	trunks := map[uint32]bool{}
	for trunk := r.f.header.freelist; trunk != 0 && !trunks[trunk]; {
		page, ok := r.f.page(trunk, buf)
		if !ok {
			break
		}
		trunks[trunk] = true
		free = append(free, trunk)
		n := int(binary.BigEndian.Uint32(page[4:]))
		if n < 0 || n > r.f.usable/4-2 {
			break
		}
		for i := range n {
			free = append(free, binary.BigEndian.Uint32(page[8+4*i:]))
		}
		trunk = binary.BigEndian.Uint32(page)
	}
	slices.Sort(free)
	return slices.Compact(free)
}
