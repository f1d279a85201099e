package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"belabox-metrics/docker/receiver/internal/question"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/docker/receiver/internal/upstream"
)

// Upstream gives back what was passed on. The devices, where there are any, are all that may be seen.
type Upstream interface {
	Export(ctx context.Context, form url.Values, devices []string, yield func(text []byte) error) error
	Query(ctx context.Context, promql string, atMS int64, devices []string) ([]byte, error)
}

// exportUpstream passes an export on, line by line.
func (g *gateway) exportUpstream(ctx context.Context, q query, who caller, out *lineWriter) error {
	form := url.Values{
		"start":             {strconv.FormatFloat(float64(q.From)/1000, 'f', 3, 64)},
		"end":               {strconv.FormatFloat(float64(q.To)/1000, 'f', 3, 64)},
		"max_rows_per_line": {strconv.Itoa(q.MaxRows)},
		"match[]":           q.texts,
	}
	return g.upstream.Export(ctx, form, who, func(text []byte) error {
		out.line = append(append(out.line[:0], text...), '\n')
		return out.flush()
	})
}

// count answers shipperd's counting questions.
//
//	query  one of the two, see package question
//	time   unix seconds, unix milliseconds or RFC 3339; default: now
func (g *gateway) count(w http.ResponseWriter, r *http.Request, who caller) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	requestRead(w)
	q, err := question.Parse(r.Form.Get("query"))
	if err != nil {
		return fail(http.StatusBadRequest, "parameter query: %v", err)
	}
	at := time.Now().UnixMilli()
	if text := r.Form.Get("time"); text != "" {
		if at, err = parseTime(text); err != nil {
			return fail(http.StatusBadRequest, "parameter time: %v", err)
		}
	}
	if q.Selector, err = who.restrict(q.Selector); err != nil {
		return err
	}
	answer, err := g.upstream.Query(r.Context(), q.String(), at, who)
	if err != nil {
		if r.Context().Err() == nil {
			g.questions.Fail(g.log, slog.LevelWarn, "question cannot be answered", err)
		}
		return g.upstreamFault(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(answer)
	return err
}

// upstreamFault turns a failure of the upstream to answer a question into an answer. What it says of the inside of the
// network stays in the log.
func (g *gateway) upstreamFault(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	return &fault{e.Status, e.Text, e.RetryAfter}
}

// sinkFault is the answer to an import whose samples could not be kept.
func (g *gateway) sinkFault(err error) error {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		f := &fault{e.Status, e.Text + "; nothing was stored", e.RetryAfter}
		if e.MayHaveStored {
			f.text = e.Text + "; a part may be stored"
		}
		return f
	}
	if errors.Is(err, store.ErrFull) {
		return &fault{http.StatusServiceUnavailable, "the store is full; nothing was stored", time.Minute}
	}
	return &fault{http.StatusServiceUnavailable, "the store cannot be written; nothing was stored", 10 * time.Second}
}

// senders tells whether a failed import speaks against its body, and not against the sink.
func senders(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Status < 500 && e.Status != http.StatusTooManyRequests
}
