package proc

import (
	"bytes"
	"os"
)

// Mount is one line of the mount table.
type Mount struct {
	Source string // "/dev/mmcblk0p2", "server:/export", "overlay"; "none" and the like for many
	Point  string // where people see it
	Type   string // "ext4"
	Path   string // where this process reaches it

	ReadOnly bool // mounted so, or the file system became so after an error
}

// Mounts reads the mount table of this process, or of process 1 where the
// procfs is not the own one, as in a container that looks at its host.
// Source: proc_pid_mounts(5).
type Mounts struct {
	file  *File
	root  string // in front of a mount point to reach it
	watch *mountWatch
	text  []byte // the table that list was made of
	list  []Mount
}

// NewMounts names the table; nothing is opened yet.
func NewMounts(fs FS) *Mounts {
	path, root := fs.mountsPath()
	return &Mounts{file: NewFile(path), root: root, watch: newMountWatch(path)}
}

// mountsPath returns the mount table and what goes in front of its mount
// points. Those of another mount namespace are reached where its root is mounted
// in this one, or else through the root of process 1, which takes CAP_SYS_PTRACE. A
// plain tree of files, as a test makes, may have the table in self, and has no other
// root.
func (fs FS) mountsPath() (table, root string) {
	if fs.isOwn() {
		return fs.ProcPath("self/mounts"), fs.Root
	}
	if fs.Root != "" {
		root = fs.Root
	} else if _, err := os.Lstat(fs.ProcPath("1/root")); err == nil {
		root = fs.ProcPath("1/root")
	}
	table = fs.ProcPath("1/mounts")
	if _, err := os.Stat(table); err != nil && isFolder(fs.ProcPath("self")) {
		table = fs.ProcPath("self/mounts")
	}
	return table, root
}

// Read returns the mounts in the order in which they were made, and whether
// they are others than last time. It reads the table only when the kernel reports
// a change, because printing it costs more than everything else about a
// file system. A bad line costs only itself: the good ones come with the error
// of the first bad one, once.
func (m *Mounts) Read() (list []Mount, changed bool, err error) {
	if m.text != nil && !m.watch.changed() {
		return m.list, false, nil
	}
	text, err := m.file.Read()
	if err != nil {
		m.text = nil // whatever comes next is a change
		return nil, true, err
	}
	if m.text != nil && bytes.Equal(text, m.text) {
		return m.list, false, nil
	}
	m.text = append(m.text[:0], text...)
	m.list, err = parseMounts(m.text, nil)
	for i := range m.list {
		m.list[i].Path = m.root + m.list[i].Point
	}
	return m.list, true, inFile(m.file.Path(), err)
}

// parseMounts appends the mounts in text to list. Path is left to the reader.
func parseMounts(text []byte, list []Mount) ([]Mount, error) {
	return parseLines(text, 1, list, parseMount)
}

const mountColumns = 6 // source, point, type, options and two zeros

func parseMount(line []byte) (m Mount, bad, err error) {
	var fields [mountColumns][]byte
	for i := range fields {
		fields[i], line = NextField(line)
		if len(fields[i]) == 0 {
			return m, nil, errColumns
		}
	}
	return Mount{
		Source: unescapeOctal(fields[0]),
		Point:  unescapeOctal(fields[1]),
		Type:   unescapeOctal(fields[2]),

		ReadOnly: isReadOnly(fields[3]),
	}, nil, nil
}

// isReadOnly reports whether one of the options, which have commas between them, is "ro".
func isReadOnly(options []byte) bool {
	for len(options) > 0 {
		var option []byte
		option, options, _ = bytes.Cut(options, []byte{','})
		if string(option) == "ro" {
			return true
		}
	}
	return false
}

// unescapeOctal undoes the kernel's escapes: a space, tab, newline, backslash
// or hash is a backslash and three octal digits.
func unescapeOctal(field []byte) string {
	if bytes.IndexByte(field, '\\') < 0 {
		return string(field)
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		if c, ok := octalEscape(field[i:]); ok {
			out = append(out, c)
			i += 3
			continue
		}
		out = append(out, field[i])
	}
	return string(out)
}

// octalEscape reads an escape at the begin of b.
func octalEscape(b []byte) (c byte, ok bool) {
	if len(b) < 4 || b[0] != '\\' || b[1] > '3' {
		return 0, false
	}
	for _, digit := range b[1:4] {
		if digit < '0' || digit > '7' {
			return 0, false
		}
		c = c<<3 | (digit - '0')
	}
	return c, true
}
