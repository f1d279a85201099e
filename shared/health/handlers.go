package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// problem is the answer to a request that cannot be served.
type problem struct {
	Error string `json:"error"`
}

// liveness is the answer of /health/live.
type liveness struct {
	Status       Status    `json:"status"`
	LastProgress time.Time `json:"last_progress"`
	LimitSeconds float64   `json:"limit_seconds"`
	Message      string    `json:"message,omitempty"`
	Since        time.Time `json:"since,omitzero"` // when the limit was passed
}

// live answers 200 while the loop advances, otherwise 503. It depends on nothing else: a supervisor
// restarts the daemon because of it, and a restart helps neither a full disk nor an absent server.
func live(p *Progress) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		idle := p.Since()
		last := p.now().Add(-idle)
		answer, code := liveness{Status: OK, LastProgress: stamp(last), LimitSeconds: p.limit.Seconds()}, http.StatusOK
		if idle > p.limit {
			code = http.StatusServiceUnavailable
			answer.Status = Error
			answer.Message = fmt.Sprintf("the working loop has not advanced for %v", idle.Round(time.Millisecond))
			answer.Since = stamp(last.Add(p.limit))
		}
		writeJSON(w, code, answer)
	})
}

// report answers with the whole report, and 200 whatever the status.
func report(m *Monitor) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, m.Report(r.Context()))
	})
}

// ready answers 200 only while all is ok, else 503 with the conditions.
func ready(m *Monitor) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rep, code := m.Report(r.Context()), http.StatusOK
		if rep.Status != OK {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, struct {
			Status     Status   `json:"status"`
			Conditions []Active `json:"reasons"`
		}{rep.Status, rep.Conditions})
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // only types of this package come here
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
