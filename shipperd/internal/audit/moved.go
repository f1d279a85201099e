package audit

import (
	"context"
	"slices"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
)

// movedRows are the rows that were sent with another timestamp than their own, because the server
// would have discarded them (see package chunk). Usually there are none.
type movedRows []movedRow // by sent

type movedRow struct{ row, sent store.Key }

// chunksAtOnce bounds the chunks in memory: one of a backlog has a hundred thousand keys.
const chunksAtOnce = 1

// loadMoved finds the moved rows. The bytes of a chunk follow from the time in its record.
func (a *auditor) loadMoved(ctx context.Context) error {
	var moved movedRows
	var rows []store.Row
	var builder *chunk.Builder
	past, future := a.cfg.MaxPast.Milliseconds(), a.cfg.MaxFuture.Milliseconds()
	series := func(id int64) (*store.SeriesInfo, error) { return a.file.Series(ctx, id) }
	for last := int64(0); ; {
		chunks, err := a.file.ChunksBeyond(ctx, last, past, future, chunksAtOnce)
		if err != nil {
			return err
		}
		for _, c := range chunks {
			last = c.ID
			rows = rows[:0]
			for keys := range slices.Chunk(c.Keys, pageRows) {
				page, err := a.file.Rows(ctx, keys)
				if err != nil {
					return err
				}
				rows = append(rows, page...)
			}
			if len(rows) == 0 {
				continue // pruned
			}
			if builder == nil {
				builder = chunk.New(chunk.Config{MaxPast: a.cfg.MaxPast, MaxFuture: a.cfg.MaxFuture})
			}
			req, err := builder.Rebuild(rows, series, c.Created, a.names.times.Epoch(rows[0].Key).Offset())
			if err != nil {
				return err
			}
			body := req.Bodies[0]
			for line := 1; line <= body.Lines(); line++ {
				for _, s := range body.Line(line) {
					if s.TimestampMS != a.names.times.MS(s.Key) {
						moved = append(moved, movedRow{s.Key, a.names.sentAt(s.Key, s.TimestampMS)})
					}
				}
			}
		}
		if len(chunks) < chunksAtOnce {
			break
		}
	}
	slices.SortFunc(moved, func(a, b movedRow) int { return byKey(a.sent, b.sent) })
	a.moved = moved
	return nil
}

// count returns how many rows were moved to a key.
func (m movedRows) count(sent store.Key) (n int) {
	i, _ := slices.BinarySearchFunc(m, sent, func(m movedRow, k store.Key) int { return byKey(m.sent, k) })
	for ; i < len(m) && m[i].sent == sent; i++ {
		n++
	}
	return n
}

// between returns the rows that were moved from the keys first up to end.
func (m movedRows) between(first, end store.Key) (rows store.KeySet) {
	for _, r := range m {
		if r.row >= first && r.row < end {
			rows = append(rows, r.row)
		}
	}
	return rows.Sorted()
}

// walkMoved compares the rows that were moved, at the place where they were sent
// to.
func (a *auditor) walkMoved(ctx context.Context) error {
	for rest := a.moved; len(rest) > 0; {
		n := 1
		for n < min(len(rest), a.cfg.WindowRows) && rest[n].sent.TimestampMS()-rest[n-1].sent.TimestampMS() <= a.cfg.Gap.Milliseconds() {
			n++
		}
		for n < len(rest) && rest[n].sent.TimestampMS() == rest[n-1].sent.TimestampMS() {
			n++
		}
		if err := a.fillMoved(ctx, rest[:n]); err != nil {
			return err
		}
		if err := a.markOpen(ctx); err != nil {
			return err
		}
		proven := a.report.Proven
		if err := a.compare(ctx, rest[0].sent.TimestampMS(), rest[n-1].sent.TimestampMS(), false); err != nil {
			return err
		}
		a.report.Moved += a.report.Proven - proven
		rest = rest[n:]
	}
	return nil
}

// fillMoved makes a window of moved rows.
func (a *auditor) fillMoved(ctx context.Context, moved movedRows) error {
	a.rows = a.rows[:0]
	for part := range slices.Chunk(moved, pageRows) {
		sent := make(map[store.Key]store.Key, len(part))
		var keys store.KeySet
		for _, m := range part {
			if a.names.times.MS(m.row) >= a.fromMS {
				sent[m.row] = m.sent
				keys = append(keys, m.row)
			}
		}
		rows, err := a.file.StatesOf(ctx, keys.Sorted())
		if err != nil {
			return err
		}
		for _, row := range rows {
			e := expected{sent: sent[row.Key], row: row.Key}
			if row.Uploaded {
				e.state = uploaded
			}
			a.rows = append(a.rows, e)
		}
	}
	return nil
}
