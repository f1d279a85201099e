package chunk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

var limits = Config{MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour}

func drawConfig(t *rapid.T) Config {
	cfg := limits
	if rapid.Bool().Draw(t, "unbounded") {
		cfg.MaxPast, cfg.MaxFuture = 0, 0
	}
	cfg.MaxMetrics = rapid.IntRange(1, 6).Draw(t, "MaxMetrics")
	cfg.MaxBytes = rapid.SampledFrom([]int{150, 250, 500, 1000, 4096, 256 << 10}).Draw(t, "MaxBytes")
	return cfg
}

// checkOutcome checks what every way of building promises.
func checkOutcome(t failer, cfg Config, in input, bodies []*sent, refused []Refused, text store.KeySet) {
	outcome := map[store.Key]string{}
	settle := func(k store.Key, as string) {
		if _, ok := in.byKey[k]; !ok || outcome[k] != "" {
			t.Fatalf("row %d: %s, was %q, given %v", k, as, outcome[k], ok)
		}
		outcome[k] = as
	}
	for _, k := range text {
		settle(k, "text")
		if in.series[k.SeriesID()].Type != store.Text {
			t.Errorf("row %d of a number series came back as text", k)
		}
	}
	for _, r := range refused {
		settle(r.Key, "refused")
		if want := wantReason(in, r.Key); r.Reason != want && (want != "" || r.Reason != TooLarge) || r.Detail == "" {
			t.Errorf("row %d refused as %q (%s), want %q", r.Key, r.Reason, r.Detail, want)
		}
	}
	for _, b := range bodies {
		for _, k := range b.Keys {
			settle(k, "sent")
		}
		checkBody(t, cfg, in, b)
	}
	if len(outcome) != len(in.rows) {
		t.Errorf("%d rows given, %d came back", len(in.rows), len(outcome))
	}
	if !slices.IsSorted(text) {
		t.Errorf("text rows do not ascend: %v", text)
	}
}

func wantReason(in input, k store.Key) Reason {
	r := in.byKey[k]
	switch {
	case r.Null:
		return NoValue
	case math.IsNaN(r.Value), math.IsInf(r.Value, 0):
		return NotFinite
	case len(in.series[k.SeriesID()].Tags) > 1:
		return LabelTooLong
	}
	return ""
}

func checkBody(t failer, cfg Config, in input, b *sent) {
	if len(b.Gzip) > cfg.MaxBytes {
		t.Errorf("body of %d bytes, at most %d allowed", len(b.Gzip), cfg.MaxBytes)
	}
	raw := unzip(t, b)
	if b.Hash != sha256.Sum256(raw) || b.Raw != len(raw) {
		t.Errorf("hash or size is not that of the lines")
	}
	if !slices.IsSorted(b.Keys) || len(b.Keys) == 0 {
		t.Errorf("keys do not ascend: %v", b.Keys)
	}
	first, _ := slices.BinarySearchFunc(in.rows, b.Keys[0], func(r store.Row, k store.Key) int { return cmp.Compare(r.Key, k) })
	last := first + len(b.Keys) - 1
	if run := last < len(in.rows) && in.rows[last].Key == b.Keys[len(b.Keys)-1]; run != b.Contiguous {
		t.Errorf("contiguous is %v, want %v", b.Contiguous, run)
	}

	lines := parse(t, b)
	if len(lines) != b.Lines() || b.Line(0) != nil || b.Line(len(lines)+1) != nil {
		t.Fatalf("%d lines, Lines says %d", len(lines), b.Lines())
	}
	var keys store.KeySet
	clamped, minMS, maxMS := 0, int64(math.MaxInt64), int64(math.MinInt64)
	type place struct{ series, ms int64 }
	taken := map[place]bool{}
	for i, l := range lines {
		samples := b.Line(i + 1)
		if len(samples) == 0 || len(samples) > valuesPerLine || len(samples) != len(l.Values) || len(samples) != len(l.Timestamps) {
			t.Fatalf("line %d: %d samples, %d values, %d timestamps", i+1, len(samples), len(l.Values), len(l.Timestamps))
		}
		info := in.series[samples[0].Key.SeriesID()]
		want := map[string]string{}
		for _, label := range Labels(info) {
			want[label.Name] = label.Value
		}
		if !maps.Equal(l.Metric, want) {
			t.Errorf("line %d has labels %v, want %v", i+1, l.Metric, want)
		}
		for j, s := range samples {
			keys = append(keys, s.Key)
			if s.Key.SeriesID() != info.ID || s.TimestampMS != l.Timestamps[j] {
				t.Errorf("line %d, sample %d: %+v beside timestamp %d", i+1, j, s, l.Timestamps[j])
			}
			if v := in.byKey[s.Key].Value; l.Values[j] != v {
				t.Errorf("row %d was sent as %v, is %v", s.Key, l.Values[j], v)
			}
			if j > 0 && s.TimestampMS <= samples[j-1].TimestampMS {
				t.Errorf("line %d is not in time order: %v", i+1, l.Timestamps)
			}
			at := place{info.ID, s.TimestampMS}
			if taken[at] {
				t.Errorf("two samples of series %d at %d", info.ID, s.TimestampMS)
			}
			taken[at] = true
			if s.TimestampMS != s.Key.TimestampMS() {
				clamped++
			}
			checkTimestamp(t, cfg, s)
			minMS, maxMS = min(minMS, s.TimestampMS), max(maxMS, s.TimestampMS)
		}
		if i > 0 && samples[0].TimestampMS < b.Line(i)[0].TimestampMS {
			t.Errorf("line %d is older than line %d", i+1, i)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, b.Keys) {
		t.Errorf("the lines carry other rows than Keys")
	}
	if from, to := b.Range(); from != minMS || to != maxMS || clamped != b.Clamped {
		t.Errorf("range %d to %d with %d clamped, want %d to %d with %d", from, to, b.Clamped, minMS, maxMS, clamped)
	}
}

// checkTimestamp: what the server stores goes out as it is, the rest lies inside
// and near the edge.
func checkTimestamp(t failer, cfg Config, s Sample) {
	was, oldest, newest := s.Key.TimestampMS(), int64(math.MinInt64), int64(math.MaxInt64)
	if cfg.MaxPast > 0 {
		oldest, newest = noon.Add(-cfg.MaxPast).UnixMilli(), noon.Add(cfg.MaxFuture).UnixMilli()
	}
	const near = 2 * 3600 * 1000
	switch {
	case was >= oldest && was <= newest:
		if s.TimestampMS != was {
			t.Errorf("timestamp %d was moved to %d without need", was, s.TimestampMS)
		}
	case was < oldest && (s.TimestampMS < oldest || s.TimestampMS > oldest+near),
		was > newest && (s.TimestampMS > newest || s.TimestampMS < newest-near):
		t.Errorf("timestamp %d was moved to %d, want it near the edge of %d to %d", was, s.TimestampMS, oldest, newest)
	}
}

// checkRebuild: the rows of each body alone give the same body, also from another
// Builder and in another order.
func checkRebuild(t failer, cfg Config, in input, b testBuilder, bodies []*sent) {
	other := newBuilder(cfg)
	for _, want := range slices.Backward(bodies) {
		for _, builder := range []testBuilder{b, other} {
			got, err := builder.Rebuild(in.rowsOf(want.Keys), in.series.get, noon, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.text, want.text) || got.Hash != want.Hash || !slices.Equal(got.Keys, want.Keys) ||
				!slices.Equal(got.samples, want.samples) || !slices.Equal(got.ends, want.ends) || got.Clamped != want.Clamped {
				t.Fatalf("rebuilt body differs:\n%s\nwas\n%s", unzip(t, got), unzip(t, want))
			}
		}
	}
}

func TestBuild_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, in := drawConfig(t), drawInput(t)
		b := newBuilder(cfg)
		for range 2 { // a Builder is used again
			bodies, refused, text, err := b.Build(in.rows, in.series.get, noon, 0)
			if err != nil {
				t.Fatal(err)
			}
			checkOutcome(t, cfg, in, bodies, refused, text)
			checkRebuild(t, cfg, in, b, bodies)
			for _, body := range bodies {
				if body.Lines() > cfg.MaxMetrics {
					t.Errorf("%d lines, at most %d allowed", body.Lines(), cfg.MaxMetrics)
				}
			}
		}
	})
}

func TestBuildCatchUp_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, in := drawConfig(t), drawInput(t)
		b := newBuilder(cfg)
		for range 2 {
			bodies, refused, text, err := b.BuildCatchUp(in.rows, in.series.get, noon, 0)
			if err != nil {
				t.Fatal(err)
			}
			checkOutcome(t, cfg, in, bodies, refused, text)
			checkRebuild(t, cfg, in, b, bodies)
			unsent := len(refused) + len(text)
			for i, body := range bodies {
				if !body.Contiguous && unsent == 0 {
					t.Error("a body has a gap although every row can be sent")
				}
				if i > 0 && body.Keys[0] < bodies[i-1].Keys[len(bodies[i-1].Keys)-1] {
					t.Error("bodies overlap")
				}
			}
		}
	})
}

// TestBuild_NumbersOfSeriesDoNotShow: a file that was salvaged numbers its
// series anew; the bytes stay.
func TestBuild_NumbersOfSeriesDoNotShow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		cfg := Config{MaxMetrics: rapid.IntRange(1, 6).Draw(t, "MaxMetrics")}
		old := slices.Sorted(maps.Keys(in.series))
		other := rapid.SliceOfNDistinct(rapid.Int64Range(1, store.MaxSeries), len(old), len(old), rapid.ID).Draw(t, "other ids")
		renumbered := input{series: catalogue{}}
		for i, id := range old {
			renumbered.series[other[i]] = in.series[id]
		}
		for _, r := range in.rows {
			i, _ := slices.BinarySearch(old, r.Key.SeriesID())
			r.Key = store.PackKey(r.Key.TimestampMS(), other[i])
			renumbered.rows = append(renumbered.rows, r)
		}
		sortRows(renumbered.rows)
		first, _, _, err := newBuilder(cfg).Build(in.rows, in.series.get, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		second, _, _, err := newBuilder(cfg).Build(renumbered.rows, renumbered.series.get, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(first, second, func(a, b *sent) bool { return bytes.Equal(a.Gzip, b.Gzip) }) {
			t.Errorf("other bytes under other series numbers")
		}
	})
}

// TestBuild_TrueTime: rows whose keys are wrong by an offset make the bytes of rows with right
// keys.
func TestBuild_TrueTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		cfg := Config{MaxMetrics: rapid.IntRange(1, 6).Draw(t, "MaxMetrics"), MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour}
		oldest, newest := in.rows[0].Key.TimestampMS(), in.rows[len(in.rows)-1].Key.TimestampMS()
		offset := rapid.Int64Range(newest-store.MaxTimestampMS, oldest).Draw(t, "offset")
		shifted := slices.Clone(in.rows)
		for i, r := range shifted {
			shifted[i].Key = store.PackKey(r.Key.TimestampMS()-offset, r.Key.SeriesID())
		}
		for _, catchUp := range []bool{false, true} {
			made := func(rows []store.Row, offset int64) []*sent {
				b := newBuilder(cfg)
				build := b.Build
				if catchUp {
					build = b.BuildCatchUp
				}
				bodies, _, _, err := build(rows, in.series.get, noon, offset)
				if err != nil {
					t.Fatal(err)
				}
				for _, body := range bodies {
					again, err := newBuilder(cfg).Rebuild(slices.DeleteFunc(slices.Clone(rows), func(r store.Row) bool { return !body.Keys.Contains(r.Key) }), in.series.get, noon, offset)
					if err != nil || again.Hash != body.Hash {
						t.Fatalf("rebuilt with other bytes, %v", err)
					}
				}
				return bodies
			}
			if !slices.EqualFunc(made(in.rows, 0), made(shifted, offset), func(a, b *sent) bool { return a.Hash == b.Hash }) {
				t.Fatal("other bytes for the same true times")
			}
		}
	})
}

func TestHalve_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		checkHalves(t, in.rows)
	})
}

// checkHalves halves until single rows are left.
func checkHalves(t failer, rows []store.Row) {
	a, b, ok := Halve(rows)
	if !ok {
		if len(rows) > 1 {
			t.Fatalf("%d rows cannot be halved", len(rows))
		}
		return
	}
	if len(a) == 0 || len(b) == 0 || !ascending(a) || !ascending(b) {
		t.Fatalf("%d rows are halved into %d and %d", len(rows), len(a), len(b))
	}
	both := slices.Concat(a, b)
	sortRows(both)
	if !slices.EqualFunc(both, rows, func(x, y store.Row) bool { return x.Key == y.Key }) {
		t.Fatal("the halves are not the whole")
	}
	checkHalves(t, a)
	checkHalves(t, b)
}

func ascending(rows []store.Row) bool {
	return slices.IsSortedFunc(rows, func(x, y store.Row) int { return cmp.Compare(x.Key, y.Key) })
}
