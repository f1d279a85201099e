package salvage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
)

const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	walMagic        = 0x377f0682 // or with bit 0 set: checksums of big-endian words
)

// wal is a write-ahead log, as far as it could be read.
// https://sqlite.org/fileformat2.html#walformat
type wal struct {
	file     *os.File // nil: there is none
	bytes    int64
	header   bool             // false: there is none that makes sense; SQLite would leave all of it out
	pageSize int              // by its header, else that of the database
	frames   map[uint32]int64 // page number: offset of its newest committed copy
	good     int              // frames up to the last commit that SQLite would take
	// behind counts the frames behind the first bad one that check all the same, up to
	// their last commit: committed transactions that SQLite would leave out.
	behind int
}

// broken reports whether SQLite would leave out transactions that were committed, as
// far as that can be seen: a WAL that a power cut has cut short is not broken.
func (w *wal) broken() bool { return w.behind > 0 || w.bytes > 0 && !w.header }

func (w *wal) close() error {
	if w == nil || w.file == nil {
		return nil
	}
	return w.file.Close()
}

// readWAL reads the WAL at path; one that is missing is empty. pageSize is that of the
// database, for a WAL that has lost its header.
func readWAL(path string, pageSize int) (w *wal, err error) {
	w = &wal{frames: map[uint32]int64{}, pageSize: pageSize}
	if w.file, err = openIfThere(path); err != nil || w.file == nil {
		return w, err
	}
	if err = w.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read WAL: %w", err), w.file.Close())
	}
	return w, nil
}

// read notes the newest committed copy of each page. Where a frame does not check, it
// goes on with the sum that stands in it: the next one then shows whether it is
// genuine, because the salts are those of this WAL alone.
func (w *wal) read() error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	w.bytes = info.Size()
	head := make([]byte, walHeaderSize)
	if _, err := w.file.ReadAt(head, 0); err != nil {
		return ignoreEOF(err)
	}
	sum := w.readHeader(head)
	salts := head[16:24]
	if !w.header {
		salts = make([]byte, 8) // those of the first frame, if the second one proves them
		if _, err := w.file.ReadAt(salts, walHeaderSize+8); err != nil {
			return ignoreEOF(err)
		}
	}
	intact, behind, n := w.header, 0, 0
	open := map[uint32]int64{} // of the transaction that is being read
	frame := make([]byte, frameHeaderSize+w.pageSize)
	for at := int64(walHeaderSize); at+int64(len(frame)) <= w.bytes; at += int64(len(frame)) {
		if _, err := w.file.ReadAt(frame, at); err != nil {
			return ignoreEOF(err)
		}
		sum.add(frame[:8])
		sum.add(frame[frameHeaderSize:])
		page, commit := binary.BigEndian.Uint32(frame), binary.BigEndian.Uint32(frame[4:])
		if string(frame[8:16]) != string(salts) || !sum.is(frame[16:24]) || page == 0 {
			intact = false
			sum.set(frame[16:24])
			continue
		}
		open[page] = at + frameHeaderSize
		if n++; !intact {
			behind++
		}
		if commit == 0 {
			continue
		}
		maps.Copy(w.frames, open)
		clear(open)
		if w.behind += behind; intact {
			w.good = n
		}
		behind = 0
	}
	return nil
}

// readHeader returns the checksum with which the first frame goes on.
func (w *wal) readHeader(head []byte) (sum checksum) {
	sum.order = binary.LittleEndian
	word, size := binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint32(head[8:]))
	if word == walMagic|1 {
		sum.order = binary.BigEndian
	}
	sum.add(head[:24])
	if word&^1 == walMagic && validPageSize(size) && sum.is(head[24:]) {
		w.header, w.pageSize = true, size
	}
	return sum
}

// checksum is the running sum over words of 32 bits.
type checksum struct {
	a, b  uint32
	order binary.ByteOrder
}

func (c *checksum) add(data []byte) {
	for len(data) >= 8 {
		c.a += c.order.Uint32(data) + c.b
		c.b += c.order.Uint32(data[4:]) + c.a
		data = data[8:]
	}
}

func (c *checksum) is(stored []byte) bool {
	return c.a == binary.BigEndian.Uint32(stored) && c.b == binary.BigEndian.Uint32(stored[4:])
}

func (c *checksum) set(stored []byte) {
	c.a, c.b = binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])
}

// ignoreEOF tells the end of a file from a disk that fails.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
