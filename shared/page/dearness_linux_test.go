//go:build !race

package page

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the CPU time of the calling thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestSeries_CostOfADay: a chart of 100 series over 24 hours, from a file of a
// million rows, costs at most 50 ms of CPU. The benchmark beside it measures with
// the garbage collector; here other tests run in the same process.
func TestSeries_CostOfADay(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "healthy").serve(t)
	reader, err := at.page.file.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	for range 5 { // beside other tests each can be slowed down
		before := threadTime(t)
		c, err := at.page.chart(t.Context(), reader, dayOfHundred())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
		best = min(best, threadTime(t)-before)
		if len(c.Series) < 99 || c.Points != 288 {
			t.Fatalf("got %d series of %d points, want about 100 of 288", len(c.Series), c.Points)
		}
	}
	t.Logf("%v", best)
	if best > targetSeries24h {
		t.Errorf("it cost %v of CPU, want at most %v", best, targetSeries24h)
	}
}
