package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"belabox-metrics/shared/metrics"
)

// The receiver's own numbers.
var (
	requests = metrics.Metric{
		Name: "receiver.requests_total", Kind: metrics.Counter, Labels: []string{"path", "status"},
		Help: "Requests by path and the status that was answered; status cut is a connection that was cut instead.",
	}
	duration = metrics.Metric{
		Name: "receiver.import_duration_seconds", Kind: metrics.Histogram, Unit: "seconds",
		Help: "Time of an import from its header to its answer.",
	}
	accepted = metrics.Metric{Name: "receiver.samples_accepted_total", Kind: metrics.Counter, Help: "Samples that were stored or passed on."}
	rejected = metrics.Metric{
		Name: "receiver.samples_rejected_total", Kind: metrics.Counter,
		Help: "Samples that were refused in the answer to an import; a line that cannot be read counts as one.",
	}
	foreign = metrics.Metric{
		Name: "receiver.lines_foreign_total", Kind: metrics.Counter,
		Help: "Lines that were refused because their device_id is not the token's.",
	}
	replayed = metrics.Metric{
		Name: "receiver.chunks_replayed_total", Kind: metrics.Counter,
		Help: "Chunks that came again and were answered as before without being stored again.",
	}
	strangers = metrics.Metric{
		Name: "receiver.unauthorized_total", Kind: metrics.Counter, Help: "Requests without a token that is known.",
	}
	limited = metrics.Metric{
		Name: "receiver.limited_total", Kind: metrics.Counter,
		Help: "Requests that were told to come again because of a limit on their number or rate.",
	}
	bodyBytes = metrics.Metric{
		Name: "receiver.body_bytes_total", Kind: metrics.Counter, Unit: "bytes", Help: "Bytes of imports' bodies as they were sent.",
	}
	heldBytes = metrics.Metric{
		Name: "receiver.held_bytes", Kind: metrics.Gauge, Unit: "bytes",
		Help: "Memory that bodies and their samples take at the moment.",
	}
	failing = metrics.Metric{
		Name: "receiver.sink_failing", Kind: metrics.Gauge, Help: "1 while samples cannot be stored or passed on, else 0.",
	}
)

// Metrics are all of them, for the docs.
var Metrics = []*metrics.Metric{
	&requests, &duration, &accepted, &rejected, &foreign, &replayed, &strangers, &limited, &bodyBytes, &heldBytes, &failing,
}

// stats counts.
type stats struct {
	set *metrics.Set

	accepted, rejected, foreign, replayed, strangers, limited, bodyBytes *metrics.Total

	duration *metrics.Distribution

	mu       sync.Mutex
	requests map[[2]string]float64 // by path and status: both are few, because paths are those of the mux
}

func newStats(g *gateway) *stats {
	set := new(metrics.Set)
	s := &stats{
		set: set, requests: map[[2]string]float64{},
		accepted: set.Counter(&accepted), rejected: set.Counter(&rejected), foreign: set.Counter(&foreign),
		replayed: set.Counter(&replayed), strangers: set.Counter(&strangers), limited: set.Counter(&limited),
		bodyBytes: set.Counter(&bodyBytes),
		duration:  set.Histogram(&duration, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
	}
	set.Func(&requests, func(emit func(float64, ...string)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key, n := range s.requests {
			emit(n, key[0], key[1])
		}
	})
	set.Func(&heldBytes, func(emit func(float64, ...string)) { emit(float64(g.intake.held.Load())) })
	set.Func(&failing, func(emit func(float64, ...string)) {
		if _, since := g.outage.now(); since.IsZero() {
			emit(0)
		} else {
			emit(1)
		}
	})
	return s
}

// count notes an answer; status 0 is none.
func (s *stats) count(path string, status int) {
	text := "cut"
	if status != 0 {
		text = strconv.Itoa(status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[[2]string{path, text}]++
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ready answers 200 while samples can be kept, else 503 with the reason.
func (g *gateway) ready(w http.ResponseWriter, _ *http.Request) error {
	state := struct {
		Status  string   `json:"status"` // ok or degraded
		Reasons []string `json:"reasons"`
	}{"ok", []string{}}
	if count, since := g.outage.now(); !since.IsZero() {
		state.Reasons = append(state.Reasons, fmt.Sprintf("samples cannot be kept since %s: %d failures",
			since.UTC().Format(time.RFC3339), count))
	}
	if g.problem != nil {
		if text := g.problem(); text != "" {
			state.Reasons = append(state.Reasons, text)
		}
	}
	status := http.StatusOK
	if len(state.Reasons) > 0 {
		state.Status, status = "degraded", http.StatusServiceUnavailable
	}
	return writeJSON(w, status, state)
}
