package wal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// rig is a checkpointer over a WAL that is only a file of some size.
type rig struct {
	path  string
	calls int
	err   error
	log   bytes.Buffer
}

func newRig(t *testing.T) *rig {
	return &rig{path: filepath.Join(t.TempDir(), "metrics.db")}
}

func (r *rig) checkpointer(owner bool) *Checkpointer {
	return New(Config{Path: r.path, Interval: time.Hour, Size: 64 << 20, Owner: owner},
		func(context.Context) (store.CheckpointResult, error) {
			r.calls++
			return store.CheckpointResult{WALBefore: store.WALSize(r.path), Complete: r.err == nil}, r.err
		}, slog.New(slog.NewTextHandler(&r.log, nil)))
}

func (r *rig) grow(t *testing.T, bytes int64) {
	t.Helper()
	f, err := os.Create(r.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(bytes); err != nil { // sparse: nothing is written
		t.Fatal(err)
	}
}

// after runs the checkpointer for a while of fake time.
func after(t *testing.T, d time.Duration, k *Checkpointer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointer_ChecksEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(t, 1000)
		after(t, 3*time.Hour+time.Minute, r.checkpointer(true))
		if r.calls != 3 {
			t.Errorf("%d checkpoints in three hours, want 3", r.calls)
		}
	})
}

func TestCheckpointer_ChecksAtSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		k := r.checkpointer(true)
		r.grow(t, 48<<20)
		after(t, time.Minute, k)
		if r.calls != 0 {
			t.Errorf("%d checkpoints at three quarters of 64 MiB exactly, want 0", r.calls)
		}
		r.grow(t, 48<<20+1)
		after(t, 2*look, k)
		if r.calls == 0 {
			t.Error("no checkpoint above three quarters of 64 MiB")
		}
	})
}

// An insert waits for a checkpoint that is needed, and not for ever for one that
// does not help.
func TestCheckpointer_Headroom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		k := r.checkpointer(true)
		var inTheWay atomic.Bool
		var calls atomic.Int64
		k.checkpoint = func(context.Context) (store.CheckpointResult, error) {
			calls.Add(1)
			if inTheWay.Load() {
				return store.CheckpointResult{}, nil
			}
			r.grow(t, 0)
			return store.CheckpointResult{Complete: true}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		wait := func(bytes int64) time.Duration {
			r.grow(t, bytes)
			start := time.Now()
			k.EnsureHeadroom(t.Context())
			return time.Since(start)
		}
		if took := wait(56 << 20); took != 0 || calls.Load() != 0 {
			t.Errorf("seven eighths full: waited %v, %d checkpoints", took, calls.Load())
		}
		if took := wait(56<<20 + 1); took > time.Second || calls.Load() != 1 {
			t.Errorf("above that: waited %v, %d checkpoints, want one at once", took, calls.Load())
		}
		inTheWay.Store(true)
		if took := wait(65 << 20); took != headroomWait {
			t.Errorf("with a reader in the way: waited %v, want %v", took, headroomWait)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		k.Final(t.Context())
	})
}

// A full disk brings a checkpoint at once, whatever the size, and one for each time
// it is told.
func TestCheckpointer_DiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(t, 1000)
		k := r.checkpointer(true)
		k.DiskFull()
		k.DiskFull()
		after(t, 4*time.Second, k)
		if r.calls != 1 {
			t.Errorf("%d checkpoints, want 1", r.calls)
		}
		after(t, time.Minute, k)
		if r.calls != 1 {
			t.Errorf("%d checkpoints a minute later, want still 1", r.calls)
		}
	})
}

func TestCheckpointer_FinalWhateverTheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(t, 1)
		k := r.checkpointer(true)
		after(t, time.Second, k)
		k.Final(t.Context())
		if r.calls != 1 {
			t.Errorf("%d checkpoints at the end, want 1", r.calls)
		}
		held, err := lock.Acquire(r.path + ".checkpoint.lock")
		if err != nil {
			t.Fatalf("the lock after the end: %v", err)
		}
		_ = held.Release()
	})
}

// shipperd steps in only while collectord is away, and lets go at once.
func TestCheckpointer_OneAtATime(t *testing.T) {
	r := newRig(t)
	r.grow(t, 65<<20)
	owner, other := r.checkpointer(true), r.checkpointer(false)
	if !owner.take() {
		t.Fatal("the owner did not get the lock")
	}
	other.once(t.Context(), false)
	if r.calls != 0 {
		t.Error("the other daemon checkpointed while the owner lives")
	}
	owner.Final(t.Context())
	r.calls = 0
	other.once(t.Context(), false)
	if r.calls != 1 {
		t.Error("nobody checkpoints while the owner is away")
	}
	if !owner.take() {
		t.Error("the other daemon kept the lock")
	}
	_ = owner.held.Release()
}

func TestCheckpointer_FailureIsLoggedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(t, 65<<20)
		r.err = errors.New("no space left")
		k := r.checkpointer(true)
		after(t, 31*time.Second, k)
		if r.calls < 5 {
			t.Errorf("%d tries in half a minute, want one each %v", r.calls, look)
		}
		if n := strings.Count(r.log.String(), "no space left"); n != 1 {
			t.Errorf("the failure is logged %d times in half a minute, want once", n)
		}
		r.err = nil
		after(t, 2*look, k)
		if !strings.Contains(r.log.String(), "works again") {
			t.Errorf("no line at recovery: %s", r.log.String())
		}
	})
}

func TestCheckpointer_TellsWhatItDid(t *testing.T) {
	r := newRig(t)
	r.grow(t, 5000)
	k := r.checkpointer(true)
	var told store.CheckpointResult
	k.Done = func(c store.CheckpointResult) { told = c }
	k.once(t.Context(), true)
	if told.WALBefore != 5000 {
		t.Errorf("told %+v, want a WAL of 5000 bytes before", told)
	}
	_ = k.held.Release()
}

// TestCheckpointer_LooksInTime: a write of shipperd waits for the next look of collectord, whenever
// that began to look.
func TestCheckpointer_LooksInTime(t *testing.T) {
	for begin := range 10 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			owner, other := r.checkpointer(true), r.checkpointer(false)
			owner.checkpoint = func(context.Context) (store.CheckpointResult, error) {
				r.grow(t, 0)
				return store.CheckpointResult{Complete: true}, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			time.Sleep(time.Duration(begin) * look / 10)
			go func() { done <- owner.Run(ctx) }()
			time.Sleep(look + time.Millisecond) // the first look is over
			for range 3 {
				r.grow(t, 65<<20)
				other.EnsureHeadroom(t.Context())
				if size := store.WALSize(r.path); size != 0 {
					t.Errorf("collectord begins %d tenths of its interval after a multiple: shipperd writes into a WAL of %d bytes", begin, size)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			owner.Final(t.Context())
		})
	}
}
