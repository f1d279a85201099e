package audit

import (
	"context"
	"slices"

	"belabox-metrics/shared/store"
)

// pageRows is how many rows one read transaction takes.
const pageRows = 10_000

// expected is a row with the copies that the server has.
type expected struct {
	sent  store.Key // its canonical series and its timestamp as sent
	row   store.Key
	found int32 // copies at the server; those of rows with equal sent are counted at the first
	state state
}

type state uint8

const (
	pending  state = iota // not sent: must not be at the server
	uploaded              // delivered: must be there exactly once
	open                  // in a chunk in flight: can be there
)

// window is a span of time, and where the next one begins.
type window struct {
	startMS, endMS int64 // both included
	next           store.Key
	follows        bool // no gap lies between it and the one before
	last           bool
}

// fill reads the rows of the next window into a.rows and returns their number, including those that
// are not compared. A window ends with a whole tick: at WindowRows, before a gap, or at key to.
func (a *auditor) fill(ctx context.Context, w *window, to store.Key) (n int, err error) {
	a.rows = a.rows[:0]
	first, lastMS := w.next, int64(0)
	for cursor := w.next; !w.last; {
		page, err := a.file.States(ctx, cursor, to, pageRows)
		if err != nil {
			return n, err
		}
		w.last = len(page) < pageRows
		for _, row := range page {
			ms := a.names.times.MS(row.Key)
			if ms < a.fromMS {
				cursor = row.Key + 1
				continue
			}
			// Epochs may overlap in true time, so a window ends where it goes back, too.
			gap := n > 0 && (ms-lastMS > a.cfg.Gap.Milliseconds() || ms < lastMS)
			if gap || n >= a.cfg.WindowRows && ms != lastMS {
				w.next, w.last = row.Key, false
				a.dropMoved(first, row.Key)
				w.bound(a.names.times.MS(first), lastMS, !gap)
				return n, nil
			}
			if n == 0 {
				first = row.Key
			}
			n, lastMS, cursor = n+1, ms, row.Key+1
			a.add(row)
		}
	}
	if n > 0 {
		a.dropMoved(first, to+1)
		w.bound(a.names.times.MS(first), a.endOfTime(lastMS), false)
	}
	return n, nil
}

// bound sets the span, from the end of the previous window where no gap lies between, to endMS.
func (w *window) bound(startMS, endMS int64, follows bool) {
	w.startMS = startMS
	if w.follows {
		w.startMS = w.endMS + 1
	}
	w.endMS, w.follows = endMS, follows
}

// endOfTime is the end of the last window: the beginning of the audit, so that samples of a lost
// file are found, unless the device has been off for long.
func (a *auditor) endOfTime(lastMS int64) int64 {
	if now := a.now.UnixMilli(); lastMS >= now-a.cfg.Gap.Milliseconds() {
		return max(lastMS, now)
	}
	return lastMS
}

// add puts a row into the window.
func (a *auditor) add(row store.RowState) {
	switch {
	case row.Null && row.Uploaded:
		a.report.Unsendable++
	case row.Null:
		a.report.Pending++ // becomes a dead letter
	default:
		e := expected{sent: a.names.canonical(row.Key), row: row.Key}
		if row.Uploaded {
			e.state = uploaded
		}
		a.rows = append(a.rows, e)
	}
}

// dropMoved removes the rows that were sent with another timestamp from the window, which spans the
// keys from first up to end.
func (a *auditor) dropMoved(first, end store.Key) {
	moved := a.moved.between(first, end)
	if len(moved) == 0 {
		return
	}
	a.rows = slices.DeleteFunc(a.rows, func(e expected) bool { return moved.Contains(e.row) })
}

// markOpen marks the rows of open chunks. It reads the chunks after the rows: rows that were
// settled in between were read as settled, or are judged again.
func (a *auditor) markOpen(ctx context.Context) error {
	chunks, err := a.file.OpenChunks(ctx)
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(a.rows, byRow) {
		slices.SortFunc(a.rows, byRow)
	}
	for _, c := range chunks {
		for _, key := range c.Keys {
			if i, ok := slices.BinarySearchFunc(a.rows, key, func(e expected, k store.Key) int { return byKey(e.row, k) }); ok {
				a.rows[i].state = open
			}
		}
	}
	return nil
}

func byRow(a, b expected) int  { return byKey(a.row, b.row) }
func bySent(a, b expected) int { return byKey(a.sent, b.sent) }

func byKey(a, b store.Key) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// find returns the first row of the window that is sent as key.
func (a *auditor) find(key store.Key) (int, bool) {
	return slices.BinarySearchFunc(a.rows, key, func(e expected, k store.Key) int { return byKey(e.sent, k) })
}
