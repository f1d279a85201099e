package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Attribute is a file of sysfs that holds one value of a device, and that a device may have or not.
type Attribute struct {
	file  *File
	parse func(text []byte) (float64, error)
	rare  bool
	lacks []syscall.Errno
}

// noValue are the errors of a driver that has no value, for now or at all.
var noValue = []syscall.Errno{syscall.ENODATA, syscall.EINVAL, syscall.EOPNOTSUPP}

// newAttribute returns nil if there is no such file. So a caller asks for whatever there may be.
func newAttribute(path string, parse func([]byte) (float64, error)) *Attribute {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return &Attribute{file: NewSingle(path), parse: parse, lacks: noValue}
}

// rarely makes an attribute one that is read once a minute.
func rarely(a *Attribute) *Attribute {
	if a != nil {
		a.rare = true
	}
	return a
}

// Rare reports whether the attribute is slow to read or hardly ever changes.
func (a *Attribute) Rare() bool { return a.rare }

// Path returns the file.
func (a *Attribute) Path() string { return a.file.Path() }

// Read reads the value. A driver that has none is ErrNotSupported. It may hang as long as the
// driver does.
func (a *Attribute) Read() (float64, error) {
	text, err := a.file.Read()
	if err != nil {
		if errno, ok := errors.AsType[syscall.Errno](err); ok && slices.Contains(a.lacks, errno) {
			err = fmt.Errorf("%w: %w", ErrNotSupported, err)
		}
		return 0, err
	}
	v, err := a.parse(text)
	return v, inFile(a.file.path, err)
}

// Close closes the file; a later Read opens it again.
func (a *Attribute) Close() { _ = a.file.Close() } // read-only: nothing to lose

// oneField returns the only field of the first line, which a line of one value is.
func oneField(text []byte) ([]byte, error) {
	line, _ := NextLine(text)
	field, rest := NextField(line)
	if extra, _ := NextField(rest); len(field) == 0 || len(extra) > 0 {
		return nil, parseError(0, line, ErrSyntax)
	}
	return field, nil
}

// whole parses an integer.
func whole(text []byte) (float64, error) { return scaled(1)(text) }

// scaled parses an integer of a unit of which one has unit parts: 1000 for thousandths.
func scaled(unit float64) func([]byte) (float64, error) {
	return func(text []byte) (float64, error) {
		field, err := oneField(text)
		if err != nil {
			return 0, err
		}
		n, err := ParseInt(field)
		if err != nil {
			return 0, parseError(0, text, err)
		}
		return float64(n) / unit, nil
	}
}

// entries returns the sorted names in a directory of sysfs that begin with prefix; none if there is
// no such directory.
func (fs FS) entries(dir, prefix string) ([]string, error) {
	list, err := os.ReadDir(fs.SysPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}
