package store

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestKey_Limits(t *testing.T) {
	t.Parallel()
	if last := time.UnixMilli(MaxTimestampMS).UTC().Format("2006-01"); last != "2039-09" {
		t.Errorf("the last key is of %s, want 2039-09", last)
	}
	if MaxSeries != 4_194_303 {
		t.Errorf("MaxSeries is %d, want 4194303, as in the CHECK of table series", MaxSeries)
	}
	if got := PackKey(MaxTimestampMS, MaxSeries); got != math.MaxInt64 {
		t.Errorf("the greatest key is %d, want %d", got, int64(math.MaxInt64))
	}
	if got := PackKey(0, 1); got != 1 {
		t.Errorf("the least key is %d, want 1", got)
	}
}

func TestKey_PackedPartsComeBackAndSort(t *testing.T) {
	t.Parallel()
	ts, id := rapid.Int64Range(0, MaxTimestampMS), rapid.Int64Range(1, MaxSeries)
	rapid.Check(t, func(t *rapid.T) {
		ts1, id1 := ts.Draw(t, "ts1"), id.Draw(t, "id1")
		ts2 := rapid.OneOf(ts, rapid.Just(ts1)).Draw(t, "ts2")
		id2 := rapid.OneOf(id, rapid.Just(id1)).Draw(t, "id2")
		k1, k2 := PackKey(ts1, id1), PackKey(ts2, id2)
		if k1 < 0 || k1.TimestampMS() != ts1 || k1.SeriesID() != id1 {
			t.Errorf("(%d, %d) came back as (%d, %d) from %d", ts1, id1, k1.TimestampMS(), k1.SeriesID(), k1)
		}
		before := ts1 < ts2 || ts1 == ts2 && id1 < id2
		if (k1 < k2) != before || (k1 == k2) != (ts1 == ts2 && id1 == id2) {
			t.Errorf("(%d, %d) and (%d, %d) sort as %d and %d", ts1, id1, ts2, id2, k1, k2)
		}
	})
}
