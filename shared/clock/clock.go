// Package clock reads the clocks of the machine: the wall clock, the clock that runs from the boot
// on, and whether somebody keeps the wall clock right. It promises that the two times of a Moment
// are of the same instant, to ten milliseconds as a rule. It does not promise that the wall clock
// is right where it says that it is synchronised: it passes on what the kernel or timesyncd say.
package clock

import (
	"bytes"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Sync says whether somebody keeps the wall clock right.
type Sync int8

const (
	Unknown Sync = iota // nobody can tell
	No
	Yes
)

// Moment is an instant on all clocks.
type Moment struct {
	Wall   time.Time
	Boot   time.Duration // since the boot, time in suspend included; it never steps
	BootID string        // "" where it is not known: then Boot is of this process
	Sync   Sync
}

// WallMinusBoot is where the boot clock stands at 0, in milliseconds of the wall clock. It moves
// when the wall clock is set.
func (m Moment) WallMinusBoot() int64 { return m.Wall.UnixMilli() - m.Boot.Milliseconds() }

// together is how far two readings may lie apart, and readings is how often it is tried: a process
// may lose the processor between them.
const (
	together = 10 * time.Millisecond
	readings = 5
)

// Read reads all clocks. It costs some microseconds.
func Read() Moment {
	m := Moment{BootID: thisBoot(), Sync: Synchronised()}
	m.Wall, m.Boot = pair(time.Now, Boot)
	return m
}

// pair reads the two clocks together: the best of some readings, the first if it is good.
func pair(now func() time.Time, boot func() time.Duration) (wall time.Time, since time.Duration) {
	least := time.Duration(-1)
	for range readings {
		before := boot()
		at := now().Round(0)
		apart := boot() - before
		if least < 0 || apart < least {
			wall, since, least = at, before+apart/2, apart
		}
		if least <= together {
			break
		}
	}
	return wall, since
}

// thisBoot remembers what cannot change.
var thisBoot = sync.OnceValue(BootID)

// BootID names the boot; "" where the kernel has no name for it. The unit of a daemon passes it
// (%b), because a daemon that sees only itself in /proc cannot read it.
// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
func BootID() string {
	text := []byte(os.Getenv("BELABOX_BOOT_ID"))
	if len(text) == 0 {
		var err error
		if text, err = os.ReadFile("/proc/sys/kernel/random/boot_id"); err != nil {
			return ""
		}
	}
	id, err := uuid.ParseBytes(bytes.TrimSpace(text)) // systemd writes it without dashes
	if err != nil {
		return ""
	}
	return id.String()
}
