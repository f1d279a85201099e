package chunk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

// noon is when the bodies of the tests are made.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// sent is a body with the request that it is in.
type sent struct {
	*Body
	Gzip []byte // of the request
	text []byte // of the body
}

// testBuilder is a Builder whose requests come body by body.
type testBuilder struct{ *Builder }

func newBuilder(cfg Config) testBuilder { return testBuilder{New(cfg)} }

func (b testBuilder) Build(rows []store.Row, series SeriesFunc, created time.Time, offset int64) ([]*sent, []Refused, store.KeySet, error) {
	requests, refused, text, err := b.Builder.Build(rows, series, created, offset)
	return opened(requests), refused, text, err
}

func (b testBuilder) BuildCatchUp(rows []store.Row, series SeriesFunc, created time.Time, offset int64) ([]*sent, []Refused, store.KeySet, error) {
	requests, refused, text, err := b.Builder.BuildCatchUp(rows, series, created, offset)
	return opened(requests), refused, text, err
}

func (b testBuilder) Rebuild(rows []store.Row, series SeriesFunc, created time.Time, offset int64) (*sent, error) {
	req, err := b.Builder.Rebuild(rows, series, created, offset)
	if err != nil {
		return nil, err
	}
	return opened([]*Request{req})[0], nil
}

// opened returns the bodies of requests. What does not add up panics.
func opened(requests []*Request) (bodies []*sent) {
	for _, req := range requests {
		r, err := gzip.NewReader(bytes.NewReader(req.Gzip))
		if err != nil {
			panic(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			panic(err)
		}
		bytes, rows, line := 0, 0, 0
		for _, b := range req.Bodies {
			bodies = append(bodies, &sent{b, req.Gzip, text[:b.Raw]})
			text = text[b.Raw:]
			bytes, rows = bytes+b.Bytes, rows+len(b.Keys)
			for n := 1; n <= b.Lines(); n++ {
				line++
				if of, as := req.Line(line); of != b || as != n {
					panic(fmt.Sprintf("line %d of the request is line %d of %p, want %d of %p", line, as, of, n, b))
				}
			}
		}
		if of, _ := req.Line(line + 1); len(text) > 0 || bytes != len(req.Gzip) || rows != req.Rows() || line != req.Lines() || of != nil {
			panic(fmt.Sprintf("%d bytes of text left; shares of %d bytes make %d; %d rows of %d, %d lines of %d", len(text), len(req.Gzip), bytes, rows, req.Rows(), line, req.Lines()))
		}
	}
	return bodies
}

// unzip returns the lines of a body.
func unzip(_ failer, b *sent) []byte { return b.text }

// jsonLine is a line as a server reads it.
type jsonLine struct {
	Metric     map[string]string
	Values     []float64
	Timestamps []int64
}

func parse(t failer, b *sent) (lines []jsonLine) {
	t.Helper()
	for text := range strings.Lines(string(unzip(t, b))) {
		var l jsonLine
		if err := json.Unmarshal([]byte(text), &l); err != nil || !strings.HasSuffix(text, "]}\n") {
			t.Fatalf("line %q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// catalogue is a set of series by id.
type catalogue map[int64]*store.SeriesInfo

func (c catalogue) get(id int64) (*store.SeriesInfo, error) {
	if s := c[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("series %d is not in the file", id)
}

// put adds a number series.
func (c catalogue) put(id int64, name string, tags ...store.Tag) {
	c[id] = &store.SeriesInfo{ID: id, Device: "d", Name: name, Tags: tags}
}

// row is a sample of series id, so long after noon.
func row(after time.Duration, id int64, value float64) store.Row {
	return store.Row{Key: store.PackKey(noon.Add(after).UnixMilli(), id), Value: value}
}

// input is what a rapid test builds from.
type input struct {
	rows   []store.Row
	series catalogue
	byKey  map[store.Key]store.Row
}

// drawInput draws up to ten series and their rows: some text, some that no
// server takes, some without a value, timestamps near and far.
func drawInput(t *rapid.T) input {
	in := input{series: catalogue{}, byKey: map[store.Key]store.Row{}}
	ids := rapid.SliceOfNDistinct(rapid.Int64Range(1, store.MaxSeries), 1, 10, rapid.ID).Draw(t, "ids")
	for i, id := range ids {
		s := &store.SeriesInfo{
			ID: id, Device: "d", Name: rapid.SampledFrom([]string{"a.b", "a_c", "x.bytes", "\"odd\\\n"}).Draw(t, "name"),
			Tags: []store.Tag{{Name: "n", Value: fmt.Sprint(i)}},
		}
		switch rapid.IntRange(0, 12).Draw(t, "kind") {
		case 0:
			s.Type = store.Text
		case 1:
			s.Tags = append(s.Tags, store.Tag{Name: "w", Value: strings.Repeat("x", MaxValueBytes+1)})
		}
		in.series[id] = s
	}
	at := rapid.OneOf(
		rapid.Int64Range(0, 40), // ticks of 10 s from noon on: several series share them
		rapid.Int64Range(0, 40),
		rapid.Int64Range(-noon.Unix()/10, store.MaxTimestampMS/10_000-noon.Unix()/10),
	)
	value := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-1e3, 1e3), rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64}))
	for range rapid.IntRange(1, 150).Draw(t, "rows") {
		r := row(time.Duration(at.Draw(t, "tick"))*10*time.Second, rapid.SampledFrom(ids).Draw(t, "id"), value.Draw(t, "value"))
		r.Null = rapid.IntRange(0, 20).Draw(t, "null") == 0
		in.byKey[r.Key] = r
	}
	for _, r := range in.byKey {
		in.rows = append(in.rows, r)
	}
	sortRows(in.rows)
	return in
}

func sortRows(rows []store.Row) {
	slices.SortFunc(rows, func(a, b store.Row) int { return int(min(1, max(-1, a.Key-b.Key))) })
}

// rowsOf returns the rows of keys.
func (in input) rowsOf(keys store.KeySet) []store.Row {
	rows := make([]store.Row, len(keys))
	for i, k := range keys {
		rows[i] = in.byKey[k]
	}
	return rows
}

// texts returns the lines of all bodies.
func texts(t testing.TB, bodies []*sent) string {
	t.Helper()
	var all strings.Builder
	for i, b := range bodies {
		if i > 0 {
			all.WriteByte('\n')
		}
		all.Write(unzip(t, b))
	}
	return all.String()
}
