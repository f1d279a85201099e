package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"sort"
	"time"

	"belabox-metrics/shared/clock"
)

// Dated is a sample with a time of its own, which counts as true time
// (docs/decisions/0014-textfile.md).
type Dated struct {
	Sample
	MS   int64     // milliseconds since 1970
	Fate DatedFate // what InsertDated has made of it
}

// DatedFate says what became of a sample with a time of its own.
type DatedFate uint8

// The fates; all but DatedWaiting are final.
const (
	DatedWaiting  DatedFate = iota // its time has not come, or the file has not taken it yet
	DatedStored                    // it is in the file, perhaps since an earlier call
	DatedTooOld                    // refused: nobody keeps it that long, or the server may have it already
	DatedNowhere                   // refused: between two runs of the device no key stands for its time
	DatedUnstored                  // refused: not finite, or of a series too many (MaxSeries)
)

// InsertDated stores samples with times of their own in one transaction and sets their fates; on an
// error it does neither. Samples that wait belong into a later call. None is stored twice: its key
// tells whether the file has it, and one that may have left the file is refused, as is one that is
// older than keep before the present; 0 = no limit. inserted counts the new rows. Call it after
// Record, from the same goroutine; errors are those of Record.
func (in *Inserter) InsertDated(ctx context.Context, at clock.Moment, keep time.Duration, dated []*Dated) (inserted int, err error) {
	if dated = slices.DeleteFunc(slices.Clone(dated), func(d *Dated) bool { return d.Fate != DatedWaiting }); len(dated) == 0 {
		return 0, nil
	}
	in.fresh = in.fresh[:0]
	fates := make([]DatedFate, len(dated))
	err = in.w.tx(ctx, in.durability, func(ctx context.Context, tx execer) error {
		clear(fates)
		if _, err := in.look(ctx, tx); err != nil {
			return err
		}
		samples := make([]Sample, len(dated))
		for i, d := range dated {
			samples[i] = d.Sample
		}
		if err := in.place(ctx, tx, at, keep, dated, fates); err != nil {
			return err
		}
		// Rows above the mark are booked with their tick, see bookTick.
		n := sort.Search(len(in.rows), func(i int) bool { return in.rows[i].key > in.through })
		var below, above InsertResult
		if err := in.insertRows(ctx, tx, in.rows[:n], samples, &below); err != nil {
			return err
		}
		if err := in.insertRows(ctx, tx, in.rows[n:], samples, &above); err != nil {
			return err
		}
		inserted = below.Inserted + above.Inserted
		return book(ctx, tx, accountInserted, int64(below.Inserted))
	})
	if err != nil {
		return 0, in.failed("insert dated samples", err)
	}
	for i, d := range dated {
		d.Fate = fates[i]
	}
	return inserted, nil
}

// place fills in.rows with the samples that are to be stored, by their keys, and decides the fates.
func (in *Inserter) place(ctx context.Context, tx execer, at clock.Moment, keep time.Duration, dated []*Dated, fates []DatedFate) error {
	in.rows = in.rows[:0]
	t, err := readTimeline(ctx, tx)
	if err != nil {
		return err
	}
	oldestMS := int64(math.MinInt64)
	if keep > 0 {
		oldestMS = t.Now(at).Add(-keep).UnixMilli()
	}
	// At and below gone there may have been rows that are at the server and no longer here: pruned
	// ones, and those of a file before this one.
	var gone Key
	err = scan(tx.QueryRowContext(ctx, `SELECT max(coalesce((SELECT min(first_key) FROM epochs WHERE first_key > 0), 9223372036854775807) - 1,
		coalesce((SELECT samples FROM ledger WHERE account = ?), -1))`, accountPruned), &gone)
	if err != nil {
		return err
	}
	var keys KeySet
	others := map[Key]Key{} // where a row can be that was placed before its epoch was corrected
	for i, d := range dated {
		if math.IsNaN(d.Value) || math.IsInf(d.Value, 0) {
			fates[i] = DatedUnstored
			continue
		}
		places := t.places(d.MS, in.reached.newest)
		switch last := t[len(t)-1]; {
		case d.MS < oldestMS:
			fates[i] = DatedTooOld
			continue
		case len(places) == 0 && d.MS-last.Offset() > in.reached.newest:
			continue // it waits
		case len(places) == 0:
			fates[i] = DatedNowhere
			continue
		}
		switch err := in.find(ctx, tx, d.Series); {
		case errors.Is(err, errTooManySeries):
			fates[i] = DatedUnstored
			continue
		case err != nil:
			return err
		}
		fates[i] = DatedStored
		key := PackKey(places[0], d.Series.id)
		in.rows = append(in.rows, keyed{key, i})
		keys = append(keys, key)
		for _, ms := range places[1:] {
			other := PackKey(ms, d.Series.id)
			others[other] = key
			keys = append(keys, other)
		}
	}
	known := map[Key]bool{}
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var k Key
		err := rows.Scan(&k)
		known[k] = true
		if key, ok := others[k]; ok {
			known[key] = true
		}
		return err
	}, `SELECT dedup_key FROM metrics WHERE dedup_key IN (SELECT value FROM json_each(?1))
		UNION ALL SELECT row_key FROM dead_letters WHERE row_key IN (SELECT value FROM json_each(?1))`, keys.json())
	if err != nil {
		return err
	}
	in.rows = slices.DeleteFunc(in.rows, func(row keyed) bool {
		if !known[row.key] && row.key <= gone {
			fates[row.sample] = DatedTooOld
		}
		return known[row.key] || row.key <= gone
	})
	sortRows(in.rows)
	return nil
}

// places returns the milliseconds that the key of a sample with a time of its own can have, up to
// newest. The first is where it belongs: in the newest epoch that has this time. At the others it
// can have been put while the true time of their epoch was not known, and the wall clock counted.
func (t Timeline) places(trueMS, newest int64) (places []int64) {
	var others []int64
	for i := len(t) - 1; i >= 0; i-- {
		end := newest + 1
		if i+1 < len(t) {
			end = t[i+1].First.TimestampMS()
		}
		in := func(ms int64) bool { return t[i].First.TimestampMS() <= ms && ms < end }
		if ms := trueMS - t[i].Offset(); in(ms) {
			places = append(places, ms)
		}
		if ms := trueMS - t[i].WallOffset; t[i].Corrected() && in(ms) {
			others = append(others, ms)
		}
	}
	if len(places) == 0 {
		return nil
	}
	return append(places, others...)
}
