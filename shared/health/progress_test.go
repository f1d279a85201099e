package health

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewProgress(30*time.Second, nil)
		f := func(wantSince time.Duration, wantAlive bool) {
			t.Helper()
			if p.Since() != wantSince || p.Alive() != wantAlive {
				t.Errorf("got %v, alive %v, want %v, %v", p.Since(), p.Alive(), wantSince, wantAlive)
			}
		}
		f(0, true) // a loop that has only just been made is not dead
		time.Sleep(30 * time.Second)
		f(30*time.Second, true)
		time.Sleep(time.Nanosecond)
		f(30*time.Second+1, false)
		p.Beat()
		f(0, true)
		time.Sleep(time.Hour)
		f(time.Hour, false)
	})
}

// TestProgress_Monotonic: package time goes by the monotonic clock wherever a time carries its
// reading, so a clock step can fool a Progress only by way of a time without one.
func TestProgress_Monotonic(t *testing.T) {
	t.Parallel()
	p := NewProgress(time.Second, nil)
	if got := p.start.String(); !strings.Contains(got, " m=") {
		t.Errorf("got start %s, want one with a monotonic reading", got)
	}
}

// TestProgress_OwnClock has a clock that runs backwards: a heartbeat is never negative.
func TestProgress_OwnClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := NewProgress(time.Second, func() time.Time { return now })
	now = now.Add(-time.Minute)
	if p.Since() != 0 || !p.Alive() {
		t.Errorf("got %v, alive %v, want 0, true", p.Since(), p.Alive())
	}
}

func TestProgress_Cost(t *testing.T) {
	p := NewProgress(time.Second, nil)
	alive := true
	if n := testing.AllocsPerRun(100, func() {
		p.Beat()
		alive = alive && p.Alive()
	}); n != 0 || !alive {
		t.Errorf("got %v allocations, alive %v, want 0, true", n, alive)
	}
}

// TestProgress_Concurrent is for the race detector.
func TestProgress_Concurrent(t *testing.T) {
	t.Parallel()
	p := NewProgress(time.Minute, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				p.Beat()
				if !p.Alive() {
					t.Error("got a dead loop, want a living one")
				}
			}
		})
	}
	wg.Wait()
}
