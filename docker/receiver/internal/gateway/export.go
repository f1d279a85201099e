package gateway

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/selector"
	"belabox-metrics/docker/receiver/internal/store"
)

const (
	// maxFormBytes bounds the parameters of an export in a body. A reader may list thousands of names.
	maxFormBytes = 1 << 20
	// maxSelectors bounds the number of match[]: each one is a walk over series.
	maxSelectors = 1000
	// maxRowsPerLine cuts a longer series into several lines, so that an export takes a bounded amount of memory and
	// each of its lines can be imported again.
	maxRowsPerLine = 100_000
	// maxLineWrite is how long the client may take for one line.
	maxLineWrite = 2 * time.Minute
)

// export answers with the samples that the parameters select, in the format of VictoriaMetrics' /api/v1/export.
//
//	match[]            series selector; several mean the union
//	start, end         first and last time, both included: unix seconds, unix milliseconds or RFC 3339; default: all
//	max_rows_per_line  most samples in a line, up to 100000, which is the default
//
// An error in the middle of the answer cuts the connection, so that a part is never taken for the whole.
func (g *gateway) export(w http.ResponseWriter, r *http.Request, who caller) error {
	q, err := parseQuery(w, r, who)
	if err != nil {
		return err
	}
	out := &lineWriter{w: w, control: http.NewResponseController(w)}
	requestRead(w)
	if acceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		out.gzip, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
	}
	w.Header().Set("Vary", "Accept-Encoding")
	w.Header().Set("Content-Type", "application/stream+json; charset=utf-8")
	if g.upstream != nil {
		err = g.exportUpstream(r.Context(), q, who, out)
	} else {
		err = g.source.Select(r.Context(), q.Query, out.write)
	}
	if err == nil {
		err = out.close()
	}
	if err == nil {
		return nil
	}
	if out.broken == nil && r.Context().Err() == nil {
		g.exports.Fail(g.log, slog.LevelError, "export broke off", err)
	}
	if out.begun {
		return err
	}
	w.Header().Del("Content-Encoding")
	if g.upstream != nil {
		return g.upstreamFault(err)
	}
	return fail(http.StatusInternalServerError, "the store cannot be read")
}

// lineWriter writes pieces as lines to the client.
type lineWriter struct {
	w       io.Writer
	gzip    *gzip.Writer // nil = plain
	control *http.ResponseController
	line    []byte
	begun   bool  // something may have been sent
	broken  error // the client can no longer be reached
}

func (l *lineWriter) write(p *store.Piece) error {
	l.line = line.Append(l.line[:0], p.Metric, p.Timestamps, p.Values)
	return l.flush()
}

// flush writes the line.
func (l *lineWriter) flush() error {
	l.begun = true
	// A long export may take as long as it needs, a client that takes nothing may not.
	if err := l.control.SetWriteDeadline(time.Now().Add(maxLineWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		l.broken = err
		return err
	}
	to := l.w
	if l.gzip != nil {
		to = l.gzip
	}
	_, l.broken = to.Write(l.line)
	return l.broken
}

func (l *lineWriter) close() error {
	if l.gzip != nil {
		l.begun = true
		l.broken = l.gzip.Close()
	}
	return l.broken
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3) so far as it matters here.
func acceptsGzip(h http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !found || err == nil && q > 0
	}
	return false
}

// query is what an export asks for: read, and as text for an upstream.
type query struct {
	store.Query
	texts []string // the selectors
}

// readForm reads the parameters, from the URL and for POST from a form too.
func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return fail(http.StatusRequestEntityTooLarge, "parameters are larger than %d bytes", maxFormBytes)
		}
		return fail(http.StatusBadRequest, "parameters cannot be read: %v", err)
	}
	return nil
}

// parseQuery reads the parameters and narrows the selectors to the caller's devices.
func parseQuery(w http.ResponseWriter, r *http.Request, who caller) (query, error) {
	q := query{Query: store.Query{To: line.MaxTimestamp, MaxRows: maxRowsPerLine}}
	if err := readForm(w, r); err != nil {
		return q, err
	}
	matches := r.Form["match[]"]
	switch {
	case len(matches) == 0:
		return q, fail(http.StatusBadRequest, "parameter match[] is missing: it selects the series, "+
			"for example match[]={device_id=\"d\"}")
	case len(matches) > maxSelectors:
		return q, fail(http.StatusBadRequest, "more than %d parameters match[]", maxSelectors)
	}
	for _, text := range matches {
		var sel selector.Selector
		text, err := who.restrict(text)
		if _, refused := errors.AsType[*fault](err); refused {
			return q, err
		}
		if err == nil {
			sel, err = selector.Parse(text)
		}
		if err != nil {
			return q, fail(http.StatusBadRequest, "parameter match[]: %v", err)
		}
		q.Selectors, q.texts = append(q.Selectors, sel), append(q.texts, text)
	}
	for _, p := range []struct {
		name string
		into *int64
	}{{"start", &q.From}, {"end", &q.To}} {
		text := r.Form.Get(p.name)
		if text == "" {
			continue
		}
		ms, err := parseTime(text)
		if err != nil {
			return q, fail(http.StatusBadRequest, "parameter %s: %v", p.name, err)
		}
		*p.into = ms
	}
	if text := r.Form.Get("max_rows_per_line"); text != "" {
		rows, err := strconv.Atoi(text)
		if err != nil || rows < 1 {
			return q, fail(http.StatusBadRequest, "parameter max_rows_per_line: want a number from 1 to %d", maxRowsPerLine)
		}
		q.MaxRows = min(rows, maxRowsPerLine)
	}
	return q, nil
}

// parseTime reads a time into milliseconds since 1970, not before that and not after the year 9999. Like VictoriaMetrics
// it takes seconds, with or without a fraction, milliseconds and RFC 3339. A number is milliseconds from 1e11 on: as
// seconds that would be after the year 5138, as milliseconds it is 1973.
func parseTime(text string) (int64, error) {
	var ms float64
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) {
		if ms = n; math.Abs(n) < 1e11 {
			ms = math.Round(n * 1000)
		}
	} else if t, err := time.Parse(time.RFC3339, text); err == nil {
		ms = float64(t.UnixMilli())
	} else {
		return 0, errors.New("want unix seconds, unix milliseconds or RFC 3339 such as 2026-01-02T15:04:05Z")
	}
	return int64(min(max(ms, 0), line.MaxTimestamp)), nil
}
