package store

import (
	"context"
	"database/sql"
	"time"

	"belabox-metrics/shared/clock"
)

// File time is the millisecond in a key. It only moves forward; what it means is said by the epoch
// (docs/decisions/0009-true-time.md).
const (
	// stepMS is how far the wall clock moves against the boot clock before that begins an epoch.
	stepMS = 500
	// aheadMS is how far the wall clock is believed to be behind the newest row, if nobody keeps it
	// right.
	aheadMS = int64(30 * 24 * time.Hour / time.Millisecond)
	// epochMS is how long an epoch lasts if nobody keeps the clock right: the oscillator of a board
	// is wrong by some seconds a day.
	epochMS = int64(24 * time.Hour / time.Millisecond)
	// gridMS is of what file time differs by a multiple from the wall clock, so that ticks stay
	// multiples of their interval.
	gridMS = int64(time.Minute / time.Millisecond)
)

var (
	// firstFileMS is where the file time of a new file begins at the earliest, and wallEndMS where
	// no wall clock takes it any more: the keys end in September 2039.
	firstFileMS = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	wallEndMS   = time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
)

// fileTime is where the file stands: the last epoch and the newest key.
type fileTime struct {
	epoch  Epoch
	own    bool  // it was begun or continued by this run
	newest int64 // millisecond of the greatest key that the file has or had; -1 = none
}

// next returns the file time of a tick, and with it the epoch, as it must stand in the file. ms is
// -1 when file time has ended.
func (f fileTime) next(at clock.Moment, tickMS int64) (ms int64, e Epoch) {
	e = f.epoch
	synchronised := sql.NullBool{Bool: at.Sync == clock.Yes, Valid: at.Sync != clock.Unknown}
	if !e.Synchronised.Bool && synchronised.Valid {
		e.Synchronised = synchronised
	}
	moved := at.WallMinusBoot() - e.WallMinusBoot
	same := e.Boot == at.BootID && (f.own || at.BootID != "") && -stepMS < moved && moved < stepMS
	if ms = tickMS - e.WallOffset; same && f.fits(ms) {
		if e.Synchronised.Bool || ms-e.First.TimestampMS() < epochMS {
			return ms, e
		}
	} else if ms = f.start(tickMS, at.Sync == clock.Yes); !f.fits(ms) {
		return -1, f.epoch
	}
	return ms, Epoch{
		First: PackKey(ms, 0), Boot: at.BootID, WallOffset: tickMS - ms, WallMinusBoot: at.WallMinusBoot(), Synchronised: synchronised,
	}
}

// fits reports whether a row may have this time.
func (f fileTime) fits(ms int64) bool { return f.newest < ms && ms <= MaxTimestampMS }

// start returns where an epoch begins: with the wall clock if that can be right, else right after
// the newest row, at the wall clock's second of the minute.
func (f fileTime) start(tickMS int64, synchronised bool) int64 {
	least := max(f.newest+1, firstFileMS)
	if least <= tickMS && tickMS < wallEndMS && (synchronised || f.newest < 0 || tickMS-f.newest <= aheadMS) {
		return tickMS
	}
	behind := (tickMS - least) % gridMS
	if behind < 0 {
		behind += gridMS
	}
	return least + behind
}

// readFileTime reads where the file stands. Keys that have left it count: rows that were pruned are
// at the server, and dead letters may come back.
func readFileTime(ctx context.Context, q querier) (f fileTime, err error) {
	t, err := readTimeline(ctx, q)
	if err != nil {
		return f, err
	}
	var newest int64
	err = q.QueryRowContext(ctx, `SELECT max(
		coalesce((SELECT max(dedup_key) FROM metrics), 0),
		coalesce((SELECT max(samples) FROM ledger WHERE account IN ('inserted_through', 'pruned_through')), 0),
		coalesce((SELECT max(row_key) FROM dead_letters), 0))`).Scan(&newest)
	if err != nil {
		return f, err
	}
	f.epoch = t[len(t)-1]
	if f.newest = max(Key(newest).TimestampMS(), f.epoch.First.TimestampMS()); f.newest == 0 {
		f.newest = -1
	}
	return f, nil
}

// saveEpoch writes an epoch down that is new, or that has become synchronised.
func (in *Inserter) saveEpoch(ctx context.Context, tx execer, e Epoch) error {
	if e == in.reached.epoch {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO epochs (first_key, boot_id, wall_offset_ms, wall_minus_boot_ms, synchronised) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET synchronised = excluded.synchronised`,
		int64(e.First), e.Boot, e.WallOffset, e.WallMinusBoot, e.Synchronised)
	return err
}
