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

// limitHeap keeps the heap small, unless GOGC is set.
func limitHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// useOneCore keeps the Go runtime on one core, unless GOMAXPROCS is set. A daemon does one thing at
// a time, but with more cores the runtime wakes a second one whenever a goroutine becomes ready:
// that is 15 % of all CPU time of both daemons, for nothing.
func useOneCore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
