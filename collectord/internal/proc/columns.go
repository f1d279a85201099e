package proc

import (
	"errors"
	"path/filepath"
)

// errColumns: a line ends before its last needed column.
var errColumns = errors.New("too few columns")

// parseUints reads the next len(into) fields of line as numbers and returns
// what follows them.
func parseUints(line []byte, into []uint64) (rest []byte, err error) {
	for i := range into {
		var field []byte
		field, line = NextField(line)
		if len(field) == 0 {
			return nil, errColumns
		}
		if into[i], err = ParseUint(field); err != nil {
			return nil, err
		}
	}
	return line, nil
}

// parseLines appends what parse makes of each line of text to list; first is the
// number of its first line. The error is that of the first bad line.
func parseLines[T any](text []byte, first int, list []T, parse func(line []byte) (T, error)) ([]T, error) {
	var firstErr error
	for n := first; len(text) > 0; n++ {
		var line []byte
		line, text = NextLine(text)
		item, err := parse(line)
		switch {
		case err == nil:
			list = append(list, item)
		case firstErr == nil:
			firstErr = parseError(n, line, err)
		}
	}
	return list, firstErr
}

// isOwn reports whether fs.Proc is the procfs of the reading process. In any
// other one "self" means nothing, and process 1 represents the machine.
func (fs FS) isOwn() bool { return filepath.Clean(fs.Proc) == "/proc" }
