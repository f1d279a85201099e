package store

import (
	"context"
	"fmt"
	"slices"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/selector"
)

// seriesPerPage is how many series are read at a time. Between two pages no read is open.
const seriesPerPage = 500

// Query says what Select is to read.
type Query struct {
	Selectors []selector.Selector // the union of these
	From, To  int64               // milliseconds since 1970, both included
	MaxRows   int                 // most samples in a piece, at least 1
}

// Piece is a run of samples of one series, sorted by time.
type Piece struct {
	Metric     string // canonical JSON object of the labels
	Timestamps []int64
	Values     []float64
}

// Select calls yield for the samples that q asks for: series after series, each once, in pieces of MaxRows samples.
// Series without a sample in the range are left out. The Piece is yield's until it returns. An error of yield ends the
// Select and is returned.
func (s *Store) Select(ctx context.Context, q Query, yield func(*Piece) error) error {
	for i, sel := range q.Selectors {
		err := s.eachSeries(ctx, sel, func(id int64, metric string, labels line.Labels) error {
			// An earlier selector has given it already.
			if slices.ContainsFunc(q.Selectors[:i], func(e selector.Selector) bool { return e.Matches(labels.Get) }) {
				return nil
			}
			return s.eachPiece(ctx, q, id, &Piece{Metric: metric}, yield)
		})
		if err != nil {
			return fmt.Errorf("select: %w", err)
		}
	}
	return nil
}

// eachSeries calls yield for the series that sel picks, by ascending id.
func (s *Store) eachSeries(ctx context.Context, sel selector.Selector,
	yield func(id int64, metric string, labels line.Labels) error,
) error {
	var after int64
	for {
		page, err := s.seriesPage(ctx, sel, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, row := range page {
			labels, err := line.ParseLabels([]byte(row.metric))
			if err != nil {
				return fmt.Errorf("series %d: %w", row.id, err)
			}
			if !sel.Matches(labels.Get) {
				continue
			}
			if err := yield(row.id, row.metric, labels); err != nil {
				return err
			}
		}
		after = page[len(page)-1].id
	}
}

type seriesRow struct {
	id     int64
	metric string
}

// seriesPage reads the next series that sel may pick. It narrows by device or else by name, which have an index; a
// device has far fewer series than a name has devices.
func (s *Store) seriesPage(ctx context.Context, sel selector.Selector, after int64) ([]seriesRow, error) {
	text, args := `SELECT id, metric FROM series WHERE id > ? `, []any{after}
	if device := sel.Equal(line.DeviceLabel); device != "" {
		text, args = text+`AND device_id = ? `, append(args, device)
	} else if name := sel.Equal(line.NameLabel); name != "" {
		text, args = text+`AND name = ? `, append(args, name)
	}
	rows, err := s.read.QueryContext(ctx, text+`ORDER BY id LIMIT ?`, append(args, seriesPerPage)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []seriesRow
	for rows.Next() {
		var row seriesRow
		if err := rows.Scan(&row.id, &row.metric); err != nil {
			return nil, err
		}
		page = append(page, row)
	}
	return page, rows.Err()
}

// eachPiece reads the samples of one series into p, over and over.
func (s *Store) eachPiece(ctx context.Context, q Query, id int64, p *Piece, yield func(*Piece) error) error {
	for from := q.From; from <= q.To; {
		if err := s.fill(ctx, p, id, from, q.To, q.MaxRows); err != nil {
			return err
		}
		if len(p.Timestamps) == 0 {
			return nil
		}
		// Before yield, which may do with the piece what it likes.
		from = p.Timestamps[len(p.Timestamps)-1] + 1
		last := len(p.Timestamps) < q.MaxRows
		if err := yield(p); err != nil || last {
			return err
		}
	}
	return nil
}

func (s *Store) fill(ctx context.Context, p *Piece, id, from, to int64, limit int) error {
	p.Timestamps, p.Values = p.Timestamps[:0], p.Values[:0]
	rows, err := s.read.QueryContext(ctx, `SELECT timestamp_ms, value FROM samples
		WHERE series_id = ? AND timestamp_ms BETWEEN ? AND ? ORDER BY timestamp_ms LIMIT ?`, id, from, to, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ts int64
		var v float64
		if err := rows.Scan(&ts, &v); err != nil {
			return err
		}
		p.Timestamps, p.Values = append(p.Timestamps, ts), append(p.Values, v)
	}
	return rows.Err()
}
