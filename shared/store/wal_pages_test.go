package store

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestInsert_OrderCostsNothing: samples that come in any order are written as those
// that come in the order of their keys. A row between others would make SQLite
// write their pages once more.
func TestInsert_OrderCostsNothing(t *testing.T) {
	t.Parallel()
	grown := func(shuffle bool) int64 {
		path := newPath(t)
		in := openInserter(t, options(path), time.Hour)
		all := samples(numberSeries(115), 0.1)
		mustInsert(t, in, tick0, all) // the series get their ids
		before := WALSize(path)
		dice := rand.New(rand.NewPCG(1, 2))
		for i := range 50 {
			if shuffle {
				dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			}
			mustInsert(t, in, tick0.Add(time.Duration(i+1)*time.Second), all)
		}
		return WALSize(path) - before
	}
	inOrder, shuffled := grown(false), grown(true)
	if inOrder == 0 || shuffled != inOrder {
		t.Errorf("the WAL grew by %d bytes, and by %d where the samples came in any order", inOrder, shuffled)
	}
}
