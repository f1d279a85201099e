package front

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Half is a store of two, of which one is frozen until a moment: it holds one half
// of the series. Imports are answered 204; what belongs to the frozen half gets
// there Late after it goes on. Until then reads say that they are not complete,
// and from then on they claim to be, as those of a cluster do.
type Half struct {
	Until  time.Time     // when the frozen half goes on
	Late   time.Duration // how much later it has what was accepted meanwhile
	Claims bool          // reads claim to be complete all the time (-replicationFactor=2 of vmselect)

	outbox *outbox
}

// NewHalf returns a store that ends with the test.
func NewHalf(t testing.TB) *Half { return &Half{outbox: newOutbox(t)} }

// Waiting returns how many imports are not delivered wholly yet.
func (h *Half) Waiting() int { return h.outbox.waiting() }

// Mode is the store as a mode.
func (h *Half) Mode() Mode {
	return Chain(h.reads, onImports(h.imports))
}

func (h *Half) imports(w http.ResponseWriter, r *http.Request, server http.Handler) error {
	all, err := lines(r)
	if err != nil {
		return err
	}
	late := h.Until.Add(h.Late)
	if time.Now().After(late) {
		give(w, sendLines(server, r, all))
		return nil
	}
	var now, then [][]byte
	for _, text := range all {
		l, err := parse(text)
		switch {
		case err != nil:
			return err
		case odd(l.labels):
			then = append(then, text)
		default:
			now = append(now, text)
		}
	}
	answer := sendLines(server, r, now)
	if answer.Code/100 == 2 && len(then) > 0 {
		h.outbox.add(r, late, true, func(r *http.Request) *httptest.ResponseRecorder { return sendLines(server, r, then) })
	}
	give(w, answer)
	return nil
}

// reads answers as vmselect does while a vmstorage is away.
func (h *Half) reads(server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := KindOf(r)
		switch {
		case h.Claims || kind != Query && kind != Export || time.Now().After(h.Until):
			server.ServeHTTP(w, r)
		case kind == Export:
			Answer{Status: http.StatusServiceUnavailable, Hostname: "vmselect", Body: "cannot fetch data from vmstorage nodes"}.ServeHTTP(w, r)
		default:
			answer := plainly(server, r)
			whole := bytes.Replace(answer.Body.Bytes(), []byte(`"isPartial":false,`), nil, 1)
			partial := bytes.Replace(whole, []byte(`{"status":"success"`), []byte(`{"status":"success","isPartial":true`), 1)
			w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
			w.WriteHeader(answer.Code)
			_, _ = w.Write(partial)
		}
	})
}
