package chunk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/store"
)

// valuesPerLine is the most values a line carries: more would save nothing worth
// having, and a line is what a server's answer speaks of. Like level it is part
// of the format: a recorded chunk must be rebuilt with the same cuts.
const valuesPerLine = 500

// level is gzip's. Against BestSpeed (1) it saves 8 to 10 % of the bytes in small
// and large bodies alike and costs 0.06 to 0.1 µs a sample, see
// BenchmarkCompression. The next levels cost much more and save little.
const level = 6

// line is a run of Builder.order.
type line struct {
	group    int32
	from, to int32
	first    int64 // timestamp as sent
}

var errTooLarge = errors.New("body too large")

// encode makes the request of parts, a body each, and is the only place that does. The lines depend
// on the rows, offset and created only. limit bounds the compressed size, 0 = none.
func (b *Builder) encode(parts []selection, created time.Time, offset int64, limit int) (*Request, error) {
	b.out.Reset()
	b.gzip.Reset(&b.out)
	req := &Request{Bodies: make([]*Body, len(parts))}
	for i, s := range parts {
		var err error
		if req.Bodies[i], err = b.encodeBody(s, created, offset, limit); err != nil {
			return nil, err
		}
	}
	if err := b.gzip.Close(); err != nil {
		return nil, fmt.Errorf("compress chunk: %w", err)
	}
	if limit > 0 && b.out.Len() > limit {
		return nil, errTooLarge
	}
	req.Gzip = bytes.Clone(b.out.Bytes())
	req.share()
	return req, nil
}

// share divides the compressed bytes among the bodies, by their size before.
func (r *Request) share() {
	var raw, upTo int64 // their product with the length does not fit in 32 bits
	given := 0
	for _, b := range r.Bodies {
		raw += int64(b.Raw)
	}
	for _, b := range r.Bodies {
		upTo += int64(b.Raw)
		b.Bytes = int(int64(len(r.Gzip))*upTo/raw) - given
		given += b.Bytes
	}
}

// encodeBody adds the lines of s to the gzip stream.
func (b *Builder) encodeBody(s selection, created time.Time, offset int64, limit int) (*Body, error) {
	clamped := b.layOut(s, created, offset)
	body := &Body{
		Keys:       make(store.KeySet, len(s.rows)),
		Contiguous: s.contiguous(),
		Clamped:    clamped,
		samples:    make([]Sample, 0, len(s.rows)),
		ends:       make([]int32, 0, len(b.lines)),
		minMS:      math.MaxInt64,
		maxMS:      math.MinInt64,
	}
	for i := range s.rows {
		body.Keys[i] = s.rows[i].Key
	}
	b.sum.Reset()
	for _, l := range b.lines {
		b.writeLine(s, l)
		body.Raw += len(b.text)
		b.sum.Write(b.text) //nolint:errcheck // a hash does not fail
		if _, err := b.gzip.Write(b.text); err != nil {
			return nil, fmt.Errorf("compress chunk: %w", err)
		}
		if limit > 0 && b.out.Len() > limit {
			return nil, errTooLarge
		}
		for k := l.from; k < l.to; k++ {
			body.samples = append(body.samples, Sample{s.rows[b.order[k]].Key, b.sent[k]})
		}
		body.ends = append(body.ends, int32(len(body.samples)))
		body.minMS = min(body.minMS, b.sent[l.from])
		body.maxMS = max(body.maxMS, b.sent[l.to-1])
	}
	b.sum.Sum(body.Hash[:0])
	return body, nil
}

// layOut groups the rows of s by series (a counting sort, so that a sample costs
// no allocation), cuts and sorts the lines. It returns how many timestamps were
// moved.
func (b *Builder) layOut(s selection, created time.Time, offset int64) (clamped int) {
	b.place = resize(b.place, len(b.groups)+1)
	clear(b.place)
	for _, g := range s.local {
		b.place[g+1]++
	}
	for g := range b.groups {
		b.place[g+1] += b.place[g]
	}
	b.order, b.sent = resize(b.order, len(s.rows)), resize(b.sent, len(s.rows))
	for i, g := range s.local {
		k := b.place[g]
		b.order[k], b.sent[k] = int32(i), s.rows[i].Key.TimestampMS()+offset
		b.place[g]++ // ends as the first position of the next group
	}
	edges := edgesAt(b.cfg, created)
	inside := len(s.rows) == 0 || edges.contain(s.rows[0].Key.TimestampMS()+offset) && edges.contain(s.rows[len(s.rows)-1].Key.TimestampMS()+offset)

	b.lines = b.lines[:0]
	from := int32(0)
	for g := range b.groups {
		to := b.place[g]
		if !inside {
			clamped += b.clamp(edges, b.sent[from:to], b.order[from:to])
		}
		for ; from < to; from = min(from+valuesPerLine, to) {
			b.lines = append(b.lines, line{int32(g), from, min(from+valuesPerLine, to), b.sent[from]})
		}
	}
	slices.SortFunc(b.lines, b.compare)
	return clamped
}

// compare orders lines by time, then by labels: what the numbers of the series
// are must not show. Only series whose labels became equal are left to them.
func (b *Builder) compare(x, y line) int {
	if c := cmp.Compare(x.first, y.first); c != 0 {
		return c
	}
	gx, gy := &b.groups[x.group], &b.groups[y.group]
	if c := strings.Compare(gx.head.open, gy.head.open); c != 0 {
		return c
	}
	return cmp.Compare(gx.id, gy.id)
}

// writeLine puts a line into b.text.
func (b *Builder) writeLine(s selection, l line) {
	t := append(b.text[:0], b.groups[l.group].head.open...)
	for k := l.from; k < l.to; k++ {
		if k > l.from {
			t = append(t, ',')
		}
		t = appendValue(t, s.rows[b.order[k]].Value)
	}
	t = append(t, `],"timestamps":[`...)
	for k := l.from; k < l.to; k++ {
		if k > l.from {
			t = append(t, ',')
		}
		t = strconv.AppendInt(t, b.sent[k], 10)
	}
	b.text = append(t, "]}\n"...)
}

// appendValue writes the shortest text that reads back as the same float; whole
// numbers as such.
func appendValue(dst []byte, v float64) []byte {
	switch a := math.Abs(v); {
	case a < 1e15 && v == math.Trunc(v):
		return strconv.AppendInt(dst, int64(v), 10)
	case a >= 1e-5 && a < 1e21:
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	default:
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
}
