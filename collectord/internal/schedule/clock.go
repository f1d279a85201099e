package schedule

import (
	"context"
	"slices"
	"time"
)

// grid is the set of all times, in Unix milliseconds, that are a multiple of
// one of its intervals, in milliseconds.
type grid []int64

func (g grid) with(interval time.Duration) grid {
	if ms := interval.Milliseconds(); !slices.Contains(g, ms) {
		g = append(g, ms)
	}
	return g
}

// after returns the first time of the grid after ms.
func (g grid) after(ms int64) int64 {
	first := (ms/g[0] + 1) * g[0]
	for _, interval := range g[1:] {
		first = min(first, (ms/interval+1)*interval)
	}
	return first
}

// ticker decides when the next tick is. It compares the wall clock with the
// monotonic one: where they disagree the wall clock was set or the machine
// slept, and where they agree on being late the process was delayed.
type ticker struct {
	now       func() time.Time
	grid      grid
	tolerance time.Duration // how late a tick may start, and how large a step goes unnoticed

	next, last int64     // ticks, in ms
	wall, mono time.Time // one moment on both clocks: when next was planned

	missed int
	step   time.Duration

	timer *time.Timer // of sleep; one for all
}

// lookEvery is how often the wall clock is looked at during a long wait, so
// that a tick an hour away is found soon after the clock was set.
const lookEvery = time.Minute

func (c *ticker) start() {
	c.missed, c.step = 0, 0
	c.anchor(c.now())
	c.plan()
}

func (c *ticker) anchor(now time.Time) {
	c.wall, c.mono = now.Round(0), time.Now()
}

// plan chooses the first tick after the present wall time.
func (c *ticker) plan() {
	c.next = c.grid.after(c.wall.UnixMilli())
	if c.next == c.last { // the clock was set back to before the last tick
		c.next = c.grid.after(c.last)
	}
}

// wait sleeps until the next tick and returns its time in ms; not ok if ctx
// ended. A tick that would start later than the tolerance is missed.
func (c *ticker) wait(ctx context.Context) (due int64, ok bool) {
	for {
		now := c.now()
		step := now.Round(0).Sub(c.wall) - time.Since(c.mono)
		late := now.Sub(time.UnixMilli(c.next))
		switch {
		case step.Abs() > c.tolerance:
			c.step += step
			c.anchor(now)
			c.plan()
		case late < 0:
			if !c.sleep(ctx, min(-late, lookEvery)) {
				return 0, false
			}
		case late > c.tolerance:
			c.missed++
			c.next = c.grid.after(c.next)
		case ctx.Err() != nil:
			return 0, false
		default:
			due, c.last = c.next, c.next
			c.anchor(now)
			// From the tick, not from now: those that pass until the next call
			// count as missed.
			c.next = c.grid.after(due)
			return due, true
		}
	}
}

// events returns what happened since the last call.
func (c *ticker) events() (missed int, step time.Duration) {
	missed, step = c.missed, c.step
	c.missed, c.step = 0, 0
	return missed, step
}

// sleep waits for d; false if ctx ended before.
func (c *ticker) sleep(ctx context.Context, d time.Duration) bool {
	if c.timer == nil {
		c.timer = time.NewTimer(d)
	} else {
		c.timer.Reset(d)
	}
	select {
	case <-c.timer.C:
		return true
	case <-ctx.Done():
		c.timer.Stop()
		return false
	}
}
