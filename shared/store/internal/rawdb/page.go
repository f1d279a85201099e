package rawdb

import (
	"encoding/binary"
	"math"
	"slices"
)

// The kinds of pages that form trees.
const (
	indexInner = 2
	tableInner = 5
	indexLeaf  = 10
	tableLeaf  = 13
)

// tree is a page of a tree.
type tree struct {
	kind  byte
	cells []int  // offsets within the page
	right uint32 // last child of an inner page
}

func (t tree) inner() bool { return t.kind == indexInner || t.kind == tableInner }

// parsePage reads the head of a tree page. start is where it begins: 100 on the
// first page, else 0. ok is false for a page that is none.
func parsePage(page []byte, start, usable int) (t tree, ok bool) {
	b := page[start:]
	t.kind = b[0]
	size := 8
	switch t.kind {
	case indexLeaf, tableLeaf:
	case indexInner, tableInner:
		size = 12
		t.right = binary.BigEndian.Uint32(b[8:])
	default:
		return t, false
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	first := start + size
	content := int(binary.BigEndian.Uint16(b[5:]))
	if content == 0 {
		content = maxPageSize
	}
	if first+2*n > usable || content > usable || content < first+2*n {
		return t, false
	}
	t.cells = make([]int, 0, n)
	for i := range n {
		at := int(binary.BigEndian.Uint16(page[first+2*i:]))
		if at < content || at+4 > usable {
			return t, false
		}
		t.cells = append(t.cells, at)
	}
	return t, true
}

// varint reads SQLite's integer of 1 to 9 bytes; n = 0 when b is too short.
func varint(b []byte) (v uint64, n int) {
	for i := range min(8, len(b)) {
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) < 9 {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}

// maxPayload bounds what a damaged length makes us allocate; our largest value
// is the key list of a chunk, some hundred kilobytes.
const maxPayload = 16 << 20

// cell is what a cell of a tree page holds.
type cell struct {
	child   uint32 // of an inner page
	rowID   int64  // of a table
	payload []byte // nil on inner pages of tables
}

// readCell reads the cell at offset at. claim is asked for each of its overflow
// pages: a page belongs to one cell.
func (f *File) readCell(page []byte, kind byte, at int, claim func(uint32) bool) (c cell, ok bool) {
	b := page[at:f.usable]
	if kind == indexInner || kind == tableInner {
		if len(b) < 5 {
			return c, false
		}
		c.child = binary.BigEndian.Uint32(b)
		b = b[4:]
	}
	var size uint64
	if kind != tableInner {
		var n int
		if size, n = varint(b); n == 0 || size > maxPayload {
			return c, false
		}
		b = b[n:]
	}
	if kind == tableLeaf || kind == tableInner {
		id, n := varint(b)
		if n == 0 {
			return c, false
		}
		c.rowID = int64(id)
		b = b[n:]
	}
	if kind == tableInner {
		return c, true
	}
	c.payload, ok = f.payload(b, int(size), kind, claim)
	return c, ok
}

// payload puts a record together from its page and its overflow pages.
func (f *File) payload(b []byte, size int, kind byte, claim func(uint32) bool) ([]byte, bool) {
	most := f.usable - 35
	if kind != tableLeaf {
		most = (f.usable-12)*64/255 - 23
	}
	if size <= most {
		if size > len(b) {
			return nil, false
		}
		return b[:size:size], true
	}
	least := (f.usable-12)*32/255 - 23
	local := least + (size-least)%(f.usable-4)
	if local > most {
		local = least
	}
	if local+4 > len(b) {
		return nil, false
	}
	whole := slices.Clone(b[:local]) // it grows: size may be nonsense
	next := binary.BigEndian.Uint32(b[local:])
	buf := make([]byte, f.pageSize)
	for len(whole) < size {
		page, ok := f.page(next, buf)
		if !ok || !claim(next) {
			return nil, false
		}
		next = binary.BigEndian.Uint32(page)
		whole = append(whole, page[4:min(f.usable, 4+size-len(whole))]...)
	}
	return whole, true
}

// record decodes a row: each value is nil, int64, float64, string or []byte.
// Strings and blobs share the memory of the payload.
func record(payload []byte) (values []any, ok bool) {
	size, n := varint(payload)
	if n == 0 || size > uint64(len(payload)) || size < uint64(n) {
		return nil, false
	}
	head, body := payload[n:size], payload[size:]
	for len(head) > 0 {
		kind, n := varint(head)
		if n == 0 {
			return nil, false
		}
		head = head[n:]
		v, used, ok := value(kind, body)
		if !ok {
			return nil, false
		}
		values = append(values, v)
		body = body[used:]
	}
	return values, len(body) == 0
}

func value(kind uint64, b []byte) (v any, used int, ok bool) {
	switch kind {
	case 0:
		return nil, 0, true
	case 8, 9:
		return int64(kind - 8), 0, true
	case 10, 11:
		return nil, 0, false // reserved
	case 7:
		if len(b) < 8 {
			return nil, 0, false
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), 8, true
	}
	if kind >= 12 {
		n := (kind - 12) / 2
		if n > uint64(len(b)) {
			return nil, 0, false
		}
		if kind%2 == 0 {
			return b[:n:n], int(n), true
		}
		return string(b[:n]), int(n), true
	}
	n := [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}[kind]
	if n > len(b) {
		return nil, 0, false
	}
	i := int64(int8(b[0]))
	for _, c := range b[1:n] {
		i = i<<8 | int64(c)
	}
	return i, n, true
}
