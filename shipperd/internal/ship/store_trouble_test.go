package ship

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

// TestDiskFull: the file reaches its end at some transaction, whichever it is.
// The loop continues, nothing is lost or sent twice, and when there is space again,
// or proven rows make some, all is delivered.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	// Where exactly the space ends depends on the pages: try many sizes.
	for room := 0; room <= 12; room += 2 {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 50)
				r.ticks(50, 10*time.Second)
				size, err := r.watch.DataSize(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				// A handle that can make the file no larger than it is, and a bit.
				r.file.MaxPages = int(size/1024) + room
				r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepEvery(2)), testkit.AcceptSome(testkit.KeepEvery(2)))
				r.wire()
				r.run()
				r.sleep(2 * time.Hour)
				r.check()
				if room == 0 {
					r.has("database unusable, delivery waits")
				}
				r.file.MaxPages = 0 // somebody has cleaned up
				r.restart()
				r.deliver(time.Hour)
				told := slices.DeleteFunc(r.lines("in-flight chunks resumed"), func(l string) bool { return !strings.Contains(l, "level=INFO") })
				if len(told) > 2 {
					t.Errorf("%d lines for two runs about what was left open", len(told))
				}
			})
		})
	}
}

// TestDiskFull_ProvenGoFirst: on a full disk proven rows go before their time, so
// that there is space for the new ones.
func TestDiskFull_ProvenGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50)
		r.run()
		r.live(time.Hour, 10*time.Second)
		size, err := r.watch.DataSize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.file.MaxPages = int(size / 1024)
		r.restart()
		r.sleep(30 * time.Minute)
		if c := r.shipper.Stats.Snapshot(); c.Pruned == 0 {
			t.Error("nothing was deleted")
		}
		r.deliver(time.Hour)
		r.has("database usable again")
	})
}

// TestBusy: another process holds the write lock for hours, from each point of a
// chunk's life on.
func TestBusy(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"recorded", "sent", "marked", "verified", "requeued"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.file.BusyTimeout = 5 * time.Millisecond })
				r.ticks(3, 10*time.Second)
				r.vm.Then(testkit.AcceptSome(testkit.KeepEvery(2)), testkit.Answer(500, testkit.KeepEvery(2)))
				var held atomic.Bool
				var release func()
				r.atCrash(func(at string) {
					if at == point && !held.Load() {
						release = storetest.Hold(t, r.file.Path)
						held.Store(true)
					}
				})
				r.run()
				for !held.Load() {
					r.sleep(10 * time.Second)
				}
				r.sleep(5 * time.Hour)
				r.check()
				r.has("database unusable, delivery waits")
				if e := r.shipper.Stats.Snapshot().LastError; e == nil || !strings.Contains(e.Error(), "busy") {
					t.Errorf("health would say %v", e)
				}
				release()
				r.live(10*time.Minute, 10*time.Second)
				r.deliver(time.Hour)
				r.has("database usable again")
			})
		})
	}
}

// TestBusy_AtStart: the lock is held already when the loop begins.
func TestBusy_AtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, func(r *rig) { r.file.BusyTimeout = 5 * time.Millisecond })
		r.ticks(3, 10*time.Second)
		release := storetest.Hold(t, r.file.Path)
		r.run()
		r.sleep(time.Hour)
		if n := len(r.vm.Imports()); n != 0 {
			t.Errorf("%d imports without a record of them", n)
		}
		release()
		r.deliver(time.Hour)
	})
}

// TestStoreTrouble: only damage ends the loop.
func TestStoreTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		f := func(err error, fatal bool) {
			t.Helper()
			wrapped := fmt.Errorf("mark: %w", err)
			if got := r.shipper.storeTrouble(t.Context(), wrapped); (got != nil) != fatal {
				t.Errorf("%v: got %v", err, got)
			}
		}
		f(store.ErrFull, false)
		f(store.ErrBusy, false)
		f(store.ErrReadOnly, false)
		f(errors.New("disk I/O error"), false)
		f(store.ErrDamaged, true)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.shipper.storeTrouble(ended, context.Canceled); err != nil {
			t.Errorf("a stop is no trouble: %v", err)
		}
	})
}
