package proc

import (
	"cmp"
	"errors"
	"path/filepath"
)

// errColumns: a line ends before its last needed column.
var errColumns = errors.New("too few columns")

// parseCounts reads the next fields of line, one for each column, nil for one that is not used. A
// bad number is Absent and costs only itself: bad is the error of the first. err is that of a line
// that ends too early, in which the last number may lack digits.
func parseCounts(line []byte, columns ...*uint64) (bad, err error) {
	for _, column := range columns {
		var field []byte
		field, line = NextField(line)
		if len(field) == 0 {
			return nil, errColumns
		}
		if column == nil {
			continue
		}
		if err := ParseCount(field, column); err != nil && bad == nil {
			bad = err
		}
	}
	return bad, nil
}

// parseLines appends what parse makes of each line of text to list, unless err says that the line
// gives nothing; first is the number of its first line. The error is the first bad or err.
func parseLines[T any](text []byte, first int, list []T, parse func(line []byte) (item T, bad, err error)) ([]T, error) {
	var firstErr error
	for n := first; len(text) > 0; n++ {
		var line []byte
		line, text = NextLine(text)
		item, bad, err := parse(line)
		if err == nil {
			list = append(list, item)
		}
		if err := cmp.Or(err, bad); err != nil && firstErr == nil {
			firstErr = parseError(n, line, err)
		}
	}
	return list, firstErr
}

// isOwn reports whether fs.Proc is the procfs of the reading process. In any
// other one "self" means nothing, and process 1 represents the machine.
func (fs FS) isOwn() bool { return filepath.Clean(fs.Proc) == "/proc" }
