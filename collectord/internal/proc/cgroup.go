package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// CGroups are the control groups of the units of systemd: in one hierarchy (version 2), or in one
// for each controller beside that of systemd (version 1).
// Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst.
type CGroups struct {
	tree        string // where units are
	cpu, memory string // where their numbers are
	v2          bool   // these are files of version 2
	v2Tree      bool
}

// NewCGroups looks how the hierarchies are mounted. None, or none that this process may see, is
// ErrNotSupported.
func NewCGroups(fs FS) (*CGroups, error) {
	root := fs.SysPath("fs/cgroup")
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		return &CGroups{tree: root, cpu: root, memory: root, v2: true, v2Tree: true}, nil
	}
	c := &CGroups{tree: root + "/systemd", cpu: root + "/cpuacct", memory: root + "/memory"}
	if folders, err := os.ReadDir(root + "/unified"); err == nil && len(folders) > 0 {
		c.tree, c.v2Tree = root+"/unified", true
	}
	if _, err := os.Stat(c.tree); err != nil {
		return nil, notSupported(err)
	}
	return c, nil
}

// maxCGroupDepth is how many directories a unit can be below the root: user.slice, user-1000.slice,
// user@1000.service, app.slice and slices of slices.
const maxCGroupDepth = 10

// Units returns the paths of all services and scopes below the root, such as
// "system.slice/belaUI.service". What a group has below it is part of it, but for the services of a
// user's own systemd.
func (c *CGroups) Units() ([]string, error) { return c.units("", nil, maxCGroupDepth) }

func (c *CGroups) units(below string, list []string, depth int) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(c.tree, below))
	if errors.Is(err, os.ErrNotExist) {
		return list, nil // went since it was listed
	}
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(below, name)
		isUnit := strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope")
		if isUnit {
			list = append(list, path)
		}
		if depth > 0 && (strings.HasSuffix(name, ".slice") || strings.HasPrefix(name, "user@") && isUnit) {
			var belowErr error
			if list, belowErr = c.units(path, list, depth-1); err == nil {
				err = belowErr
			}
		}
	}
	return list, err
}

// CGroup is one group, from its making to its removal.
type CGroup struct {
	Started time.Time // when it was made, or at most a little later

	v2     bool
	state  *File // cgroup.events of version 2, cgroup.procs of version 1
	tree   string
	v2Tree bool
	cpu    *File // nil where its controller is off
	memory *File
	events *File
}

// CGroupStats is one reading of a group. NaN is what the kernel does not count for it, or what was
// not read.
type CGroupStats struct {
	Populated   bool // has processes
	CPUSeconds  float64
	MemoryBytes float64 // with the cache of its files
	OOMKills    float64
}

// Open opens the group at a path of Units. It is os.ErrNotExist if it is not there.
func (c *CGroups) Open(path string) (*CGroup, error) {
	tree := filepath.Join(c.tree, path)
	info, err := os.Stat(tree)
	if err != nil {
		return nil, err
	}
	// systemd sets attributes of the directory when it makes it, since when the kernel keeps its
	// time. Groups below it change that, but not that of this file.
	g := &CGroup{Started: info.ModTime(), tree: tree, v2: c.v2, v2Tree: c.v2Tree}
	if info, err := os.Stat(tree + "/cgroup.procs"); err == nil && info.ModTime().Before(g.Started) {
		g.Started = info.ModTime()
	}
	cpu, memory := filepath.Join(c.cpu, path), filepath.Join(c.memory, path)
	if c.v2Tree {
		g.state = NewSingle(tree + "/cgroup.events")
	} else {
		g.state = NewFile(tree + "/cgroup.procs")
	}
	if c.v2 {
		g.cpu, g.memory, g.events = optionalFile(cpu+"/cpu.stat"), optionalFile(memory+"/memory.current"), optionalFile(memory+"/memory.events")
	} else {
		g.cpu, g.memory, g.events = optionalFile(cpu+"/cpuacct.usage"), optionalFile(memory+"/memory.usage_in_bytes"), optionalFile(memory+"/memory.oom_control")
	}
	return g, nil
}

func optionalFile(path string) *File {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return NewSingle(path)
}

// Read reads the group, its memory and OOM kills only if all. It is os.ErrNotExist once the group
// was removed, also if another one has its name by now. A number that cannot be read is NaN, and
// its error is returned beside the others.
func (g *CGroup) Read(all bool) (s CGroupStats, err error) {
	s = CGroupStats{CPUSeconds: math.NaN(), MemoryBytes: math.NaN(), OOMKills: math.NaN()}
	if s.Populated, err = g.populated(); err != nil {
		return s, removed(err)
	}
	read := func(f *File, key string, unit float64, v *float64) {
		if f == nil {
			return
		}
		n, readErr := readKey(f, key)
		if readErr == nil && n != Absent {
			*v = float64(n) / unit
		}
		if err == nil {
			err = removed(readErr)
		}
	}
	if g.v2 {
		read(g.cpu, "usage_usec", 1e6, &s.CPUSeconds)
	} else {
		read(g.cpu, "", 1e9, &s.CPUSeconds)
	}
	if all {
		read(g.memory, "", 1, &s.MemoryBytes)
		read(g.events, "oom_kill", 1, &s.OOMKills)
	}
	return s, err
}

// populated reports whether the group or one below it has processes.
func (g *CGroup) populated() (bool, error) {
	if g.v2Tree {
		n, err := readKey(g.state, "populated")
		return n != 0, err
	}
	text, err := g.state.Read()
	if err != nil || len(text) > 0 {
		return err == nil, err
	}
	below, err := os.ReadDir(g.tree)
	return slices.ContainsFunc(below, os.DirEntry.IsDir), err
}

// Close closes the files.
func (g *CGroup) Close() {
	for _, f := range []*File{g.state, g.cpu, g.memory, g.events} {
		if f != nil {
			_ = f.Close() // read-only: nothing to lose
		}
	}
}

// removed makes os.ErrNotExist of what the kernel answers for a file whose group is gone.
func removed(err error) error {
	if errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("%w: %w", os.ErrNotExist, err)
	}
	return err
}

// readKey reads the number behind a key, or the only number of the file if key is empty. A key that
// is not there is Absent.
func readKey(f *File, key string) (uint64, error) {
	text, err := f.Read()
	if err != nil {
		return 0, err
	}
	n, err := parseKey(text, key)
	return n, inFile(f.path, err)
}

func parseKey(text []byte, key string) (n uint64, err error) {
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text = NextLine(text)
		field, rest := NextField(line)
		if key != "" {
			if string(field) != key {
				continue
			}
			field, rest = NextField(rest)
		}
		if extra, _ := NextField(rest); len(extra) > 0 {
			return Absent, parseError(number, line, ErrSyntax)
		}
		if err := ParseCount(field, &n); err != nil {
			return Absent, parseError(number, line, err)
		}
		return n, nil
	}
	if key == "" {
		return Absent, parseError(1, nil, ErrSyntax)
	}
	return Absent, nil
}
