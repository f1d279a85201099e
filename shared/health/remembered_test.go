package health

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, cost := 0, time.Duration(0)
		var fails error
		r := Remembered[int]{Read: func(context.Context) (int, error) {
			time.Sleep(cost)
			asked++
			return asked, fails
		}}
		f := func(wait time.Duration, want int, wantErr error) {
			t.Helper()
			time.Sleep(wait)
			if got, err := r.Get(t.Context()); got != want || !errors.Is(err, wantErr) {
				t.Errorf("after %v: got %d, %v, want %d, %v", wait, got, err, want, wantErr)
			}
		}
		f(0, 1, nil)
		f(10*time.Second-1, 1, nil)
		cost = 200 * time.Millisecond
		f(1, 2, nil)
		f(59*time.Second, 2, nil) // a thousand times what the last one took is longer than a minute
		cost = 2 * time.Second
		f(time.Second, 3, nil)
		f(197*time.Second, 3, nil) // a hundred times, and the reading itself has taken two seconds of it
		cost, fails = 0, errBusy
		f(time.Second, 4, errBusy)
		fails = nil
		f(time.Second, 4, errBusy) // an error is an answer too, for a shorter time
		f(time.Second, 5, nil)
	})
}

// TestRemembered_Share: who asks without end gets a share of the time, and a failure costs no more.
func TestRemembered_Share(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, takes := 0, time.Duration(0)
		var fail error
		m := Remembered[int]{Age: time.Minute, Share: 100, Read: func(ctx context.Context) (int, error) {
			asked++
			time.Sleep(takes)
			return asked, errors.Join(fail, ctx.Err())
		}}
		// Asks each second for a while, and returns how often the question was passed on.
		during := func(d time.Duration) int {
			before := asked
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				_, _ = m.Get(t.Context())
			}
			return asked - before
		}
		if got := during(10 * time.Minute); got != 10 {
			t.Errorf("a cheap question: passed on %d times in 10 min, want 10", got)
		}
		takes = 3 * time.Second
		if got := during(time.Hour); got < 11 || got > 13 {
			t.Errorf("one of 3 s: passed on %d times in an hour, want 12", got)
		}
		time.Sleep(time.Hour)
		fail, takes = errors.New("no"), 0
		if got := during(10 * time.Second); got != 5 {
			t.Errorf("a failure at once: passed on %d times in 10 s, want 5", got)
		}
		takes = 4 * time.Second
		if got := during(time.Hour); got < 11 || got > 13 {
			t.Errorf("a failure that takes 4 s: passed on %d times in an hour, want 12", got)
		}
		// Who asked goes away: the answer is for the next one.
		time.Sleep(time.Hour)
		fail = nil
		gone, cancel := context.WithTimeout(t.Context(), time.Hour)
		cancel()
		first, err := m.Get(gone)
		if err != nil {
			t.Errorf("a question whose asker went away: %v", err)
		}
		if second, err := m.Get(t.Context()); second != first || err != nil {
			t.Errorf("the next one: got %d, %v, want %d", second, err, first)
		}
		// The limit of the question stays.
		time.Sleep(time.Hour)
		limited, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Get(limited); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond the limit: got %v", err)
		}
	})
}

// TestRemembered_Gone: the end of one who asks is nobody else's answer.
func TestRemembered_Gone(t *testing.T) {
	t.Parallel()
	r := Remembered[int]{Read: func(ctx context.Context) (int, error) { return 1, ctx.Err() }}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Get(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got, err := r.Get(t.Context()); got != 1 || err != nil {
		t.Errorf("got %d, %v, want 1, nil", got, err)
	}
}

var errBusy = errors.New("busy")
