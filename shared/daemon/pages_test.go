package daemon

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestPages_When: soon after work, and regularly without any, and while it never rests.
func TestPages_When(t *testing.T) {
	t.Parallel()
	f := func(used func(second int) bool, want ...int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer synctest.Wait()
			defer cancel()
			p, start := NewPages(), time.Now()
			var got []int
			go p.each(ctx, func() error {
				got = append(got, int(time.Since(start).Seconds()))
				return nil
			})
			for second := range 100 {
				synctest.Wait()
				if used(second) {
					p.Used()
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("released at %d s, want %d", got, want)
			}
		})
	}
	f(func(int) bool { return false }, 5, 35, 65, 95)
	f(func(second int) bool { return second == 20 || second == 50 || second == 80 }, 5, 25, 55, 85)
	f(func(second int) bool { return second > 10 }, 5, 39, 73)
}
