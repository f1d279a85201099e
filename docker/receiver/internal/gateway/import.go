package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
)

// The most that one body may hold; beyond that the answer is 413, and the sender has to split. They bound the memory of
// a request and of its answer, and the time for which one transaction holds up the others.
const (
	maxLines   = 100_000
	maxSamples = line.MaxSamples
)

// answer is the body of a 200. Senders parse it: its form does not change.
type answer struct {
	Accepted int          `json:"accepted"` // samples that are stored now
	Rejected int          `json:"rejected"` // samples that are not; a line that cannot be read counts as one
	Lines    []lineAnswer `json:"lines"`    // what was rejected, in the order of the lines
}

// lineAnswer names samples of one line that were rejected for one reason. A line can have several.
type lineAnswer struct {
	Line   int    `json:"line"` // counted from 1, blank lines too
	Reason string `json:"reason"`
	// Retry tells that the same samples may be taken at another time; without it they never will. All reasons there are
	// so far are final: what may pass is said of the whole body, by status 503.
	Retry bool `json:"retry"`
	// Timestamps are the samples that were rejected; without them it was the whole line.
	Timestamps []int64 `json:"timestamps,omitempty"`
}

// importLines stores the good samples of a body in one transaction and answers when they are on the disk.
func (g *gateway) importLines(w http.ResponseWriter, r *http.Request) error {
	h := hold{in: g.intake}
	defer h.release()
	body, err := g.intake.read(w, r, &h)
	if err != nil {
		return err
	}
	requestRead(w)
	b := batch{answer: answer{Lines: []lineAnswer{}}, hold: &h}
	if g.retention > 0 {
		b.parser.Oldest = time.Now().Add(-g.retention).UnixMilli()
	}
	if err := g.intake.decode(r.Context(), body, r.Header.Get("Content-Encoding"), b.readAll); err != nil {
		return err
	}
	if err := g.write(r.Context(), b.lines); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, b.answer)
}

// write hands lines to the sink.
func (g *gateway) write(ctx context.Context, lines []line.Line) error {
	if len(lines) == 0 {
		return nil
	}
	err := g.sink.Write(ctx, lines)
	if err != nil && ctx.Err() != nil {
		return err // the client has gone before it was its turn
	}
	g.outage.note(err)
	switch {
	case errors.Is(err, store.ErrFull):
		return &fault{http.StatusServiceUnavailable, "the store is full; nothing was stored", time.Minute}
	case err != nil:
		return &fault{http.StatusServiceUnavailable, "the store cannot be written; nothing was stored", 10 * time.Second}
	}
	return nil
}

// batch is a body that has been judged: the samples to store, and the answer if they can be.
type batch struct {
	parser line.Parser
	hold   *hold

	lines  []line.Line
	answer answer
	number int // lines read, blank ones too
	judged int // lines that were not blank
}

// readAll judges all lines. An error means that the body as a whole is unusable.
func (b *batch) readAll(r *lineReader) error {
	for {
		text, err := r.next()
		if err == io.EOF {
			break
		}
		b.number++
		if err == nil {
			err = b.readLine(text)
		}
		if e, ok := errors.AsType[*line.Error](err); ok {
			err = b.refuse(e)
		}
		switch {
		case err != nil:
			return err
		case b.number > maxLines:
			return fail(http.StatusRequestEntityTooLarge, "body has more than %d lines", maxLines)
		case b.answer.Accepted+b.answer.Rejected > maxSamples:
			return fail(http.StatusRequestEntityTooLarge, "body has more than %d samples", maxSamples)
		}
	}
	if b.judged == 0 {
		return fail(http.StatusBadRequest, "body has no lines")
	}
	return nil
}

// refuse notes that a whole line is rejected.
func (b *batch) refuse(e *line.Error) error {
	b.judged++
	b.answer.Rejected += e.Samples
	b.answer.Lines = append(b.answer.Lines, lineAnswer{Line: b.number, Reason: e.Reason})
	return b.hold.add(int64(len(e.Reason) + 128))
}

// readLine judges one line. A *line.Error refuses this line only.
func (b *batch) readLine(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	l, err := b.parser.Parse(text)
	if err != nil {
		return err
	}
	b.judged++
	samples := len(l.Timestamps)
	for _, rej := range l.Rejects {
		samples += len(rej.Timestamps)
		b.answer.Rejected += len(rej.Timestamps)
		b.answer.Lines = append(b.answer.Lines, lineAnswer{Line: b.number, Reason: rej.Reason, Timestamps: rej.Timestamps})
	}
	// A timestamp and a value of 8 bytes each, the labels twice, and what stands around them.
	if err := b.hold.add(int64(16*samples + 2*len(l.Metric) + 256)); err != nil {
		return err
	}
	if len(l.Timestamps) > 0 {
		l.Rejects = nil
		b.lines = append(b.lines, l)
		b.answer.Accepted += len(l.Timestamps)
	}
	return nil
}
