//go:build linux && (amd64 || arm64)

package powercut

import (
	"maps"
	"slices"
)

// sectorSize is what a disk writes at once.
const sectorSize = 512

// file is the content of a file.
type file struct {
	seen []byte // by processes
	kept []byte // content at the last sync

	// What happened since then, in order.
	pieces map[int64][]piece // by sector
	sizes  []int64
}

// piece is a write, or the part of it that falls into one sector.
type piece struct {
	at   int64 // in the file
	data []byte
}

var zeros [sectorSize]byte

func newFile() *file { return &file{pieces: map[int64][]piece{}} }

func (f *file) size() int64 { return int64(len(f.seen)) }

func (f *file) read(dest []byte, at int64) int {
	return copy(dest, f.seen[min(at, f.size()):])
}

func (f *file) write(data []byte, at int64) {
	f.resize(max(f.size(), at+int64(len(data))))
	copy(f.seen[at:], data)
	data = slices.Clone(data) // the caller's buffer is used again
	for len(data) > 0 {
		n := min(int64(len(data)), sectorSize-at%sectorSize)
		f.change(at, data[:n])
		at, data = at+n, data[n:]
	}
}

// resize writes zeros to what comes or goes.
func (f *file) resize(size int64) {
	if size == f.size() {
		return
	}
	f.sizes = append(f.sizes, size)
	for at, end := min(size, f.size()), max(size, f.size()); at < end; {
		n := min(end-at, sectorSize-at%sectorSize)
		f.change(at, zeros[:n])
		at += n
	}
	f.seen = withSize(f.seen, size)
}

func (f *file) change(at int64, data []byte) {
	sector := at / sectorSize
	f.pieces[sector] = append(f.pieces[sector], piece{at, data})
}

// withSize cuts a content or fills it up with zeros.
func withSize(content []byte, size int64) []byte {
	if size > int64(len(content)) {
		return append(content, make([]byte, size-int64(len(content)))...)
	}
	return content[:size]
}

func (f *file) sync() {
	f.kept = withSize(f.kept, f.size())
	for sector := range f.pieces {
		at := min(sector*sectorSize, f.size())
		copy(f.kept[at:], f.seen[at:min(at+sectorSize, f.size())])
	}
	clear(f.pieces)
	f.sizes = f.sizes[:0]
}

// survive makes f what a cut leaves of it.
func (f *file) survive(luck *dice) {
	sizes := append([]int64{int64(len(f.kept))}, f.sizes...)
	image := make([]byte, slices.Max(sizes))
	grown := image[copy(image, f.kept):]
	if luck.IntN(2) == 0 {
		garbage(luck, grown)
	}
	for _, sector := range slices.Sorted(maps.Keys(f.pieces)) {
		pieces := f.pieces[sector]
		n := luck.version(len(pieces))
		for _, p := range pieces[:n] {
			copy(image[p.at:], p.data)
		}
		switch {
		case n == len(pieces):
			luck.damage.Kept++
		case luck.keep > 0 && luck.IntN(4) == 0:
			luck.damage.Torn++
			tear(luck, image[pieces[n].at:], pieces[n].data)
		default:
			luck.damage.Lost++
		}
	}
	f.seen = image[:sizes[luck.version(len(f.sizes))]]
	f.kept = slices.Clone(f.seen)
	clear(f.pieces)
	f.sizes = nil
}

// tear does a part of a write.
func tear(luck *dice, image, data []byte) {
	n := luck.IntN(len(data) + 1)
	switch luck.IntN(3) {
	case 0:
		copy(image, data[:n])
	case 1:
		copy(image[n:], data[n:])
	default:
		garbage(luck, image[:len(data)])
	}
}

func garbage(luck *dice, b []byte) {
	for i := range b {
		b[i] = byte(luck.Uint32())
	}
}
