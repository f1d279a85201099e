package chunk

import "belabox-metrics/shared/store"

// Halve splits the rows of a body in two, to find the one that the server
// refuses or to get under its limit: by series as long as there are several, so
// that what is wrong with a series stays together, then by time. A single row
// cannot be halved.
func Halve(rows []store.Row) (a, b []store.Row, ok bool) {
	if len(rows) < 2 {
		return nil, nil, false
	}
	first := firstHalf(len(rows), func(i int) int64 { return rows[i].Key.SeriesID() })
	for i, r := range rows {
		if first(i) {
			a = append(a, r)
		} else {
			b = append(b, r)
		}
	}
	return a, b, true
}

func halveByLines(s selection) (selection, selection) {
	first := firstHalf(len(s.rows), func(i int) int64 { return s.rows[i].Key.SeriesID() })
	var a, b selection
	for i := range s.rows {
		if first(i) {
			a.add(s, int32(i))
		} else {
			b.add(s, int32(i))
		}
	}
	return a, b
}

// firstHalf tells which of n rows belong to the first half: series in the order
// of their first row, as many as come nearest to half of the rows from below,
// but at least one; of a single series the earlier rows.
func firstHalf(n int, series func(int) int64) func(int) bool {
	count := map[int64]int{}
	var ids []int64
	for i := range n {
		id := series(i)
		if count[id] == 0 {
			ids = append(ids, id)
		}
		count[id]++
	}
	if len(ids) == 1 {
		return func(i int) bool { return i < n/2 }
	}
	in := map[int64]bool{ids[0]: true}
	total := count[ids[0]]
	for _, id := range ids[1 : len(ids)-1] {
		if total += count[id]; total > n/2 {
			break
		}
		in[id] = true
	}
	return func(i int) bool { return in[series(i)] }
}
