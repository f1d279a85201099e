package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"belabox-metrics/shared/clock"
)

// How says where the true time of an epoch comes from; see docs/decisions/0009-true-time.md.
type How string

// The sources of true time, best first.
const (
	HowUnknown     How = ""            // not known yet: rows are not sent
	HowClock       How = "clock"       // the wall clock was right
	HowKernel      How = "kernel"      // the clock was synchronised at another time of the same boot
	HowServer      How = "server"      // the server's time, in the same boot
	HowEstimated   How = "estimated"   // the boot ended without knowing; placed between its neighbours
	HowUnconfirmed How = "unconfirmed" // nobody can tell; the wall clock is used
)

// Epoch is a span of keys in which file time, the wall clock and CLOCK_BOOTTIME ran together; a row
// of table epochs. All times are in milliseconds.
type Epoch struct {
	First         Key    // it ends before the First of the next one
	Boot          string // boot id; "" where it is not known
	WallOffset    int64  // wall clock minus the key's millisecond
	WallMinusBoot int64  // wall clock minus CLOCK_BOOTTIME when it began
	Synchronised  sql.NullBool
	TrueOffset    int64 // true time minus the key's millisecond; meaningful unless How is HowUnknown
	How           How
}

// Offset is what must be added to a key's millisecond: the true offset, or the wall clock's
// where that is not known yet.
func (e Epoch) Offset() int64 {
	if e.How == HowUnknown {
		return e.WallOffset
	}
	return e.TrueOffset
}

// Corrected reports whether true time is known and differs from the wall clock's.
func (e Epoch) Corrected() bool { return e.How != HowUnknown && e.TrueOffset != e.WallOffset }

// Timeline has the epochs of a file in the order of their keys, at least one. It turns keys into
// times and times into keys.
type Timeline []Epoch

// at returns the index of the epoch of k.
func (t Timeline) at(k Key) int {
	i, found := slices.BinarySearchFunc(t, k, func(e Epoch, k Key) int {
		switch {
		case e.First < k:
			return -1
		case e.First > k:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return max(i, 0)
}

// Epoch returns the epoch of k.
func (t Timeline) Epoch(k Key) Epoch { return t[t.at(k)] }

// MS returns the time of k in milliseconds since 1970: true time, or the wall clock where that is
// not known yet.
func (t Timeline) MS(k Key) int64 { return k.TimestampMS() + t.Epoch(k).Offset() }

// Now returns the true time of a moment as far as the epoch that it is in knows it, else what the
// wall clock says.
func (t Timeline) Now(at clock.Moment) time.Time {
	last := t[len(t)-1]
	if moved := at.WallMinusBoot() - last.WallMinusBoot; last.Boot != at.BootID || at.BootID == "" || moved <= -stepMS || moved >= stepMS {
		return at.Wall
	}
	return at.Wall.Add(time.Duration(last.Offset()-last.WallOffset) * time.Millisecond)
}

// trueNow is the true time, as far as the file knows it.
func (ob *Outbox) trueNow(ctx context.Context, q querier) (time.Time, error) {
	t, err := readTimeline(ctx, q)
	if err != nil {
		return time.Time{}, err
	}
	at := clock.Read()
	at.Wall = ob.o.Now()
	return t.Now(at), nil
}

// End returns the key before which all rows with the Offset of k's epoch end, as far as no epoch
// with another one comes between.
func (t Timeline) End(k Key) Key {
	i := t.at(k)
	for _, e := range t[i+1:] {
		if e.Offset() != t[i].Offset() || (e.How == HowUnknown) != (t[i].How == HowUnknown) {
			return e.First
		}
	}
	return math.MaxInt64
}

// alike returns how many of the keys, from the first one on, have its Offset.
func (t Timeline) alike(keys KeySet) int {
	end := t.End(keys[0])
	if end == math.MaxInt64 {
		return len(keys)
	}
	n, _ := slices.BinarySearch(keys, end)
	return n
}

// Known returns the key below which the true time of every row is known.
func (t Timeline) Known() Key {
	for _, e := range t {
		if e.How == HowUnknown {
			return e.First
		}
	}
	return math.MaxInt64
}

// KeyRange is a span of keys, both ends inclusive.
type KeyRange struct{ From, To Key }

var allKeys = KeyRange{0, math.MaxInt64}

// Ranges returns the keys of all rows whose time (see MS) is in fromMS..toMS, both inclusive, in
// ascending order. Neighbours are one range.
func (t Timeline) Ranges(fromMS, toMS int64) []KeyRange {
	var ranges []KeyRange
	for i, e := range t {
		end := Key(math.MaxInt64)
		if i+1 < len(t) {
			end = t[i+1].First - 1
		}
		from := max(e.First, packClamped(fromMS-e.Offset(), 0))
		to := min(end, packClamped(toMS-e.Offset(), MaxSeries))
		if from > to || toMS-e.Offset() < 0 || fromMS-e.Offset() > MaxTimestampMS {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].To+1 == from {
			ranges[n-1].To = to
			continue
		}
		ranges = append(ranges, KeyRange{from, to})
	}
	return ranges
}

// packClamped is PackKey with ms brought into the range of keys.
func packClamped(ms, id int64) Key { return PackKey(min(max(ms, 0), MaxTimestampMS), id) }

const queryEpochs = `SELECT first_key, boot_id, wall_offset_ms, wall_minus_boot_ms, synchronised, coalesce(true_offset_ms, 0), coalesce(how, '')
	FROM epochs ORDER BY first_key`

func scanEpoch(rows *sql.Rows) (e Epoch, err error) {
	err = rows.Scan(&e.First, &e.Boot, &e.WallOffset, &e.WallMinusBoot, &e.Synchronised, &e.TrueOffset, &e.How)
	return e, err
}

// Timeline reads the epochs of the file.
func (f *file) Timeline(ctx context.Context) (Timeline, error) { return readTimeline(ctx, f.db) }

func readTimeline(ctx context.Context, q querier) (Timeline, error) {
	t, err := all(ctx, q, scanEpoch, queryEpochs)
	if err != nil {
		return nil, fmt.Errorf("read epochs: %w", err)
	}
	if len(t) == 0 || t[0].First > 0 {
		t = append(Timeline{{How: HowUnconfirmed}}, t...) // no row is there, see dropEpochs
	}
	return t, nil
}

// ranges returns the keys of the rows of a span of time, both ends inclusive.
func (f *file) ranges(ctx context.Context, fromMS, toMS int64) ([]KeyRange, error) {
	t, err := f.Timeline(ctx)
	if err != nil {
		return nil, err
	}
	return t.Ranges(fromMS, toMS), nil
}

// offsetOf is the SQL expression for the Offset of the epoch of a key, a column with its table.
func offsetOf(key string) string {
	return "coalesce((SELECT coalesce(true_offset_ms, wall_offset_ms) FROM epochs WHERE first_key <= " + key + " ORDER BY first_key DESC LIMIT 1), 0)"
}

// Correct writes down the true time of epochs, all of them in one synced transaction: First says
// which, TrueOffset and How what. An epoch whose true time is known keeps it, because its samples
// may have left. Crash window: none, either all of them are known after it or what was before.
func (ob *Outbox) Correct(ctx context.Context, epochs ...Epoch) error {
	err := ob.w.tx(ctx, nothing, func(ctx context.Context, tx execer) error {
		for _, e := range epochs {
			if _, err := tx.ExecContext(ctx, "UPDATE epochs SET true_offset_ms = ?, how = ? WHERE first_key = ? AND how IS NULL",
				e.TrueOffset, e.How, int64(e.First)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record the true time: %w", err)
	}
	return nil
}

// dropEpochs deletes epochs of which neither a row nor a dead letter is left. The one before an
// epoch whose true time is not known stays: that one begins behind it. It may go if its own time is
// not known either, and no later epoch of its boot is left: that is so where nothing is ever sent.
func dropEpochs(ctx context.Context, tx execer) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM epochs WHERE first_key IN (
		SELECT first_key FROM (SELECT first_key, how, boot_id, lead(first_key) OVER o AS next, lead(how) OVER o AS known, lead(boot_id) OVER o AS next_boot
			FROM epochs WINDOW o AS (ORDER BY first_key))
		 WHERE (known IS NOT NULL OR how IS NULL AND next_boot <> boot_id)
		   AND NOT EXISTS (SELECT 1 FROM metrics WHERE dedup_key >= first_key AND dedup_key < next)
		   AND NOT EXISTS (SELECT 1 FROM dead_letters
			WHERE coalesce(row_key, timestamp_ms << 22) >= first_key AND coalesce(row_key, timestamp_ms << 22) < next))`)
	return err
}
