package audit

import (
	"context"
	"math"
	"slices"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// maxStrays bounds the samples without a row that are kept until they are judged.
const maxStrays = 10_000

// match counts the samples of an exported line. judge: those without a row are strays.
func (a *auditor) match(ctx context.Context, labels []store.Tag, timestamps []int64, judge bool) error {
	id, ok := a.names.find(labels)
	if !ok && judge { // it may be new
		if err := a.names.load(ctx); err != nil {
			return err
		}
		id, ok = a.names.find(labels)
	}
	judge = judge && valueOf(labels, "__name__") != victoria.ProbeMetric // of doctor -probe
	for _, ms := range timestamps {
		if !ok {
			if judge {
				a.stray(stray{ms: ms, metric: describe(labels)})
			}
			continue
		}
		key := store.PackKey(ms, id)
		if i, expected := a.find(key); expected {
			a.rows[i].found++
		} else if judge && a.moved.count(key) == 0 {
			a.stray(stray{key: key, ms: ms})
		}
	}
	if len(a.strays) >= maxStrays {
		return a.judgeStrays(ctx)
	}
	return nil
}

// doubt is a row that seems to be a difference.
type doubt struct {
	row, sent store.Key
	there     bool
}

// judgeRows adds the rows of the window to the report. walking: the rows have their own timestamps,
// otherwise the window has moved rows.
func (a *auditor) judgeRows(ctx context.Context, walking bool) error {
	var doubts []doubt
	for i := 0; i < len(a.rows); {
		sent, copies := a.rows[i].sent, int(a.rows[i].found)
		if walking { // rows that were moved to this timestamp are counted by walkMoved
			copies = max(0, copies-a.moved.count(sent))
		}
		for ; i < len(a.rows) && a.rows[i].sent == sent; i++ {
			e, there := a.rows[i], copies > 0
			if !a.report.count(e.state, there) {
				doubts = append(doubts, doubt{e.row, e.sent, there})
			}
			copies--
		}
		if copies > 0 {
			if err := a.judgeCopies(ctx, sent, copies, walking); err != nil {
				return err
			}
		}
	}
	return a.judgeDoubts(ctx, doubts)
}

// judgeCopies reports more copies of a sample than rows in the window. Copies at the timestamp of a
// moved row can belong to a row with that timestamp: then walk has judged them, or the row is older
// than the span.
func (a *auditor) judgeCopies(ctx context.Context, sent store.Key, copies int, walking bool) error {
	if !walking {
		rows, err := a.file.StatesOf(ctx, a.names.rowsOf(sent))
		if err != nil {
			return err
		}
		copies -= len(rows) - len(a.moved.between(sent, sent+1))
		if copies <= 0 || len(rows) > 0 && sent.TimestampMS() >= a.fromMS {
			return nil
		}
	}
	return a.differ(ctx, StoredTwice, sent, int64(copies))
}

// judgeDoubts reads the rows again: the daemons may have changed them meanwhile.
func (a *auditor) judgeDoubts(ctx context.Context, doubts []doubt) error {
	if len(doubts) == 0 {
		return nil
	}
	chunks, err := a.file.OpenChunks(ctx)
	if err != nil {
		return err
	}
	inOpen := func(k store.Key) bool {
		return slices.ContainsFunc(chunks, func(c *store.Chunk) bool {
			return c.Keys[0] <= k && k <= c.Keys[len(c.Keys)-1] && c.Keys.Contains(k)
		})
	}
	slices.SortFunc(doubts, func(a, b doubt) int { return byKey(a.row, b.row) })
	for part := range slices.Chunk(doubts, pageRows) {
		keys := make(store.KeySet, len(part))
		for i, d := range part {
			keys[i] = d.row
		}
		rows, err := a.file.StatesOf(ctx, keys)
		if err != nil {
			return err
		}
		for _, d := range part {
			i, exists := slices.BinarySearchFunc(rows, d.row, func(r store.RowState, k store.Key) int { return byKey(r.Key, k) })
			s := pending
			switch {
			case !exists:
				a.report.Gone++
				continue
			case inOpen(d.row):
				s = open
			case rows[i].Uploaded:
				s = uploaded
			}
			if err := a.conclude(ctx, d, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// conclude decides a doubt by the state s that the row has now.
func (a *auditor) conclude(ctx context.Context, d doubt, s state) error {
	switch {
	case a.report.count(s, d.there):
		return nil
	case d.there:
		return a.differ(ctx, PendingStored, d.sent, 1)
	case d.sent.TimestampMS() < a.oldestStored():
		a.report.TooOld++
		return nil
	}
	return a.differ(ctx, Missing, d.sent, 1)
}

func (a *auditor) differ(ctx context.Context, kind Kind, sent store.Key, samples int64) error {
	metric, err := a.names.metricName(ctx, sent.SeriesID())
	if err != nil {
		return err
	}
	a.report.add(kind, metric, sent.TimestampMS(), samples)
	return nil
}

// stray is a sample at the server without a row in its window.
type stray struct {
	key    store.Key // 0 for a series that is not in the file
	ms     int64
	metric string // of such a series
}

func (a *auditor) stray(s stray) { a.strays = append(a.strays, s) }

// judgeStrays reports the strays that the file does not explain.
func (a *auditor) judgeStrays(ctx context.Context) error {
	if len(a.strays) == 0 {
		return nil
	}
	for _, explain := range []func(context.Context) error{a.dropPruned, a.dropNew, a.dropMovedMeanwhile, a.takeDeadLetters} {
		if err := explain(ctx); err != nil {
			return err
		}
		if len(a.strays) == 0 {
			return nil
		}
	}
	for _, s := range a.strays {
		if s.key == 0 {
			a.report.add(Unknown, s.metric, s.ms, 1)
		} else if err := a.differ(ctx, Unknown, s.key, 1); err != nil {
			return err
		}
	}
	a.strays = a.strays[:0]
	return nil
}

// dropStrays drops those for which known returns true.
func (a *auditor) dropStrays(known func(stray) bool) { a.strays = slices.DeleteFunc(a.strays, known) }

// dropPruned drops strays that are not younger than the oldest row of some epoch: their rows may
// have been pruned, also while the audit runs.
func (a *auditor) dropPruned(ctx context.Context) error {
	if err := a.names.load(ctx); err != nil {
		return err
	}
	oldest := int64(math.MaxInt64)
	for i, e := range a.names.times {
		end := store.Key(math.MaxInt64)
		if i+1 < len(a.names.times) {
			end = a.names.times[i+1].First - 1
		}
		first, err := a.file.States(ctx, e.First, end, 1)
		if err != nil {
			return err
		}
		if len(first) > 0 {
			oldest = min(oldest, first[0].Key.TimestampMS()+e.Offset())
		}
	}
	a.dropStrays(func(s stray) bool { return s.ms <= oldest })
	return nil
}

// dropNew drops strays whose rows were inserted since the window was read.
func (a *auditor) dropNew(ctx context.Context) error {
	var keys store.KeySet
	for _, s := range a.strays {
		if s.key != 0 {
			keys = append(keys, a.names.rowsOf(s.key)...)
		}
	}
	rows, err := a.file.StatesOf(ctx, keys.Sorted())
	if err != nil {
		return err
	}
	there := make(map[store.Key]bool, len(rows))
	for _, r := range rows {
		there[a.names.canonical(r.Key)] = true
	}
	a.dropStrays(func(s stray) bool { return there[s.key] })
	return nil
}

// dropMovedMeanwhile drops rows that were sent with another timestamp since the audit began.
func (a *auditor) dropMovedMeanwhile(ctx context.Context) error {
	if err := a.loadMoved(ctx); err != nil {
		return err
	}
	a.dropStrays(func(s stray) bool { return s.key != 0 && a.moved.count(s.key) > 0 })
	return nil
}

// takeDeadLetters reports those that are dead letters.
func (a *auditor) takeDeadLetters(ctx context.Context) error {
	from, to := a.strays[0].ms, a.strays[0].ms
	for _, s := range a.strays {
		from, to = min(from, s.ms), max(to, s.ms)
	}
	found, err := a.file.DeadLettersAt(ctx, from, to, maxStrays)
	if err != nil {
		return err
	}
	dead := make(map[store.Key]bool, len(found))
	for _, l := range found {
		if key, ok := a.names.ofDeadLetter(l); ok {
			dead[key] = true
		}
	}
	for _, s := range a.strays {
		if dead[s.key] {
			if err := a.differ(ctx, DeadLetterStored, s.key, 1); err != nil {
				return err
			}
		}
	}
	a.dropStrays(func(s stray) bool { return dead[s.key] })
	return nil
}
