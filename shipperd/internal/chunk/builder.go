// Package chunk turns pending rows into request bodies: JSON lines of /api/v1/import, one series a
// line, compressed with gzip.
//
// It promises that every row given to it comes back exactly once, in a body, as refused or as text;
// that the lines of a body depend only on its rows, what their keys mean and the time at which it
// was made, so that a retry after a crash sends the same lines; and that no request is larger than
// the limit. It does no I/O.
//
// The format:
// https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#json-line-format
package chunk

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/shared/store"
)

// Config bounds the bodies and says which timestamps the server stores.
type Config struct {
	MaxMetrics int // lines in a body of Build, 0 = 50
	MaxBytes   int // compressed bytes of a request, 0 = 256 KiB

	// MaxPast and MaxFuture are how far from the body's time a timestamp may lie.
	// Others are moved to the edge, see clamp.go. 0 = any.
	MaxPast, MaxFuture time.Duration
}

const (
	defaultMaxMetrics = 50
	defaultMaxBytes   = 256 << 10
)

// SeriesFunc finds the series of a key. What it returns must never change.
type SeriesFunc func(id int64) (*store.SeriesInfo, error)

// Refused is a row that no request can carry.
type Refused struct {
	Key    store.Key
	Reason Reason
	Detail string // for a person
}

// Reason is a fixed word, suitable as a label.
type Reason = string

// The reasons for which a row is refused. VictoriaMetrics answers 204 to most of
// these and drops the sample or changes its series.
const (
	NoValue       Reason = "no_value"        // no number in the row
	NotFinite     Reason = "not_finite"      // an infinite number, which JSON cannot say
	NameTooLong   Reason = "name_too_long"   // metric name above MaxNameBytes
	TooManyLabels Reason = "too_many_labels" // above MaxLabels
	LabelTooLong  Reason = "label_too_long"  // name above MaxNameBytes or value above MaxValueBytes
	TooLarge      Reason = "too_large"       // alone above Config.MaxBytes
)

// Builder makes bodies. It keeps its buffers, among them a gzip writer of about
// a megabyte, so one goroutine at a time may use it.
type Builder struct {
	cfg   Config
	heads map[int64]*head // by series id, see headOf

	// One call's rows by series, see intern.
	index  map[int64]int32 // series id → index in groups
	groups []group
	local  []int32 // index in groups, for each row

	// One body's lines, see layOut.
	place []int32 // first position of each group in order
	order []int32 // row indices, series by series
	sent  []int64 // timestamps as sent, beside order
	lines []line
	used  map[int64]int64 // for clamp, see take

	text []byte // of one line
	sum  hash.Hash
	gzip *gzip.Writer
	out  bytes.Buffer

	perRow float64 // compressed bytes a row, of the last request of BuildCatchUp
}

// New makes a Builder for the rows of one file.
func New(cfg Config) *Builder {
	if cfg.MaxMetrics == 0 {
		cfg.MaxMetrics = defaultMaxMetrics
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	b := &Builder{
		cfg:    cfg,
		heads:  map[int64]*head{},
		index:  map[int64]int32{},
		used:   map[int64]int64{},
		sum:    sha256.New(),
		perRow: firstGuess,
	}
	b.gzip, _ = gzip.NewWriterLevel(&b.out, level) // fails for levels that do not exist
	return b
}

// Build makes the requests of a normal batch, mostly one: every series is a line with all its
// samples of the batch (a second line from valuesPerLine on), the lines are sorted by their first
// timestamp, then by labels, and cut into bodies of MaxMetrics lines. A request above MaxBytes is
// cut between two bodies, and one of a single body is halved as Halve does.
//
// rows ascend by key. created is the time of the batch, of which milliseconds
// count; offset is what makes the milliseconds of the rows' keys true time, the same for all of
// them (store.Timeline). text are the rows of text series: nobody sends them, they are done. An
// error means that series failed or that rows do not ascend; nothing is returned then.
func (b *Builder) Build(rows []store.Row, series SeriesFunc, created time.Time, offset int64) (requests []*Request, refused []Refused, text store.KeySet, err error) {
	s, err := b.sift(rows, series)
	if err != nil {
		return nil, nil, nil, err
	}
	b.layOut(s, created, offset)
	// encode lays out anew, so the cut is copied first.
	var parts []selection
	for lines := range slices.Chunk(b.lines, b.cfg.MaxMetrics) {
		var cut []int32
		for _, l := range lines {
			cut = append(cut, b.order[l.from:l.to]...)
		}
		slices.Sort(cut)
		parts = append(parts, s.pick(cut))
	}
	err = b.fit(parts, created, offset, halveByLines, func(r *Request) { requests = append(requests, r) }, &s.refused)
	if err != nil {
		return nil, nil, nil, err
	}
	return requests, s.refused, s.text, nil
}

// Rebuild makes the body of a recorded chunk, as a request of its own: the same rows, created and
// offset give the same lines as before. A part of the rows gives each sample the timestamp
// that it had in the whole (clamp has the one exception), so that what is missing
// at the server can be told from what is there. The limits on size do not apply.
func (b *Builder) Rebuild(rows []store.Row, series SeriesFunc, created time.Time, offset int64) (*Request, error) {
	s, err := b.sift(rows, series)
	if err != nil {
		return nil, err
	}
	for _, k := range s.text {
		s.refused = append(s.refused, Refused{k, NoValue, "the row is text"})
	}
	switch {
	case len(s.refused) > 0:
		return nil, &UnfitError{s.refused}
	case len(rows) == 0:
		return nil, errors.New("rebuild chunk: no rows")
	}
	return b.encode([]selection{s}, created, offset, 0)
}

// UnfitError says that rows of a recorded chunk cannot be sent. They could when it was recorded:
// the file has been damaged since.
type UnfitError struct{ Refused []Refused }

func (e *UnfitError) Error() string {
	r := e.Refused[0]
	return fmt.Sprintf("rebuild chunk: %d rows cannot be sent, the first: row %d: %s: %s", len(e.Refused), r.Key, r.Reason, r.Detail)
}

// fit makes requests of parts, a body each, that keep to MaxBytes, halving as often as it takes. A
// row that is too large alone is refused.
func (b *Builder) fit(parts []selection, created time.Time, offset int64, halve func(selection) (selection, selection), add func(*Request), refused *[]Refused) error {
	if len(parts) == 0 {
		return nil
	}
	req, err := b.encode(parts, created, offset, b.cfg.MaxBytes)
	n := len(parts) / 2
	switch s := parts[0]; {
	case err == nil:
		add(req)
		return nil
	case !errors.Is(err, errTooLarge):
		return err
	case n > 0:
	case len(s.rows) == 1:
		*refused = append(*refused, Refused{
			s.rows[0].Key, TooLarge,
			fmt.Sprintf("alone it takes more than the %d bytes of a request", b.cfg.MaxBytes),
		})
		return nil
	default:
		first, second := halve(s)
		parts, n = []selection{first, second}, 1
	}
	if err := b.fit(parts[:n], created, offset, halve, add, refused); err != nil {
		return err
	}
	return b.fit(parts[n:], created, offset, halve, add, refused)
}
