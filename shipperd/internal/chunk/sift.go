package chunk

import (
	"fmt"
	"math"

	"belabox-metrics/shared/store"
)

// group is a series that has rows in the current call.
type group struct {
	id   int64
	head *head
	next int32 // the group that followed it last time, -1 = none yet
}

// selection is a part of one call's sendable rows.
type selection struct {
	rows  []store.Row
	local []int32 // index in Builder.groups, for each row
	at    []int32 // where each row stood among the rows given; nil = side by side

	// What was left out; only in the selection that sift returns.
	refused []Refused
	text    store.KeySet
}

// sift tells the rows that can be sent from the others.
func (b *Builder) sift(rows []store.Row, series SeriesFunc) (selection, error) {
	clean, err := b.intern(rows, series)
	if err != nil {
		return selection{}, err
	}
	all := selection{rows: rows, local: b.local}
	if clean {
		return all, nil
	}
	var s selection
	for i, r := range rows {
		h := b.groups[b.local[i]].head
		refuse := func(reason Reason, detail string) {
			s.refused = append(s.refused, Refused{r.Key, reason, detail})
		}
		switch {
		case h.series.Fault != "":
			refuse(h.series.Fault, h.series.Detail)
		case h.series.Type == store.Text:
			s.text = append(s.text, r.Key)
		case r.Null:
			refuse(NoValue, "the row has no number")
		case math.IsNaN(r.Value) || math.IsInf(r.Value, 0):
			refuse(NotFinite, fmt.Sprintf("the value is %v", r.Value))
		case h.reason != "":
			refuse(h.reason, h.detail)
		default:
			s.add(all, int32(i))
		}
	}
	return s, nil
}

// intern fills b.groups and b.local. clean means that every row can be sent.
func (b *Builder) intern(rows []store.Row, series SeriesFunc) (clean bool, err error) {
	clear(b.index)
	b.groups = b.groups[:0]
	b.local = resize(b.local, len(rows))
	clean = true
	last, previous := int32(-1), store.Key(-1)
	for i := range rows {
		r := &rows[i]
		if r.Key <= previous {
			return false, fmt.Errorf("build chunks: row %d follows row %d, out of order", r.Key, previous)
		}
		previous = r.Key
		// Most ticks hold the same series in the same order: the group that
		// followed this one in the last tick is nearly always the right one,
		// and spares the look-up.
		id := r.Key.SeriesID()
		g := int32(-1)
		if last >= 0 {
			g = b.groups[last].next
		}
		if g < 0 || b.groups[g].id != id {
			if g, err = b.groupOf(id, series); err != nil {
				return false, err
			}
			if last >= 0 {
				b.groups[last].next = g
			}
		}
		b.local[i], last = g, g
		if r.Null || r.Value-r.Value != 0 || !b.groups[g].head.sendable() { // NaN and infinities differ from themselves less themselves
			clean = false
		}
	}
	return clean, nil
}

func (b *Builder) groupOf(id int64, series SeriesFunc) (int32, error) {
	if g, ok := b.index[id]; ok {
		return g, nil
	}
	info, err := series(id)
	if err != nil {
		return 0, fmt.Errorf("build chunks: %w", err)
	}
	g := int32(len(b.groups))
	b.groups = append(b.groups, group{id: id, head: b.headOf(id, info), next: -1})
	b.index[id] = g
	return g, nil
}

// add appends row i of from.
func (s *selection) add(from selection, i int32) {
	s.rows = append(s.rows, from.rows[i])
	s.local = append(s.local, from.local[i])
	if from.at != nil {
		i = from.at[i]
	}
	s.at = append(s.at, i)
}

// pick returns the rows with the given indices, which ascend.
func (s selection) pick(indices []int32) selection {
	picked := selection{
		rows:  make([]store.Row, 0, len(indices)),
		local: make([]int32, 0, len(indices)),
		at:    make([]int32, 0, len(indices)),
	}
	for _, i := range indices {
		picked.add(s, i)
	}
	return picked
}

// cut returns the rows from index i up to index j.
func (s selection) cut(i, j int) selection {
	c := selection{rows: s.rows[i:j], local: s.local[i:j]}
	if s.at != nil {
		c.at = s.at[i:j]
	}
	return c
}

// contiguous tells whether all rows given between the first and the last are in it.
func (s selection) contiguous() bool {
	return s.at == nil || int(s.at[len(s.at)-1]-s.at[0]) == len(s.at)-1
}

// resize returns a slice of length n, of which the content is undefined.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
