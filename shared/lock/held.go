package lock

import (
	"errors"
	"fmt"
)

// ErrHeld is what errors.Is finds in a *HeldError.
var ErrHeld = errors.New("lock is held")

// HeldError has the holder of a lock.
type HeldError struct {
	Path    string
	PID     int    // 0 when the file names no process
	Command string // "" when not known
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("lock %q is held by %s: only one copy may run on a database; stop it or use another storage.path",
		e.Path, e.holder())
}

// Is makes a *HeldError match ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

func (e *HeldError) holder() string {
	switch {
	case e.PID == 0:
		return "another process"
	case e.Command == "":
		return fmt.Sprintf("process %d", e.PID)
	default:
		return fmt.Sprintf("process %d (%s)", e.PID, e.Command)
	}
}
