//go:build linux && (amd64 || arm64)

package powercut

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Kind is what an Op does.
type Kind string

// The kinds of Op.
const (
	Write  Kind = "write"  // to a file
	Resize Kind = "resize" // of a file
	Sync   Kind = "sync"   // of a file or a directory
	Create Kind = "create" // of a file or a directory
	Remove Kind = "remove" // of a file or a directory
	Rename Kind = "rename" // of a file or a directory
)

// Op is a request that would change what is on the disk or make it certain.
type Op struct {
	Kind Kind
	Path string // of the file or directory, from the root of the disk: "lib/metrics.db"
}

// disk is both what processes see and what is on the medium. Its methods are what
// a kernel asks of a file system. While the power is off every Op fails with EIO;
// reading goes on, since nobody is to be there who could read.
type disk struct {
	mu    sync.Mutex
	nodes map[uint64]*node // by inode number
	names []nameChange     // not yet certain, in order
	last  uint64           // sequence number of inodes and changes of names

	down  chan struct{} // closed while the power is off
	trap  func(Op) bool // cuts the power before that Op; nil = none
	fuses int           // how often trap must still say yes
}

// node is a file or a directory.
type node struct {
	ino   uint64
	mode  uint32 // with the type
	mtime time.Time

	parent *node // with name: where it was last; for Op.Path
	name   string

	*file   // nil for a directory
	*folder // nil for a file
}

const rootIno = 1 // as FUSE has it

func newDisk() *disk {
	d := &disk{nodes: map[uint64]*node{}, down: make(chan struct{})}
	d.newNode(nil, "", syscall.S_IFDIR|0o755)
	return d
}

func (d *disk) newNode(parent *node, name string, mode uint32) *node {
	d.last++
	n := &node{ino: d.last, mode: mode, mtime: time.Now(), parent: parent, name: name}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n.folder = newFolder()
	} else {
		n.file = newFile()
	}
	d.nodes[n.ino] = n
	return n
}

func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	return filepath.Join(n.parent.path(), n.name)
}

// op lets a request through or refuses it. It springs the trap.
func (d *disk) op(kind Kind, path string) syscall.Errno {
	if d.isDown() {
		return syscall.EIO
	}
	if d.trap != nil && d.trap(Op{kind, path}) {
		if d.fuses--; d.fuses <= 0 {
			close(d.down)
			return syscall.EIO
		}
	}
	return 0
}

func (d *disk) isDown() bool {
	select {
	case <-d.down:
		return true
	default:
		return false
	}
}

// cut takes the power away, between two requests.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.isDown() {
		close(d.down)
	}
}

// cutAt cuts the power right before the nth Op from now on that match is true of.
func (d *disk) cutAt(nth int, match func(Op) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trap, d.fuses = match, nth
}

func (d *disk) find(ino uint64) *node {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[ino]
}

func (d *disk) read(n *node, dest []byte, at int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.file == nil {
		return 0
	}
	return n.file.read(dest, at)
}

func (d *disk) write(n *node, data []byte, at int64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.op(Write, n.path()); errno != 0 {
		return errno
	}
	n.file.write(data, at)
	n.mtime = time.Now()
	return 0
}

func (d *disk) resize(n *node, size int64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.file == nil {
		return syscall.EISDIR
	}
	if errno := d.op(Resize, n.path()); errno != 0 {
		return errno
	}
	n.file.resize(size)
	n.mtime = time.Now()
	return 0
}

func (d *disk) sync(n *node) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.op(Sync, n.path()); errno != 0 {
		return errno
	}
	if n.file != nil {
		n.file.sync()
		return 0
	}
	d.syncFolder(n)
	return 0
}

// Damage tells what a cut did to what was not synced.
type Damage struct {
	Kept, Lost, Torn     int // sectors; one of the versions between counts as lost
	KeptNames, LostNames int
}

// Add adds what another cut did.
func (d *Damage) Add(other Damage) {
	d.Kept += other.Kept
	d.Lost += other.Lost
	d.Torn += other.Torn
	d.KeptNames += other.KeptNames
	d.LostNames += other.LostNames
}

// restart decides what the cut has left and gives the power back.
func (d *disk) restart(rnd *rand.Rand) (damage Damage) {
	d.cut()
	d.mu.Lock()
	defer d.mu.Unlock()
	// Some cuts keep everything, some nothing, the most damaging ones a part.
	luck := &dice{Rand: rnd, keep: []float64{0, 0.2, 0.5, 0.8, 1}[rnd.IntN(5)], damage: &damage}
	d.surviveNames(luck)
	reached := map[uint64]*node{}
	d.nodes[rootIno].survive(luck, reached)
	d.nodes = reached
	d.trap, d.down = nil, make(chan struct{})
	return damage
}

// survive takes n and all below it through the cut.
func (n *node) survive(luck *dice, reached map[uint64]*node) {
	reached[n.ino] = n
	if n.file != nil {
		n.file.survive(luck)
		return
	}
	for _, name := range sortedKeys(n.folder.seen) {
		n.folder.seen[name].survive(luck, reached)
	}
}

// dice decides what survives a cut.
type dice struct {
	*rand.Rand
	keep   float64 // share of what is kept; 0 = nothing at all
	damage *Damage
}

// version picks one of the versions 0 (the synced one) to newest.
func (l *dice) version(newest int) int {
	switch {
	case newest == 0 || l.Float64() < l.keep:
		return newest
	case l.keep == 0 || l.IntN(2) == 0:
		return 0
	}
	return l.IntN(newest)
}

// save copies what processes see to an empty directory of another file system.
func (d *disk) save(to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[rootIno].save(to)
}

func (n *node) save(to string) error {
	if n.file != nil {
		return os.WriteFile(to, n.file.seen, 0o600)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for name, child := range n.folder.seen {
		if err := child.save(filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}
