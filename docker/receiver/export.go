package main

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/selector"
)

const (
	// maxFormBytes bounds the parameters of an export in a body. A reader may list thousands of
	// names.
	maxFormBytes = 1 << 20
	// maxSelectors bounds the number of match[]: each one is a walk over series.
	maxSelectors = 100
	// maxRowsPerLine cuts a longer series into several lines, so that an export takes a bounded
	// amount of memory and each of its lines can be imported again.
	maxRowsPerLine = 100_000
	// maxLineWrite is how long the client may take for one line.
	maxLineWrite = 2 * time.Minute
)

// export answers with the samples that the parameters select, in the format of VictoriaMetrics'
// /api/v1/export.
//
//	match[]            series selector; several mean the union
//	start, end         first and last time, both included: unix seconds, unix milliseconds or RFC 3339; default: all
//	max_rows_per_line  most samples in a line, up to 100000, which is the default
//
// An error in the middle of the answer cuts the connection, so that a part is never taken for the
// whole.
func (rc *receiver) export(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(w, r)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/stream+json; charset=utf-8")
	w.Header().Set("Vary", "Accept-Encoding")
	var out io.Writer = w
	finish := func() error { return nil }
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		out, finish = z, z.Close
	}
	begun := false // something may have been sent
	var clientErr error
	var line []byte
	err = rc.store.selectPieces(r.Context(), q, func(p *piece) error {
		begun = true
		// A long export may take as long as it needs, a client that takes nothing may not.
		if clientErr = control.SetWriteDeadline(time.Now().Add(maxLineWrite)); clientErr == nil {
			line = jsonline.Append(line[:0], p.metric, p.timestamps, p.values)
			_, clientErr = out.Write(line)
		}
		return clientErr
	})
	if err == nil {
		return finish()
	}
	if clientErr == nil && r.Context().Err() == nil {
		rc.readFaults.Fail(rc.log, slog.LevelError, "export failed", err)
	}
	if begun {
		return err
	}
	w.Header().Del("Content-Encoding")
	return fail(http.StatusInternalServerError, "the samples cannot be read")
}

// parseQuery reads the parameters, from the URL and for POST from a form too.
func parseQuery(w http.ResponseWriter, r *http.Request) (query, error) {
	q := query{to: maxTimestamp, maxRows: maxRowsPerLine}
	bad := func(name string, err error) (query, error) {
		return q, fail(http.StatusBadRequest, "parameter %s: %v", name, err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return q, fail(http.StatusRequestEntityTooLarge, "parameters are larger than %d bytes", maxFormBytes)
		}
		return q, fail(http.StatusBadRequest, "parameters cannot be read: %v", err)
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
		sel, err := selector.Parse(text)
		if err != nil {
			return bad("match[]", err)
		}
		q.selectors = append(q.selectors, sel)
	}
	for name, into := range map[string]*int64{"start": &q.from, "end": &q.to} {
		if text := r.Form.Get(name); text != "" {
			ms, err := parseTime(text)
			if err != nil {
				return bad(name, err)
			}
			*into = ms
		}
	}
	if text := r.Form.Get("max_rows_per_line"); text != "" {
		rows, err := strconv.Atoi(text)
		if err != nil || rows < 1 {
			return bad("max_rows_per_line", errors.New("want a number above 0"))
		}
		q.maxRows = min(rows, maxRowsPerLine)
	}
	return q, nil
}

// parseTime reads a time into milliseconds since 1970, not before that and not after the year 9999.
// Like VictoriaMetrics it takes seconds, with or without a fraction, milliseconds and RFC 3339. A
// number is milliseconds from 1e11 on: as seconds that would be after the year 5138, as
// milliseconds it is 1973.
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
	return int64(min(max(ms, 0), maxTimestamp)), nil
}
