package salvage

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"time"

	"belabox-metrics/shared/datafile"

	"modernc.org/sqlite/vfs"
)

// https://sqlite.org/fileformat2.html
const (
	magic       = "SQLite format 3\x00"
	headerSize  = 100
	minPageSize = 512
	maxPageSize = 65536
)

// file is a damaged database, open for reading. The pages of its WAL cover those of the
// database.
type file struct {
	main     *os.File // nil: there is none
	wal      *wal
	pageSize int
	pages    int64

	first   []byte // what SQLite gets as page 1; nil = the page itself
	current int64  // what it gets as the page behind the last one
	changes uint32 // makes it forget what it has read
}

// openFile opens the database at path, and path-wal. One that is missing counts as empty.
func openFile(path string) (f *file, err error) {
	f = &file{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
			f = nil
		}
	}()
	if f.main, err = openIfThere(path); err != nil {
		return f, err
	}
	var size int64
	if f.main != nil {
		info, err := f.main.Stat()
		if err != nil {
			return f, err
		}
		size = info.Size()
	}
	head, ok := readHeader(f.main)
	if !ok {
		head.pageSize = f.guessPageSize(size)
	}
	if f.wal, err = readWAL(path+"-wal", head.pageSize); err != nil {
		return f, err
	}
	f.pageSize = f.wal.pageSize        // its own is under a checksum, unlike that of the database
	f.pages = size / int64(f.pageSize) // a page that is cut off lacks its end, where the rows are
	for n := range f.wal.frames {
		f.pages = max(f.pages, int64(n))
	}
	return f, nil
}

func (f *file) close() (err error) {
	if f.main != nil {
		err = f.main.Close()
	}
	return errors.Join(err, f.wal.close())
}

// guessPageSize takes the size with which the largest share of the first pages look like
// leaves: their rows fill them from the end.
func (f *file) guessPageSize(size int64) int {
	best, bestShare := 1024, 0.0
	for ps := minPageSize; ps <= maxPageSize; ps *= 2 {
		page := make([]byte, ps)
		n, good := min(size/int64(ps), 2000), 0
		for i := range n {
			if _, err := f.main.ReadAt(page, i*int64(ps)); err == nil && (page[0] == tableLeaf || page[0] == indexLeaf) && fills(page) {
				good++
			}
		}
		if share := float64(good) / float64(max(n, 1)); share > bestShare {
			best, bestShare = ps, share
		}
	}
	return best
}

// fills reports whether a row of a leaf begins in the second half of it, and none behind it.
func fills(page []byte) bool {
	last := 0
	for i := range min(int(binary.BigEndian.Uint16(page[3:])), len(page)/2-4) {
		last = max(last, int(binary.BigEndian.Uint16(page[8+2*i:])))
	}
	return len(page)/2 <= last && last < len(page)
}

// readPage fills b with page n. What cannot be read is zeros, which SQLite takes for a
// damaged page.
func (f *file) readPage(n int64, b []byte) {
	if n == 1 && f.first != nil {
		copy(b, f.first)
		binary.BigEndian.PutUint32(b[24:], f.changes)
		return
	}
	if n > f.pages {
		n = f.current
	}
	var err error
	if at, inWAL := f.wal.frames[uint32(n)]; inWAL {
		_, err = f.wal.file.ReadAt(b, at)
	} else if f.main != nil {
		_, err = f.main.ReadAt(b, (n-1)*int64(f.pageSize))
	}
	if err != nil {
		clear(b)
	}
	if n == 1 && len(b) > 19 { // not in WAL mode: there is no shared memory
		b[18], b[19] = min(b[18], 1), min(b[19], 1)
	}
}

// View has SQLite show the database at path as the next one to open it would see it, with its WAL,
// and changes not a byte of its files: no locks are taken and no shared memory is made. So nobody
// else may have it open. pragmas go into the DSN.
func View(path string, pragmas url.Values) (db *sql.DB, closeView func() error, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	db, unregister, err := f.open(pragmas)
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	return db, func() error { return errors.Join(unregister(), f.close()) }, nil
}

// open has SQLite open what readPage gives.
func (f *file) open(pragmas url.Values) (db *sql.DB, closeView func() error, err error) {
	name, registered, err := vfs.New(view{f})
	if err != nil {
		return nil, nil, err
	}
	db, err = sql.Open("sqlite", "file:db?mode=ro&vfs="+name+"&"+pragmas.Encode())
	if err != nil {
		return nil, nil, errors.Join(err, registered.Close())
	}
	return db, registered.Close, nil
}

// view is the file for SQLite.
type view struct{ *file }

// Open is that of fs.FS.
func (v view) Open(name string) (fs.File, error) {
	if name != "db" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &shown{file: v.file, page: make([]byte, v.pageSize)}, nil
}

// shown is the file as SQLite sees it.
type shown struct {
	*file
	page []byte
	at   int64
}

func (s *shown) Size() int64 {
	if s.first == nil {
		return s.pages * int64(s.pageSize)
	}
	return (s.pages + 1) * int64(s.pageSize)
}

// Seek always counts from the start.
func (s *shown) Seek(offset int64, _ int) (int64, error) {
	s.at = offset
	return s.at, nil
}

func (s *shown) Read(b []byte) (n int, err error) {
	if s.at >= s.Size() {
		return 0, io.EOF
	}
	size := int64(s.pageSize)
	s.readPage(s.at/size+1, s.page)
	n = copy(b, s.page[s.at%size:])
	s.at += int64(n)
	return n, nil
}

func (s *shown) Close() error               { return nil }
func (s *shown) Stat() (fs.FileInfo, error) { return s, nil }
func (*shown) Name() string                 { return "db" }
func (*shown) Mode() fs.FileMode            { return 0o400 }
func (*shown) ModTime() time.Time           { return time.Time{} }
func (*shown) IsDir() bool                  { return false }
func (*shown) Sys() any                     { return nil }

// header is what the first page says of the file.
type header struct {
	pageSize    int
	pages       int64
	freelist    uint32
	userVersion int
	application int
	format      byte // the greater of the versions for writing and for reading
}

// newestFormat is that of files in WAL mode (https://sqlite.org/fileformat2.html, 1.3.3).
const newestFormat = 2

// readHeader reads it from the file; ok is false when there is none.
func readHeader(file *os.File) (h header, ok bool) {
	first := make([]byte, headerSize)
	if file == nil {
		return h, false
	}
	if _, err := file.ReadAt(first, 0); err != nil {
		return h, false
	}
	return parseHeader(first)
}

func parseHeader(first []byte) (h header, ok bool) {
	if string(first[:16]) != magic {
		return h, false
	}
	h = header{
		pageSize:    int(binary.BigEndian.Uint16(first[16:])),
		pages:       int64(binary.BigEndian.Uint32(first[28:])),
		freelist:    binary.BigEndian.Uint32(first[32:]),
		userVersion: int(int32(binary.BigEndian.Uint32(first[60:]))),
		application: int(int32(binary.BigEndian.Uint32(first[68:]))),
		format:      max(first[18], first[19]),
	}
	if h.pageSize == 1 {
		h.pageSize = maxPageSize
	}
	if !validPageSize(h.pageSize) {
		return header{}, false
	}
	return h, true
}

func validPageSize(n int) bool { return n >= minPageSize && n <= maxPageSize && n&(n-1) == 0 }

func openIfThere(path string) (*os.File, error) {
	file, err := datafile.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return file, err
}
