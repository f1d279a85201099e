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
		r := Remembered[int]{Ask: func(context.Context) (int, error) {
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
		f(199*time.Second, 2, nil) // a thousand times what the last one took
		cost, fails = 0, errBusy
		f(time.Second, 3, errBusy)
		fails = nil
		f(9*time.Second, 3, errBusy) // an error is an answer too
		f(time.Second, 4, nil)
	})
}

// TestRemembered_Gone: the end of one who asks is nobody else's answer.
func TestRemembered_Gone(t *testing.T) {
	t.Parallel()
	r := Remembered[int]{Ask: func(ctx context.Context) (int, error) { return 1, ctx.Err() }}
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
