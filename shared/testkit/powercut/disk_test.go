//go:build linux && (amd64 || arm64)

package powercut

import (
	"bytes"
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// shadow is what must be certain of a file.
type shadow struct {
	node   *node
	synced []byte
	dirty  map[int]bool // bytes written since the sync
	sizes  []int
}

// TestDisk_Certain: whatever is written, resized and synced in whatever order, a
// cut leaves each file one of its sizes, and its synced bytes wherever nothing was
// written since; and with it a second cut changes nothing.
func TestDisk_Certain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk()
		files := make([]*shadow, 2)
		for i := range files {
			n, errno := d.create(d.find(rootIno), string(rune('a'+i)), syscall.S_IFREG|0o600)
			if errno != 0 {
				t.Fatal(errno)
			}
			files[i] = &shadow{node: n, dirty: map[int]bool{}, sizes: []int{0}}
		}
		d.sync(d.find(rootIno))
		for range rapid.IntRange(0, 30).Draw(t, "requests") {
			f := rapid.SampledFrom(files).Draw(t, "file")
			at, size := rapid.IntRange(0, 2000).Draw(t, "at"), rapid.IntRange(1, 1500).Draw(t, "size")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				f.touch(min(at, len(f.seen())), at+size)
				d.write(f.node, bytes.Repeat([]byte{byte(size)}, size), int64(at))
			case 2:
				f.touch(min(at, len(f.seen())), max(at, len(f.seen())))
				d.resize(f.node, int64(at))
			case 3:
				d.sync(f.node)
				f.synced, f.sizes = slices.Clone(f.seen()), nil
				clear(f.dirty)
			}
			f.sizes = append(f.sizes, len(f.seen()))
		}
		dice := seeded(rapid.Int().Draw(t, "seed"))
		d.restart(dice)
		for _, f := range files {
			f.check(t)
			f.synced, f.sizes = slices.Clone(f.seen()), []int{len(f.seen())}
			clear(f.dirty)
		}
		if damage := d.restart(dice); damage != (Damage{}) {
			t.Fatalf("a cut without anything to lose did %+v", damage)
		}
		for _, f := range files {
			f.check(t)
		}
	})
}

func (f *shadow) seen() []byte { return f.node.file.seen }

func (f *shadow) touch(from, to int) {
	for i := from; i < to; i++ {
		f.dirty[i] = true
	}
}

func (f *shadow) check(t *rapid.T) {
	got := f.seen()
	if !slices.Contains(f.sizes, len(got)) {
		t.Fatalf("size %d, want one of %v", len(got), f.sizes)
	}
	for i := range min(len(got), len(f.synced)) {
		if !f.dirty[i] && got[i] != f.synced[i] {
			t.Fatalf("byte %d is %d, was synced as %d and not written since", i, got[i], f.synced[i])
		}
	}
}
