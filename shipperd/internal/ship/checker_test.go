package ship

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"belabox-metrics/shared/store"
)

// check is the one checker, for the end of every test and any moment before: every
// inserted sample is at the server exactly once, or pending, or in an open chunk,
// or a dead letter; the ledger adds up; nothing was pruned unproven; the open
// chunks are consistent. rig.allow has what a test may leave otherwise.
func (r *rig) check() {
	r.t.Helper()
	ctx := context.Background()
	f := r.readFile(ctx)
	copies := r.copies()
	dropped, faults := 0, 0
	for i, s := range r.samples {
		n := copies[i]
		pending, letter := f.pending[s.key], f.deadLetters[i]
		at := func(format string, args ...any) {
			r.t.Helper()
			if faults++; faults > 5 {
				return // a few show as much as all
			}
			r.t.Errorf("sample %d (%s at %d): "+format, append([]any{i + 1, s.series, s.key.TimestampMS()}, args...)...)
		}
		switch {
		case n > 1 && !r.allow.doubles:
			at("%d times at the server", n)
		case s.text:
			if n != 0 || letter || !pending && !f.rows[s.key] {
				at("text: %d at the server, dead letter %v", n, letter)
			}
		case letter && (r.allow.deadLetters == nil || !r.allow.deadLetters(s)):
			at("is a dead letter: %s", f.reasons[i])
		case letter && (pending || f.rows[s.key]):
			at("is a dead letter and in the file")
		case letter || n > 0 || pending || f.accepted[s.key]:
		case r.allow.lost != nil && r.allow.lost(s):
		case !f.rows[s.key] && r.allow.dropped:
			dropped++
		default:
			at("lost: in the file %v, not at the server, not owed", f.rows[s.key])
		}
	}
	if l := f.ledger; l.Dropped["unproven"] > 0 && !r.allow.unproven {
		r.t.Errorf("%d samples dropped unproven", l.Dropped["unproven"])
	}
	if l := f.ledger; l.Difference() != 0 || l.Inserted != int64(len(r.samples)) || l.Dropped["size"] != int64(dropped) {
		r.t.Errorf("ledger off by %d, %d samples, %d dropped: %+v", l.Difference(), len(r.samples), dropped, l)
	}
	r.checkCounts(f)
}

// copies counts how often each sample is at the server, and finds fault with what
// is there and should not be.
func (r *rig) copies() map[int]int {
	r.t.Helper()
	copies := map[int]int{}
	for _, s := range r.vm.Samples() {
		if r.allow.renamed && strings.Contains(s.Series, fmt.Sprintf("%q", elsewhere)) {
			continue
		}
		i := int(s.Value) - 1
		if i < 0 || i >= len(r.samples) || r.samples[i].series != s.Series {
			r.t.Errorf("the server has a sample of %s at %d with the value %v that nobody inserted", s.Series, s.Timestamp, s.Value)
			continue
		}
		if off := s.Timestamp - r.samples[i].trueMS; max(off, -off) > r.allow.off.Milliseconds() && !r.allow.moved {
			r.t.Errorf("sample %d is at %d, want %d, off by %d ms", i+1, s.Timestamp, r.samples[i].trueMS, off)
		}
		copies[i]++
	}
	return copies
}

// content is what the file says.
type content struct {
	rows, pending, accepted map[store.Key]bool
	deadLetters             map[int]bool // by index of the sample
	reasons                 map[int]string
	ledger                  store.Ledger
}

func (r *rig) readFile(ctx context.Context) content {
	r.t.Helper()
	f := content{
		rows: map[store.Key]bool{}, pending: map[store.Key]bool{}, accepted: map[store.Key]bool{},
		deadLetters: map[int]bool{}, reasons: map[int]string{},
	}
	pending, open := r.left()
	for _, row := range pending {
		f.pending[row.Key] = true
	}
	all := make(store.KeySet, len(r.samples))
	for i, s := range r.samples {
		all[i] = s.key
	}
	for keys := range slices.Chunk(all.Sorted(), 100_000) { // more are a text too long for SQLite
		rows, err := r.watch.Rows(ctx, keys)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, row := range rows {
			f.rows[row.Key] = true
		}
	}
	owner := map[store.Key]int64{}
	for _, c := range open {
		for _, k := range c.Keys {
			if owner[k] != 0 {
				r.t.Errorf("row %d is in the open chunks %d and %d", k, owner[k], c.ID)
			}
			owner[k] = c.ID
			if c.State == store.Accepted {
				f.accepted[k] = true
			}
			if !f.rows[k] || f.pending[k] == (c.State == store.Accepted) {
				r.t.Errorf("chunk %d is %s, its row %d is in the file %v, pending %v", c.ID, c.State, k, f.rows[k], f.pending[k])
			}
		}
	}
	dead, err := r.watch.DeadLetters(ctx, 0, 1<<30)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, l := range dead {
		f.deadLetters[int(l.Value.Float64)-1] = true
		f.reasons[int(l.Value.Float64)-1] = l.Reason + ": " + l.Detail
	}
	if f.ledger, err = r.watch.Ledger(ctx); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// checkCounts compares what the Shippers counted with what is in the file. A kill
// takes counts along, so they may be too low, never too high.
func (r *rig) checkCounts(f content) {
	r.t.Helper()
	c := r.counts()
	rejected, dropped := -r.allow.retried, int64(0)
	for _, n := range c.Rejected {
		rejected += n
	}
	dropped = c.Dropped["size"]
	if c.Verified > f.ledger.Verified || rejected > f.ledger.Rejected || dropped > f.ledger.Dropped["size"] {
		r.t.Errorf("counted %+v, ledger %+v", c, f.ledger)
	}
	if len(r.all) == 0 && !r.dead.Load() && (c.Verified != f.ledger.Verified || rejected != f.ledger.Rejected || dropped != f.ledger.Dropped["size"]) {
		r.t.Errorf("without a restart: counted %+v, ledger %+v", c, f.ledger)
	}
}
