package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// NumberSeries is a series of numbers as a chart wants it.
type NumberSeries struct {
	ID   int64
	Name string // with dots
	Tags string // canonical JSON object
}

// SeriesNamed returns the number series of a device that have one of the names,
// at most limit, the oldest first, and how many more there are. It reads the
// table of series, which is small beside that of the rows.
func (r *Reader) SeriesNamed(ctx context.Context, device string, names []string, limit int) (series []NumberSeries, more int, err error) {
	return r.numberSeries(ctx, device, "name", names, limit)
}

// SeriesByID returns those of the number series ids that belong to a device, the oldest first.
func (r *Reader) SeriesByID(ctx context.Context, device string, ids []int64) ([]NumberSeries, error) {
	series, _, err := r.numberSeries(ctx, device, "id", ids, len(ids))
	return series, err
}

// numberSeries returns the series whose column has one of the values.
func (r *Reader) numberSeries(ctx context.Context, device, column string, values any, limit int) (series []NumberSeries, more int, err error) {
	wanted, err := json.Marshal(values)
	if err != nil {
		return nil, 0, fmt.Errorf("find series: %w", err)
	}
	err = each(ctx, r.db, func(rows *sql.Rows) error {
		var s NumberSeries
		if err := rows.Scan(&s.ID, &s.Name, &s.Tags); err != nil {
			return err
		}
		if len(series) == limit {
			more++
			return nil
		}
		series = append(series, s)
		return nil
	}, `SELECT id, name, tags FROM series WHERE device_id = ? AND value_type = 0
		AND `+column+` IN (SELECT value FROM json_each(?)) ORDER BY id`, device, string(wanted))
	if err != nil {
		return nil, 0, fmt.Errorf("find series: %w", err)
	}
	return series, more, nil
}

// queryProbe walks from tick to tick by the key, never by reading what lies
// between: the key of the first row at or after a time is that of a tick, and
// (tick, series) is the key of a sample. So its cost is that of the probes, about
// 3 µs each on a PC, and of the samples found, 0.8 µs each, whatever the file
// holds. A test asserts its plan.
const queryProbe = `WITH RECURSIVE
	wanted(id) AS MATERIALIZED (SELECT value FROM json_each(?1)),
	tick(ms) AS (
		SELECT min(dedup_key) >> 22 FROM metrics WHERE dedup_key >= ?2 << 22
		UNION ALL
		SELECT (SELECT min(dedup_key) >> 22 FROM metrics WHERE dedup_key >= ((ms / ?4 + 1) * ?4) << 22)
		  FROM tick WHERE ms < ?3)
	SELECT m.dedup_key, m.value
	  FROM tick CROSS JOIN wanted CROSS JOIN metrics m ON m.dedup_key = (tick.ms << 22 | wanted.id)
	 WHERE tick.ms < ?3 AND m.value IS NOT NULL`

// Probe calls f with samples of the series ids whose time, see Timeline.MS, is between from
// and to, exclusive, in the order in which they were taken. From each span of every
// milliseconds it takes the first tick that has any row, and of that tick the series that
// are in it. With every at 1 it takes every tick. Spans are multiples of every in file
// time, as the ticks are multiples of their interval up to a minute: a collector with
// an interval of its own is met where both fall together.
func (r *Reader) Probe(ctx context.Context, ids []int64, from, to, every int64, f func(id, ms int64, value float64)) error {
	if len(ids) == 0 || from >= to {
		return nil
	}
	if from < 0 || to > MaxTimestampMS || every < 1 {
		return fmt.Errorf("read samples: from %d to %d ms, every %d ms: times out of range", from, to, every)
	}
	wanted, err := json.Marshal(ids)
	if err != nil {
		return fmt.Errorf("read samples: %w", err)
	}
	t, err := r.Timeline(ctx)
	if err != nil {
		return err
	}
	var key Key
	var value float64
	for _, span := range t.Ranges(from, to-1) {
		err = each(ctx, r.db, func(rows *sql.Rows) error {
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			f(key.SeriesID(), t.MS(key), value)
			return nil
		}, queryProbe, string(wanted), span.From.TimestampMS(), span.To.TimestampMS()+1, every)
		if err != nil {
			return fmt.Errorf("read samples: %w", err)
		}
	}
	return nil
}

// RowCount counts the rows of the file without reading them: about 20 ms for a
// million on a PC.
func (r *Reader) RowCount(ctx context.Context) (n int64, err error) {
	if err := scan(r.db.QueryRowContext(ctx, "SELECT count(*) FROM metrics"), &n); err != nil {
		return 0, fmt.Errorf("count rows: %w", classify(err))
	}
	return n, nil
}
