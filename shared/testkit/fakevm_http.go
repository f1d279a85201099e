package testkit

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/jsonline"
)

func isImport(path string) bool { return path == "/api/v1/import" }

// ServeHTTP is the server's handler; wrap it to put it under another path.
func (f *FakeVM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := Request{
		Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
	}
	f.mu.Lock()
	gone, token := f.gone, f.token
	f.mu.Unlock()
	switch {
	case token != "" && strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Authorization") != "Bearer "+token:
		f.reply(w, r, f.note(seen), Answer(http.StatusUnauthorized, nil), gone)
	case isImport(r.URL.Path):
		step := f.nextStep()
		if step.Status == 0 {
			step.Header = withMark(step.Header)
		}
		step.Status, step.Body = f.readAndStore(&seen, r, step)
		f.reply(w, r, f.note(seen), step, gone)
	default:
		f.reply(w, r, f.note(seen), f.readStep(r), gone)
	}
}

// withMark adds the header by which VictoriaMetrics' programs show whose answer it is. The steps
// that have a status of their own come without: they stand for a proxy or a login page in its
// place.
func withMark(h http.Header) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("X-Server-Hostname", "fakevm")
	return h
}

// note adds a request to the list before it is answered.
func (f *FakeVM) note(seen Request) *Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, &seen)
	return &seen
}

func (f *FakeVM) nextStep() Step {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.script) == 0 {
		return f.otherwise
	}
	step := f.script[0]
	f.script = f.script[1:]
	return step
}

// readAndStore does what comes before the answer of an import, and returns the
// answer.
func (f *FakeVM) readAndStore(seen *Request, r *http.Request, step Step) (status int, body string) {
	status, body = step.Status, step.Body
	if status == 0 {
		status = http.StatusNoContent
	}
	raw, complete := readPart(r, step.Read)
	seen.Body = raw
	text, err := unzip(r, raw)
	complete = complete && err == nil
	seen.Lines = splitLines(text, complete)
	lines := seen.Lines

	f.mu.Lock()
	defer f.mu.Unlock()
	accepting := status/100 == 2
	if f.maxBody > 0 && int64(len(raw)) > f.maxBody && accepting {
		return http.StatusRequestEntityTooLarge, "too large"
	}
	// What was read of a broken body is stored before the server sees the break.
	if err != nil && accepting && step.Read == WholeBody {
		status, body = http.StatusBadRequest, "cannot read the data: "+err.Error()
	}
	for i, line := range lines {
		if len(line) > jsonline.MaxLineBytes {
			lines, status, body = lines[:i], http.StatusBadRequest, "too long line"
			break
		}
		if f.reject != nil && accepting && f.reject(line) {
			lines, status, body = lines[:i], f.rejectStatus, fmt.Sprintf("bad line %.200q", line)
			if !f.keepFirst {
				return status, body
			}
			break
		}
	}
	refused := f.store(seen, r, step, lines)
	if step.Refuse != nil && status/100 == 2 {
		details := step.Details
		if details == nil {
			details = ReceiverDetails
		}
		body = details(seen.Stored, refused)
	}
	return status, body
}

// store stores the samples that the step keeps and returns those that it refuses.
func (f *FakeVM) store(seen *Request, r *http.Request, step Step, lines []string) []LineResult {
	now := time.Now()
	extra := jsonline.ExtraLabels(r.URL.Query())
	refused := []LineResult{}
	nth := 0
	for i, line := range lines {
		samples, err := parseLine(line, extra)
		if err != nil {
			f.invalid++ // the real server does not report it to the client either
			continue
		}
		first := len(refused)
		for _, s := range f.cfg.storable(now, samples) {
			if step.Refuse != nil {
				if reason := step.Refuse(line, s); reason != "" {
					refused = refuse(refused, first, LineResult{Line: i + 1, Reason: reason}, s.Timestamp)
					continue
				}
			}
			if step.Keep == nil || step.Keep(nth, s) {
				f.db.add(now, s)
				seen.Stored++
			}
			nth++
		}
		if len(refused) == first+1 && refused[first].samples == len(samples) {
			refused[first].Timestamps = nil
		}
	}
	return refused
}

// refuse adds a sample to the result with its reason among those of its line, which
// begin at first.
func refuse(refused []LineResult, first int, result LineResult, timestamp int64) []LineResult {
	i := first + slices.IndexFunc(refused[first:], func(r LineResult) bool { return r.Reason == result.Reason })
	if i < first {
		i = len(refused)
		refused = append(refused, result)
	}
	refused[i].Timestamps = append(refused[i].Timestamps, timestamp)
	refused[i].samples++
	return refused
}

// readPart reads as much of the body as the step says, or as comes.
func readPart(r *http.Request, part Part) (body []byte, complete bool) {
	switch part {
	case NoBody:
		return nil, false
	case HalfBody:
		// Without a Content-Length the body comes in chunks: take one byte.
		body, _ = io.ReadAll(io.LimitReader(r.Body, max(1, r.ContentLength/2)))
		return body, false
	}
	body, err := io.ReadAll(r.Body)
	return body, err == nil
}

// unzip returns the text of the body, and of a broken gzip stream what can be
// read of it. Encodings other than gzip are taken for plain text.
func unzip(r *http.Request, body []byte) (text []byte, err error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return body, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// reply answers, or does not.
func (f *FakeVM) reply(w http.ResponseWriter, r *http.Request, seen *Request, step Step, gone <-chan struct{}) {
	if step.Delay > 0 {
		select {
		case <-time.After(step.Delay):
		case <-gone:
			reset(w, "")
			return
		}
	}
	switch step.Reply {
	case ResetReply:
		reset(w, "")
		return
	case HangReply:
		select {
		case <-r.Context().Done():
		case <-gone:
		}
		reset(w, "")
		return
	}
	f.mu.Lock()
	seen.Status = step.Status
	f.mu.Unlock()
	if step.Reply == CutReply {
		body := cmp.Or(step.Body, "an answer that does not come whole")
		reset(w, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s",
			step.Status, http.StatusText(step.Status), len(body), body[:len(body)/2]))
		return
	}
	maps.Copy(w.Header(), step.Header)
	w.WriteHeader(step.Status)
	if step.Status != http.StatusNoContent {
		_, _ = io.WriteString(w, step.Body) // the client may be gone
	}
}

// reset breaks the connection off. Without a last text a TCP client sees a reset;
// with one it sees a close after it, as a reset could overtake the text.
func reset(w http.ResponseWriter, lastText string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if errors.Is(err, http.ErrNotSupported) {
			panic(http.ErrAbortHandler)
		}
		return // the connection is gone already
	}
	defer conn.Close()
	if lastText == "" {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return
	}
	_, _ = io.WriteString(conn, lastText)
}
