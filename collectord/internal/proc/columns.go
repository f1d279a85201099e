package proc

import (
	"errors"
	"path/filepath"
)

// errColumns says that a line ends before its last needed column.
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

// isOwn tells whether fs.Proc is the procfs of the reading process. In any
// other one "self" means nothing, and process 1 stands for the machine.
func (fs FS) isOwn() bool { return filepath.Clean(fs.Proc) == "/proc" }
