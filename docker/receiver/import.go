package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/jsonline"
)

// The most that one body may hold; beyond that the answer is 413, and the sender has to split. They
// bound the memory of a request and of its answer, and the time that one transaction takes.
const (
	maxLines   = 100_000
	maxSamples = 1_000_000
)

// minTimestamp and maxTimestamp bound the timestamps that are accepted, in milliseconds since 1970:
// 3 March 1973 to the end of the year 9999. Seconds fall below the first, microseconds above the
// second.
const (
	minTimestamp = 100_000_000_000
	maxTimestamp = 253_402_300_799_999
)

// details is the body of a 200. shipperd reads it (shipperd/internal/victoria/details.go): its form
// does not change.
//
//	{"accepted":2,"rejected":1,"lines":[{"line":2,"reason":"timestamp is before 1973…","retry":false,"timestamps":[1700000000]}]}
type details struct {
	Accepted int           `json:"accepted"` // samples that are stored now
	Rejected int           `json:"rejected"` // samples that are not; a line that is not a JSON object counts as one
	Lines    []lineDetails `json:"lines"`    // what was rejected, in the order of the lines
}

// lineDetails names samples of one line that were rejected for one reason. A line can have several.
type lineDetails struct {
	Line   int    `json:"line"` // counted from 1, blank lines too
	Reason string `json:"reason"`
	// Retry would tell that the same samples may be taken at another time. All reasons that there
	// are are final.
	Retry bool `json:"retry"`
	// Timestamps are the samples that were rejected; without them it was the whole line.
	Timestamps []int64 `json:"timestamps,omitempty"`
}

// importLines stores the good samples of a body and answers when they are on the disk. After
// another status than 200 nothing of the body was stored.
func (rc *receiver) importLines(w http.ResponseWriter, r *http.Request) error {
	extra := jsonline.ExtraLabels(r.URL.Query())
	text, err := rc.body(w, r)
	if err != nil {
		return err
	}
	b := batch{extra: extra, oldest: minTimestamp, answer: details{Lines: []lineDetails{}}}
	if rc.retention > 0 {
		b.oldest = time.Now().Add(-rc.retention).UnixMilli()
	}
	if err := b.read(text); err != nil {
		return readError(err)
	}
	if !b.judged { // as VictoriaMetrics answers; shipperd doctor asks so
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := rc.keep(r.Context(), b.lines); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, b.answer)
}

func (rc *receiver) keep(ctx context.Context, lines []jsonline.Line) error {
	err := rc.store.insert(ctx, lines)
	switch {
	case err == nil:
		rc.writeFaults.Recover(rc.log, "storing samples works again")
	case ctx.Err() == nil: // else the client has gone
		rc.writeFaults.Fail(rc.log, slog.LevelError, "storing samples failed", err)
		return &statusError{http.StatusServiceUnavailable, "the samples cannot be stored; nothing was stored", 10 * time.Second}
	}
	return err
}

// body returns a reader of the text of a body. It fails with a *statusError where a limit is
// passed.
func (rc *receiver) body(w http.ResponseWriter, r *http.Request) (*bufio.Reader, error) {
	if r.ContentLength > rc.maxBody { // before it is sent
		return nil, readError(&http.MaxBytesError{Limit: rc.maxBody})
	}
	sent := bufio.NewReader(http.MaxBytesReader(w, r.Body, rc.maxBody))
	var text io.Reader = sent
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
		if magic, _ := sent.Peek(2); string(magic) == "\x1f\x8b" {
			return nil, fail(http.StatusBadRequest, "body is gzip, but there is no header Content-Encoding: gzip")
		}
	case "gzip":
		z, err := gzip.NewReader(sent)
		if err != nil {
			return nil, readError(err)
		}
		text = z
	default:
		return nil, fail(http.StatusUnsupportedMediaType, "Content-Encoding must be gzip or absent")
	}
	return bufio.NewReader(&limitedReader{text, rc.maxText, rc.maxText}), nil
}

// limitedReader reads decoded text up to a limit: a gzip body of a few kilobytes may stand for
// gigabytes.
type limitedReader struct {
	r           io.Reader
	left, limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fail(http.StatusRequestEntityTooLarge, "body is larger than %d bytes after decompression", l.limit)
	}
	return n, err
}

// readError returns the answer to a body that cannot be read to its end.
func readError(err error) error {
	if _, ok := errors.AsType[*statusError](err); ok {
		return err
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fail(http.StatusRequestEntityTooLarge, "body is larger than %d bytes", e.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fail(http.StatusRequestTimeout, "body did not arrive in time; nothing was stored")
	}
	return fail(http.StatusBadRequest, "body is cut short, or is not gzip as its header says (%v); nothing was stored", err)
}

// batch is a body that is judged: the samples to store, and the answer if they can be.
type batch struct {
	extra  map[string]string // labels for each series
	oldest int64             // milliseconds since 1970: the retention

	judged bool // there is a line
	lines  []jsonline.Line
	answer details
}

// read judges all lines. An error means that the body as a whole is unusable.
func (b *batch) read(text *bufio.Reader) error {
	for number := 1; ; number++ {
		line, err := readLine(text)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if number > maxLines {
			return fail(http.StatusRequestEntityTooLarge, "body has more than %d lines", maxLines)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			b.judge(number, line)
			b.judged = true
		}
		if b.answer.Accepted+b.answer.Rejected > maxSamples {
			return fail(http.StatusRequestEntityTooLarge, "body has more than %d samples", maxSamples)
		}
	}
}

// readLine returns the next line without its line end; io.EOF after the last.
func readLine(text *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := text.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case len(line) > jsonline.MaxLineBytes:
			return nil, fail(http.StatusRequestEntityTooLarge, "a line is longer than %d bytes", jsonline.MaxLineBytes)
		case err == nil, err == io.EOF && len(line) > 0:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// judge sorts the samples of a line into those to store and those to refuse.
func (b *batch) judge(number int, text []byte) {
	line, err := jsonline.Parse(text, b.extra)
	if e, ok := errors.AsType[*jsonline.Error](err); ok {
		b.answer.Rejected += max(1, e.Samples)
		b.answer.Lines = append(b.answer.Lines, lineDetails{Line: number, Reason: e.Reason})
		return
	}
	first, good := len(b.answer.Lines), 0
	for i, ts := range line.Timestamps {
		if reason := b.refuses(ts, line.Values[i]); reason != "" {
			b.refuse(first, number, reason, ts)
			continue
		}
		line.Timestamps[good], line.Values[good] = ts, line.Values[i]
		good++
	}
	if good > 0 {
		line.Timestamps, line.Values = line.Timestamps[:good], line.Values[:good]
		b.lines = append(b.lines, line)
		b.answer.Accepted += good
	}
}

// refuses returns why a sample is not stored, "" if it is.
func (b *batch) refuses(ts int64, value float64) string {
	switch {
	case value-value != 0: // an infinity
		return "value is out of the range of a 64-bit float"
	case ts < minTimestamp:
		return "timestamp is before 1973; timestamps are in milliseconds since 1970"
	case ts > maxTimestamp:
		return "timestamp is after the year 9999; timestamps are in milliseconds since 1970"
	case ts < b.oldest:
		return "timestamp is older than the retention"
	}
	return ""
}

// refuse adds a sample to the details with its reason among those of its line, which begin at
// first.
func (b *batch) refuse(first, number int, reason string, ts int64) {
	b.answer.Rejected++
	i := first + slices.IndexFunc(b.answer.Lines[first:], func(l lineDetails) bool { return l.Reason == reason })
	if i < first {
		i = len(b.answer.Lines)
		b.answer.Lines = append(b.answer.Lines, lineDetails{Line: number, Reason: reason})
	}
	b.answer.Lines[i].Timestamps = append(b.answer.Lines[i].Timestamps, ts)
}
