package victoria_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// series is a small file's worth of series.
type series map[int64]*store.SeriesInfo

func (s series) get(id int64) (*store.SeriesInfo, error) { return s[id], nil }

// found counts what an export showed: per series and timestamp.
type found map[string]map[int64]int

func (f found) add(labels []store.Tag, timestamps []int64) error {
	key := chunk.Text(labels)
	if f[key] == nil {
		f[key] = map[int64]int{}
	}
	for _, ts := range timestamps {
		f[key][ts]++
	}
	return nil
}

func (f found) total() (n int) {
	for _, s := range f {
		for _, count := range s {
			n += count
		}
	}
	return n
}

func start(t *testing.T, flags ...string) (*testkit.VM, *victoria.Client) {
	t.Helper()
	vm := testkit.StartVM(t, testkit.VMConfig{Flags: flags})
	c, err := victoria.New(victoria.Config{URL: vm.ImportURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return vm, c
}

func send(t *testing.T, vm *testkit.VM, c *victoria.Client, requests ...*chunk.Request) {
	t.Helper()
	for i, b := range requests {
		if r, err := c.Import(t.Context(), b.Gzip, fmt.Sprint("test/", i)); err != nil || r.Status != 204 || r.Details != nil {
			t.Fatalf("import: %+v, %v", r, err)
		}
	}
	flush(t, vm)
}

func flush(t *testing.T, vm *testkit.VM) {
	t.Helper()
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
}

// TestVM_EverySampleOnce sends what is awkward, in every way there is, and finds
// each sample once, under its series, at its timestamp.
func TestVM_EverySampleOnce(t *testing.T) {
	t.Parallel()
	vm, c := start(t)
	now := time.Now().Truncate(time.Second)
	infos := series{}
	rnd := rand.New(rand.NewPCG(5, 6))
	odd := []float64{
		0, -1, 1e-300, math.MaxFloat64, 0.30000000000000004, 1 << 53, -1234567890123456789, 1e21, 1e20, 1e-5, 9.999e-6, 100.0 / 3, math.SmallestNonzeroFloat64,
	}
	var rows []store.Row
	for tick := range 40 {
		at := now.Add(time.Duration(tick-40) * 10 * time.Second)
		switch tick {
		case 1:
			at = time.UnixMilli(30_000) // a clock that begins anew
		case 2:
			at = now.AddDate(9, 0, 0)
		}
		for id := int64(1); id <= 60; id++ {
			value := rnd.NormFloat64()
			if id%3 == 0 {
				value = odd[(tick+int(id))%len(odd)]
			}
			rows = append(rows, store.Row{Key: store.PackKey(at.UnixMilli()+id%2, id), Value: value})
		}
	}
	for id := int64(1); id <= 60; id++ {
		infos[id] = &store.SeriesInfo{ID: id, Device: "d", Name: "test.metric", Tags: []store.Tag{
			{Name: "id", Value: fmt.Sprint(id)}, {Name: "odd", Value: "\"\\\n\x01é{}<>" + strings.Repeat("x", int(id)*60)},
		}}
	}
	sortRows(rows)
	builder := chunk.New(chunk.Config{MaxBytes: 8000, MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour})
	half := len(rows) / 2
	requests, refused, text, err := builder.Build(rows[:half], infos.get, now, 0)
	if err != nil || len(refused)+len(text) > 0 {
		t.Fatal(refused, text, err)
	}
	more, refused, text, err := builder.BuildCatchUp(rows[half:], infos.get, now, 0)
	if err != nil || len(refused)+len(text) > 0 {
		t.Fatal(refused, text, err)
	}
	requests = append(requests, more...)
	send(t, vm, c, requests...)

	got := found{}
	from, to := now.Add(-721*time.Hour).UnixMilli(), now.Add(48*time.Hour).UnixMilli()
	if err := c.Export(t.Context(), victoria.Selector{DeviceID: "d"}, from, to, got.add); err != nil {
		t.Fatal(err)
	}
	for _, b := range requests {
		for n := range b.Lines() {
			body, line := b.Line(n + 1)
			for _, s := range body.Line(line) {
				if k := got[chunk.Text(chunk.Labels(infos[s.Key.SeriesID()]))][s.TimestampMS]; k != 1 {
					t.Fatalf("series %d at %d is there %d times", s.Key.SeriesID(), s.TimestampMS, k)
				}
			}
		}
	}
	if got.total() != len(rows) {
		t.Errorf("%d samples at the server, want %d", got.total(), len(rows))
	}
	if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "d", Names: []string{"test_metric"}}, from, to); err != nil || n != int64(len(rows)) {
		t.Errorf("count %d, %v, want %d", n, err, len(rows))
	}

	// The same body again is there twice: the server does not help.
	send(t, vm, c, requests[0])
	if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "d"}, from, to); err != nil || n != int64(len(rows)+requests[0].Rows()) {
		t.Errorf("count %d, %v, want %d more", n, err, requests[0].Rows())
	}
}

func sortRows(rows []store.Row) {
	slices.SortFunc(rows, func(a, b store.Row) int { return cmp.Compare(a.Key, b.Key) })
}

// TestVM_CountBoundaries: both ends belong to the window, to the millisecond,
// also within the last 30 s, which queries hide by default.
func TestVM_CountBoundaries(t *testing.T) {
	t.Parallel()
	vm, c := start(t)
	base := time.Now().Add(-20 * time.Second).UnixMilli()
	infos := series{}
	var rows []store.Row
	offsets := []int64{0, 1, 2, 10, 499, 500, 501, 999, 1000, 1001, 3000}
	for i, name := range []string{"first", "second"} {
		id := int64(i + 1)
		infos[id] = &store.SeriesInfo{ID: id, Device: "dev-1", Name: name}
		for _, o := range offsets {
			rows = append(rows, store.Row{Key: store.PackKey(base+o, id), Value: 1})
		}
	}
	infos[3] = &store.SeriesInfo{ID: 3, Device: "dev-2", Name: "first"}
	rows = append(rows, store.Row{Key: store.PackKey(base+500, 3), Value: 1})
	sortRows(rows)
	body, err := chunk.New(chunk.Config{}).Rebuild(rows, infos.get, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	send(t, vm, c, body)

	within := func(from, to int64) (n int64) {
		for _, o := range offsets {
			if base+o >= from && base+o <= to {
				n++
			}
		}
		return n
	}
	points := []int64{-1, 0, 1, 2, 3, 9, 10, 11, 498, 499, 500, 501, 502, 999, 1000, 1001, 1002, 2999, 3000, 3001}
	for _, a := range points {
		for _, b := range points {
			from, to := base+a, base+b
			if from > to {
				continue
			}
			want := within(from, to)
			if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "dev-1"}, from, to); err != nil || n != 2*want {
				t.Errorf("count from %d to %d: %d, %v, want %d", a, b, n, err, 2*want)
			}
		}
	}
	if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "dev-1", Names: []string{"second", "third"}}, base, base); n != 1 || err != nil {
		t.Errorf("of two metrics: %d, %v", n, err)
	}
	if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "dev-1"}, base+1, base); n != 0 || err != nil {
		t.Errorf("an empty window: %d, %v", n, err)
	}
	for _, a := range points {
		got := found{}
		if err := c.Export(t.Context(), victoria.Selector{DeviceID: "dev-1", Names: []string{"first"}}, base+a, base+3001, got.add); err != nil {
			t.Fatal(err)
		}
		if want := within(base+a, base+3001); int64(got.total()) != want {
			t.Errorf("export from %d: %d samples, want %d", a, got.total(), want)
		}
	}
}

// TestVM_EveryMillisecond: decimals of a second reach the server exactly.
func TestVM_EveryMillisecond(t *testing.T) {
	t.Parallel()
	vm, c := start(t)
	base := time.Now().Add(-time.Hour).UnixMilli() / 1000 * 1000
	infos := series{1: {ID: 1, Device: "d", Name: "n"}}
	var rows []store.Row
	for i := range int64(1000) {
		rows = append(rows, store.Row{Key: store.PackKey(base+i, 1), Value: float64(i)})
	}
	body, err := chunk.New(chunk.Config{}).Rebuild(rows, infos.get, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	send(t, vm, c, body)
	for i := range int64(1000) {
		if n, err := c.Count(t.Context(), victoria.Selector{DeviceID: "d"}, base, base+i); err != nil || n != i+1 {
			t.Fatalf("up to ms %d: %d, %v", i, n, err)
		}
	}
}

// TestVM_AcceptsAndDrops: 204 does not mean stored, which is why there is a
// Count; and what chunk refuses or moves is what would be lost.
func TestVM_AcceptsAndDrops(t *testing.T) {
	t.Parallel()
	vm, c := start(t)
	now := time.Now()
	infos := series{
		1: {ID: 1, Device: "d", Name: "old"}, 2: {ID: 2, Device: "d", Name: "future"},
		3: {ID: 3, Device: "d", Name: "wide"}, 4: {ID: 4, Device: "d", Name: "long", Tags: []store.Tag{{Name: "l", Value: strings.Repeat("x", chunk.MaxValueBytes)}}},
		5: {ID: 5, Device: "d", Name: strings.Repeat("n", chunk.MaxNameBytes)},
		6: {ID: 6, Device: "d", Name: "label", Tags: []store.Tag{{Name: strings.Repeat("l", chunk.MaxNameBytes), Value: "v"}}},
	}
	for i := range chunk.MaxLabels - 2 {
		infos[3].Tags = append(infos[3].Tags, store.Tag{Name: fmt.Sprintf("l%02d", i), Value: "v"})
	}
	rows := []store.Row{
		{Key: store.PackKey(now.Add(-60*24*time.Hour).UnixMilli(), 1), Value: 1},
		{Key: store.PackKey(now.Add(-time.Minute).UnixMilli(), 3), Value: 1},
		{Key: store.PackKey(now.Add(-time.Minute).UnixMilli(), 4), Value: 1},
		{Key: store.PackKey(now.Add(-time.Minute).UnixMilli(), 5), Value: 1},
		{Key: store.PackKey(now.Add(-time.Minute).UnixMilli(), 6), Value: 1},
		{Key: store.PackKey(now.Add(72*time.Hour).UnixMilli(), 2), Value: 1},
	}
	raw, err := chunk.New(chunk.Config{}).Rebuild(rows, infos.get, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	send(t, vm, c, raw)
	got := found{}
	export := func() {
		t.Helper()
		clear(got)
		err := c.Export(t.Context(), victoria.Selector{DeviceID: "d"}, now.Add(-90*24*time.Hour).UnixMilli(), now.Add(96*time.Hour).UnixMilli(), got.add)
		if err != nil {
			t.Fatal(err)
		}
	}
	export()
	for id := int64(1); id <= 6; id++ {
		want := 1
		if id <= 2 {
			want = 0 // outside of what the server keeps: answered 204 and gone
		}
		if n := len(got[chunk.Text(chunk.Labels(infos[id]))]); n != want {
			t.Errorf("series %d has %d samples, want %d", id, n, want)
		}
	}
	clamped, err := chunk.New(chunk.Config{MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour}).Rebuild([]store.Row{rows[0], rows[5]}, infos.get, now, 0)
	if err != nil || clamped.Bodies[0].Clamped != 2 {
		t.Fatal(clamped, err)
	}
	send(t, vm, c, clamped)
	export()
	for n := range clamped.Lines() {
		s := clamped.Bodies[0].Line(n + 1)[0]
		if got[chunk.Text(chunk.Labels(infos[s.Key.SeriesID()]))][s.TimestampMS] != 1 {
			t.Errorf("the clamped sample of series %d is not at %d: %v", s.Key.SeriesID(), s.TimestampMS, got)
		}
	}
}

// TestVM_LabelLimit shows why chunk refuses series of more labels: the server
// says 204 and stores something else.
func TestVM_LabelLimit(t *testing.T) {
	t.Parallel()
	vm, c := start(t)
	var line strings.Builder
	line.WriteString(`{"metric":{"__name__":"n","device_id":"d"`)
	for i := range chunk.MaxLabels - 1 {
		fmt.Fprintf(&line, `,"l%02d":"v"`, i)
	}
	fmt.Fprintf(&line, `},"values":[1],"timestamps":[%d]}`, time.Now().UnixMilli())
	if err := vm.Import(line.String()); err != nil {
		t.Fatal(err)
	}
	flush(t, vm)
	most := 0
	err := c.Export(t.Context(), victoria.Selector{DeviceID: "d"}, 0, time.Now().Add(time.Hour).UnixMilli(), func(labels []store.Tag, _ []int64) error {
		most = max(most, len(labels))
		return nil
	})
	if err != nil || most != chunk.MaxLabels {
		t.Errorf("of %d labels the server kept %d (%v), want %d", chunk.MaxLabels+1, most, err, chunk.MaxLabels)
	}
}

// TestVM_WrongPaths: what a wrong address looks like must not condemn samples.
func TestVM_WrongPaths(t *testing.T) {
	t.Parallel()
	vm, _ := start(t)
	f := func(path string) {
		t.Helper()
		c, err := victoria.New(victoria.Config{URL: vm.URL() + path, VerifyURL: vm.URL() + "/nowhere/api/v1/export"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var e *victoria.Error
		if _, err = c.Import(t.Context(), []byte("x"), "id"); !errors.As(err, &e) || e.Class != victoria.ClassAuth || e.Ambiguous {
			t.Errorf("import to %s: %v", path, err)
		}
		if _, err = c.Count(t.Context(), victoria.Selector{DeviceID: "d"}, 1, 2); !errors.Is(err, victoria.ErrNotSupported) {
			t.Errorf("count: %v", err)
		}
		if err = c.Export(t.Context(), victoria.Selector{DeviceID: "d"}, 1, 2, found{}.add); !errors.Is(err, victoria.ErrNotSupported) {
			t.Errorf("export: %v", err)
		}
	}
	f("/insert/0/prometheus/api/v1/import")
	f("/nowhere")
}

// TestVM_Rejects: a body that is no gzip is the server's 400.
func TestVM_Rejects(t *testing.T) {
	t.Parallel()
	_, c := start(t)
	var e *victoria.Error
	_, err := c.Import(t.Context(), []byte("this is no gzip"), "id")
	if !errors.As(err, &e) || e.Class != victoria.ClassRejected || e.Status != 400 || !e.Ambiguous || e.Body == "" {
		t.Errorf("%v", err)
	}
}
