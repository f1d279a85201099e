package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
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
	// so far are final: what may pass is said of the whole body, by its status.
	Retry bool `json:"retry"`
	// Timestamps are the samples that were rejected; without them it was the whole line.
	Timestamps []int64 `json:"timestamps,omitempty"`
}

// maxAnswerKept bounds the answers that are remembered. A chunk with a longer one is judged anew when it comes again,
// which takes longer and ends in the same.
const maxAnswerKept = 16 << 10

// chunkID is what a sender may call a chunk: shipperd's are "<uuid>/<index>".
var chunkID = regexp.MustCompile(`^[!-~]{1,128}$`)

// importLines stores the good samples of a body and answers when they are kept.
func (g *gateway) importLines(w http.ResponseWriter, r *http.Request, who caller) error {
	began := time.Now()
	chunk := r.Header.Get("X-Chunk-Id")
	switch {
	case chunk != "" && !chunkID.MatchString(chunk):
		return fail(http.StatusForbidden, "X-Chunk-Id is not 1 to 128 printable characters; nothing was stored")
	case r.URL.RawQuery != "" && adds(r.URL.Query()):
		// VictoriaMetrics would let it override a label: another device's name on this one's samples.
		return fail(http.StatusForbidden, "parameters that add labels or filters are not allowed here; nothing was stored")
	}
	h := hold{in: g.intake}
	defer h.release()
	body, err := g.intake.read(w, r, &h)
	if err != nil {
		return err
	}
	g.stats.bodyBytes.Add(float64(len(body)))
	requestRead(w)
	text, err := g.chunk(r, who, chunk, body, &h)
	if err != nil {
		return err
	}
	g.stats.duration.Observe(time.Since(began).Seconds())
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(text)
	return err
}

// adds tells whether parameters would change what a line says.
func adds(params url.Values) bool {
	for name := range params {
		if strings.HasPrefix(name, "extra_") {
			return true
		}
	}
	return false
}

// chunk returns the answer to a body: the one that was given before, if it is a chunk that was taken before.
func (g *gateway) chunk(r *http.Request, who caller, id string, body []byte, h *hold) ([]byte, error) {
	var receipt *store.Receipt
	if id != "" {
		receipt = &store.Receipt{Device: who.name(), Chunk: id, Body: sha256.Sum256(body)}
		end, err := g.flights.begin(r.Context(), receipt.Device+"\n"+id)
		if err != nil {
			return nil, err
		}
		defer end()
		before, found, err := g.sink.Receipt(r.Context(), receipt.Device, id)
		if err != nil && r.Context().Err() == nil {
			// A store that cannot be read may still be written, and that the samples are kept once is its own promise.
			g.lookups.Fail(g.log, slog.LevelError, "chunk cannot be looked up", err)
		}
		if found && before.Body == receipt.Body {
			g.stats.replayed.Inc()
			return before.Answer, nil
		}
	}
	b := batch{answer: answer{Lines: []lineAnswer{}}, hold: h, who: who, parser: line.Parser{MaxLabels: g.maxLabels}}
	if g.retention > 0 {
		b.parser.Oldest = time.Now().Add(-g.retention).UnixMilli()
	}
	err := g.intake.decode(r.Context(), body, r.Header.Get("Content-Encoding"), b.readAll)
	g.stats.foreign.Add(float64(b.foreign))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(b.answer)
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	if receipt != nil && len(text) <= maxAnswerKept {
		receipt.Answer = text
	} else {
		receipt = nil
	}
	if err := g.write(r.Context(), who, b.lines, receipt); err != nil {
		return nil, err
	}
	g.stats.accepted.Add(float64(b.answer.Accepted))
	g.stats.rejected.Add(float64(b.answer.Rejected))
	return text, nil
}

// write hands lines to the sink.
func (g *gateway) write(ctx context.Context, who caller, lines []line.Line, receipt *store.Receipt) error {
	if len(lines) == 0 {
		return nil
	}
	err := g.sink.WriteChunk(ctx, lines, receipt)
	if err != nil && ctx.Err() != nil {
		return err // the client has gone
	}
	if err != nil && senders(err) {
		g.refusals.Fail(g.log, slog.LevelWarn, "the upstream refuses samples", err, "device", who.name())
		return g.sinkFault(err)
	}
	if g.outage.note(err); err != nil {
		return g.sinkFault(err)
	}
	return nil
}

// batch is a body that has been judged: the samples to store, and the answer if they can be.
type batch struct {
	parser line.Parser
	hold   *hold
	who    caller

	lines  []line.Line
	answer answer
	number int // lines read, blank ones too
	judged int // lines that were not blank

	foreign int    // lines of other devices
	reason  string // of the first of them
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
	switch {
	case b.judged == 0:
		return fail(http.StatusBadRequest, "body has no lines")
	case b.foreign > 0 && b.answer.Accepted == 0:
		return b.who.errForeign(b.reason)
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
	if device := l.Labels.Get(line.DeviceLabel); !b.who.owns(device) {
		reason := b.who.foreign(device)
		if b.foreign++; b.foreign == 1 {
			b.reason = reason
		}
		return &line.Error{Reason: reason, Samples: l.Samples()}
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
