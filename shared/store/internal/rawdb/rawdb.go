// Package rawdb reads the rows of a damaged SQLite database without SQLite, which
// gives up at the first page that does not fit. It promises to end, whatever the
// bytes are, never to write, and to say of each row how it was found. It does not
// promise that rows of different pages belong to one moment.
//
// The format: https://sqlite.org/fileformat2.html
package rawdb

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// File is a database file with its WAL, open for reading.
type File struct {
	main     *os.File // nil: there is none
	wal      *os.File // nil: there is none
	pageSize int
	usable   int // bytes of a page without its reserved end
	pages    uint32
	frames   map[uint32]int64 // page number → offset of its newest genuine copy in the WAL
	log      WAL
	header   header
}

// header is what the first page says of the file.
type header struct {
	ok          bool
	freelist    uint32
	userVersion int
	application int
}

const (
	magic       = "SQLite format 3\x00"
	headerSize  = 100
	minPageSize = 512
	maxPageSize = 65536
)

// Open opens the database at path, and path-wal. One that is missing counts as
// empty. The page size of a file without a header is that of its WAL, else the
// one with which most pages look like pages.
//
// Closing the file drops the locks that SQLite has on it in this process: nobody
// in it may have it open.
func Open(path string) (f *File, err error) {
	f = &File{frames: map[uint32]int64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	if f.main, err = openIfThere(path); err != nil {
		return f, err
	}
	if f.wal, err = openIfThere(path + "-wal"); err != nil {
		return f, err
	}
	var size int64
	if f.main != nil {
		info, err := f.main.Stat()
		if err != nil {
			return f, err
		}
		size = info.Size()
		first := make([]byte, headerSize)
		if n, _ := f.main.ReadAt(first, 0); n == headerSize && string(first[:16]) == magic {
			f.pageSize = pageSizeOf(first[16:18])
		}
	}
	if f.wal != nil {
		if err := f.readWAL(); err != nil {
			return f, err
		}
	}
	if f.pageSize == 0 {
		f.pageSize = f.guessPageSize(size)
	}
	f.usable = f.pageSize
	f.pages = uint32(min((size+int64(f.pageSize)-1)/int64(f.pageSize), 1<<32-2))
	for n := range f.frames {
		f.pages = max(f.pages, n)
	}
	f.readHeader()
	return f, nil
}

// CutOff reports whether the database at path, which has no WAL, is shorter than its
// header says. SQLite takes a page that is cut off for one that ends in zeros.
// What is no database at all is not cut off. The warning of Open holds here too.
func CutOff(path string) (bool, error) {
	file, err := openIfThere(path)
	if err != nil || file == nil {
		return false, err
	}
	defer file.Close()
	first := make([]byte, headerSize)
	if _, err := file.ReadAt(first, 0); err != nil || string(first[:16]) != magic {
		if eof(err) {
			err = nil
		}
		return false, err
	}
	info, err := file.Stat()
	pages := binary.BigEndian.Uint32(first[28:])
	return err == nil && info.Size() < int64(pages)*int64(pageSizeOf(first[16:18])), err
}

// Close closes the files.
func (f *File) Close() (err error) {
	for _, file := range []*os.File{f.main, f.wal} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

// Identity returns the application_id and user_version of the header. ok is false
// when the first page is lost.
func (f *File) Identity() (application, userVersion int, ok bool) {
	return f.header.application, f.header.userVersion, f.header.ok
}

func openIfThere(path string) (*os.File, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return file, err
}

// pageSizeOf decodes the two bytes of the header; 0 = no page size.
func pageSizeOf(b []byte) int {
	size := int(binary.BigEndian.Uint16(b))
	if size == 1 {
		size = maxPageSize
	}
	return validPageSize(size)
}

func validPageSize(size int) int {
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return 0
	}
	return size
}

// guessPageSize takes the size with which the largest share of the first pages are
// pages of a tree.
func (f *File) guessPageSize(size int64) int {
	best, bestShare := 1024, 0.0
	for ps := minPageSize; ps <= maxPageSize; ps *= 2 {
		n := min(size/int64(ps), 2000)
		good := 0
		page := make([]byte, ps)
		for i := range n {
			if _, err := f.main.ReadAt(page, i*int64(ps)); err != nil {
				break
			}
			if t, ok := parsePage(page, 0, ps); ok && len(t.cells) > 0 && slices.Max(t.cells) >= ps/2 {
				good++ // cells fill a page from its end
			}
		}
		if share := float64(good) / float64(max(n, 1)); good > 0 && share > bestShare {
			best, bestShare = ps, share
		}
	}
	return best
}

// page reads a page, from the WAL where that has it. ok is false beyond the end.
func (f *File) page(n uint32, buf []byte) (page []byte, ok bool) {
	if n == 0 || n > f.pages {
		return nil, false
	}
	page = buf[:f.pageSize]
	if at, inWAL := f.frames[n]; inWAL {
		_, err := f.wal.ReadAt(page, at)
		return page, err == nil
	}
	if f.main == nil {
		return nil, false
	}
	if _, err := f.main.ReadAt(page, int64(n-1)*int64(f.pageSize)); err != nil {
		return nil, false // a page that is cut off lacks its end, where the rows are
	}
	return page, true
}

func (f *File) readHeader() {
	page, ok := f.page(1, make([]byte, f.pageSize))
	if !ok || string(page[:16]) != magic || pageSizeOf(page[16:18]) != f.pageSize {
		return
	}
	if reserved := int(page[20]); f.pageSize-reserved >= 480 { // the least that SQLite allows
		f.usable = f.pageSize - reserved
	}
	f.header = header{
		ok:          true,
		freelist:    binary.BigEndian.Uint32(page[32:36]),
		userVersion: int(int32(binary.BigEndian.Uint32(page[60:64]))),
		application: int(int32(binary.BigEndian.Uint32(page[68:72]))),
	}
}

// eof tells the end of a file from a disk that fails.
func eof(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
