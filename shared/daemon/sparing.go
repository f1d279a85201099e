package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent: what lives in a daemon is a megabyte or two, and by default the Go
// runtime begins to collect at 4 MB. This spares 1.5 to 4 MB of the two daemons' 36
// to 38, and draining a million rows takes no more CPU time than before.
const gcPercent = 25

// spareMemory keeps the heap small, unless the user has said how large it may be.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// oneCore keeps the Go runtime on one core, unless the user has said how many it
// may have. A daemon does one thing at a time, but with more cores the runtime wakes
// a second one whenever a goroutine becomes ready: that is 15 % of all CPU time of
// both daemons, for nothing.
func oneCore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
