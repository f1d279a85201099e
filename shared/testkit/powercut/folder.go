//go:build linux && (amd64 || arm64)

package powercut

import (
	"maps"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// directory is the names in a directory.
type folder struct {
	seen map[string]*node // by processes
	kept map[string]entry // on the medium; removed ones stay, without a node
}

// entry is what a name stands for.
type entry struct {
	node *node
	seq  uint64 // of the change that made it so
}

// nameChange is what is kept or lost as a whole.
type nameChange struct {
	seq  uint64
	sets []setting
}

// setting gives a name another meaning; nil takes it away.
type setting struct {
	dir  *node
	name string
	to   *node
}

func newFolder() *folder { return &folder{seen: map[string]*node{}, kept: map[string]entry{}} }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rename gives names other meanings, for processes at once.
func (d *disk) rename(sets ...setting) {
	for _, s := range sets {
		if s.to == nil {
			delete(s.dir.folder.seen, s.name)
			continue
		}
		s.dir.folder.seen[s.name] = s.to
		s.to.parent, s.to.name = s.dir, s.name
	}
	d.last++
	d.names = append(d.names, nameChange{d.last, sets})
}

// keep writes a change to the medium, except where a later one was faster.
func (c nameChange) keep() {
	for _, s := range c.sets {
		if s.dir.folder.kept[s.name].seq < c.seq {
			s.dir.folder.kept[s.name] = entry{s.to, c.seq}
		}
	}
}

func (c nameChange) touches(dir *node) bool {
	return slices.ContainsFunc(c.sets, func(s setting) bool { return s.dir == dir })
}

func (d *disk) syncFolder(dir *node) {
	d.names = slices.DeleteFunc(d.names, func(c nameChange) bool {
		if c.touches(dir) {
			c.keep()
			return true
		}
		return false
	})
}

// surviveNames decides which changes a cut leaves.
func (d *disk) surviveNames(luck *dice) {
	for _, c := range d.names {
		if luck.Float64() < luck.keep {
			luck.damage.KeptNames++
			c.keep()
		} else {
			luck.damage.LostNames++
		}
	}
	d.names = nil
	for _, n := range d.nodes {
		if n.folder == nil {
			continue
		}
		clear(n.folder.seen)
		for name, e := range n.folder.kept {
			if e.node == nil {
				delete(n.folder.kept, name)
				continue
			}
			n.folder.seen[name] = e.node
			e.node.parent, e.node.name = n, name
		}
	}
}

func (d *disk) lookup(dir *node, name string) (*node, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir.folder == nil {
		return nil, syscall.ENOTDIR
	}
	if n := dir.folder.seen[name]; n != nil {
		return n, 0
	}
	return nil, syscall.ENOENT
}

// list returns what is in a directory, sorted by name.
func (d *disk) list(dir *node) (list []fuse.DirEntry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range sortedKeys(dir.folder.seen) {
		n := dir.folder.seen[name]
		list = append(list, fuse.DirEntry{Name: name, Ino: n.ino, Mode: n.mode})
	}
	return list
}

// create makes a file or, as mode says, a directory. The kernel has looked the name
// up and holds the directory's lock, here and below.
func (d *disk) create(dir *node, name string, mode uint32) (*node, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.newNode(dir, name, mode)
	if errno := d.op(Create, n.path()); errno != 0 {
		return nil, errno
	}
	d.rename(setting{dir, name, n})
	return n, 0
}

func (d *disk) remove(dir *node, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := dir.folder.seen[name]
	if n == nil {
		return syscall.ENOENT
	}
	if n.folder != nil && len(n.folder.seen) > 0 {
		return syscall.ENOTEMPTY
	}
	if errno := d.op(Remove, n.path()); errno != 0 {
		return errno
	}
	d.rename(setting{dir, name, nil})
	return 0
}

func (d *disk) move(dir *node, name string, toDir *node, toName string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := dir.folder.seen[name]
	if n == nil {
		return syscall.ENOENT
	}
	if old := toDir.folder.seen[toName]; old != nil && old.folder != nil && len(old.folder.seen) > 0 {
		return syscall.ENOTEMPTY
	}
	if errno := d.op(Rename, n.path()); errno != 0 {
		return errno
	}
	d.rename(setting{dir, name, nil}, setting{toDir, toName, n})
	return 0
}
