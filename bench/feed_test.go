//go:build bench

package bench

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// feed gives the samples of a board to vmagent as JSON lines, some ticks at a time.
type feed struct {
	agent  *testkit.VMAgent
	ticks  int // in one request
	heads  []string
	values [][]float64
	times  []int64
}

func newFeed(agent *testkit.VMAgent, ticks int) *feed { return &feed{agent: agent, ticks: ticks} }

func (f *feed) tick(b *testing.B, brd *board, ts time.Time) {
	b.Helper()
	if f.heads == nil {
		for _, s := range brd.series {
			f.heads = append(f.heads, head(b, s))
		}
		f.values = make([][]float64, len(f.heads))
	}
	for i, s := range brd.tick() {
		f.values[i] = append(f.values[i], s.Value)
	}
	if f.times = append(f.times, ts.UnixMilli()); len(f.times) == f.ticks {
		f.flush(b)
	}
}

func (f *feed) flush(b *testing.B) {
	b.Helper()
	if len(f.times) == 0 {
		return
	}
	var lines strings.Builder
	var buf []byte
	for i, h := range f.heads {
		lines.WriteString(h)
		buf = append(buf[:0], `,"values":[`...)
		for _, v := range f.values[i] {
			buf = append(strconv.AppendFloat(buf, v, 'g', -1, 64), ',')
		}
		buf = append(buf[:len(buf)-1], `],"timestamps":[`...)
		for _, ts := range f.times {
			buf = append(strconv.AppendInt(buf, ts, 10), ',')
		}
		buf = append(buf[:len(buf)-1], "]}\n"...)
		lines.Write(buf)
		f.values[i] = f.values[i][:0]
	}
	f.times = f.times[:0]
	if err := f.agent.Import(lines.String()); err != nil {
		b.Fatal(err)
	}
}

// head begins the line of a series, named as shipperd names it.
func head(b *testing.B, s *store.Series) string {
	b.Helper()
	tags, err := store.ParseTags(s.Tags)
	if err != nil {
		b.Fatal(err)
	}
	labels := map[string]string{"__name__": strings.ReplaceAll(s.Name, ".", "_"), "device_id": s.Device}
	for _, t := range tags {
		labels[t.Name] = t.Value
	}
	text, err := json.Marshal(labels)
	if err != nil {
		b.Fatal(err)
	}
	return `{"metric":` + string(text)
}
