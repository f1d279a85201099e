package rawdb

import (
	"encoding/binary"
	"fmt"
	"maps"
)

// WAL says how far the write-ahead log could be read.
// https://sqlite.org/fileformat2.html#walformat
type WAL struct {
	Bytes  int64
	Frames int // up to the last commit that SQLite would take
	// Behind counts the frames behind the first bad one that check all the same, up
	// to their last commit. More than none: committed transactions that SQLite
	// would leave out.
	Behind int
	// Header is false when there is no header that makes sense: SQLite would leave
	// all of it out.
	Header bool
}

// Broken reports whether SQLite would leave out transactions that were committed,
// as far as that can be seen: a WAL that a power cut has cut short is not broken.
func (w WAL) Broken() bool { return w.Behind > 0 || w.Bytes > 0 && !w.Header }

// InspectWAL reads the WAL at path (the database's name with "-wal"). One that is
// missing is empty.
func InspectWAL(path string) (WAL, error) {
	file, err := openIfThere(path)
	if err != nil || file == nil {
		return WAL{}, err
	}
	defer file.Close()
	f := &File{wal: file, frames: map[uint32]int64{}}
	err = f.readWAL()
	return f.log, err
}

// WAL says how far the WAL of the file could be read.
func (f *File) WAL() WAL { return f.log }

const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	walMagic        = 0x377f0682 // or with bit 0 set: checksums of big-endian words
)

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

// readWAL notes the newest committed copy of each page. Where a frame does not
// check, it goes on with the sum that stands in it: the next one then shows
// whether it is genuine, because the salts are those of this WAL alone.
func (f *File) readWAL() error {
	info, err := f.wal.Stat()
	if err != nil {
		return err
	}
	f.log.Bytes = info.Size()
	head := make([]byte, walHeaderSize)
	if f.log.Bytes == 0 {
		return nil
	}
	if _, err := f.wal.ReadAt(head, 0); err != nil {
		if eof(err) {
			return nil
		}
		return fmt.Errorf("read WAL: %w", err)
	}
	sum, pageSize, ok := walHeader(head)
	if f.log.Header = ok; ok {
		f.pageSize = pageSize // it is under a checksum, unlike that of the database
		return f.readFrames(head[16:24], sum, true)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for ps := minPageSize; ps <= maxPageSize; ps *= 2 {
			if salts := f.saltsBy(order, ps); salts != nil {
				f.pageSize = ps
				return f.readFrames(salts, checksum{order: order}, false)
			}
		}
	}
	return nil
}

// saltsBy looks, without a header, for two frames of that size of which one proves
// the other, and returns their salts; nil = there are none among the first.
func (f *File) saltsBy(order binary.ByteOrder, pageSize int) []byte {
	const look = 20
	a, b := make([]byte, frameHeaderSize+pageSize), make([]byte, frameHeaderSize+pageSize)
	for i := range int64(look) {
		at := walHeaderSize + i*int64(len(a))
		if _, err := f.wal.ReadAt(a, at); err != nil {
			return nil
		}
		if _, err := f.wal.ReadAt(b, at+int64(len(a))); err != nil {
			return nil
		}
		sum := checksum{order: order}
		sum.set(a[16:24])
		sum.add(b[:8])
		sum.add(b[frameHeaderSize:])
		if string(a[8:16]) == string(b[8:16]) && sum.is(b[16:24]) && binary.BigEndian.Uint32(b) > 0 {
			return b[8:16]
		}
	}
	return nil
}

func walHeader(head []byte) (sum checksum, pageSize int, ok bool) {
	word := binary.BigEndian.Uint32(head)
	if word&^1 != walMagic {
		return sum, 0, false
	}
	sum.order = binary.LittleEndian
	if word&1 == 1 {
		sum.order = binary.BigEndian
	}
	pageSize = validPageSize(int(binary.BigEndian.Uint32(head[8:])))
	sum.add(head[:24])
	return sum, pageSize, pageSize > 0 && sum.is(head[24:])
}

func (f *File) readFrames(salts []byte, sum checksum, intact bool) error {
	open := map[uint32]int64{} // of the transaction that is being read
	frame := make([]byte, frameHeaderSize+f.pageSize)
	n, behind := 0, 0
	for at := int64(walHeaderSize); at+int64(len(frame)) <= f.log.Bytes; at += int64(len(frame)) {
		if _, err := f.wal.ReadAt(frame, at); err != nil {
			if eof(err) {
				return nil
			}
			return fmt.Errorf("read WAL: %w", err)
		}
		sum.add(frame[:8])
		sum.add(frame[frameHeaderSize:])
		page, commit := binary.BigEndian.Uint32(frame), binary.BigEndian.Uint32(frame[4:])
		genuine := string(frame[8:16]) == string(salts) && sum.is(frame[16:24]) && page > 0
		if !genuine {
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
		maps.Copy(f.frames, open)
		clear(open)
		if f.log.Behind += behind; intact {
			f.log.Frames = n
		}
		behind = 0
	}
	return nil
}
