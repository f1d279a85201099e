package front

import (
	"io"
	"net/http"
	"slices"
	"time"
)

// LoginPage is a page of HTML as captive portals have.
const LoginPage = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.</body></html>\n"

// Answer is one that a front gives by itself.
type Answer struct {
	Status     int
	Body       string
	Type       string        // Content-Type, "" = none
	Location   string        // of a redirect
	RetryAfter string        // seconds or a date
	Hostname   string        // X-Server-Hostname, which VictoriaMetrics' programs send
	Behind     time.Duration // how far its Date is behind this machine's clock
}

// ServeHTTP implements http.Handler. It takes the request's body first, as a server
// does that answers at the end.
func (a Answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // of a client that has gone nobody wants it
	h := w.Header()
	for name, value := range map[string]string{"Location": a.Location, "Retry-After": a.RetryAfter, "X-Server-Hostname": a.Hostname} {
		if value != "" {
			h.Set(name, value)
		}
	}
	h["Content-Type"] = nil // else net/http looks for one
	if a.Type != "" {
		h.Set("Content-Type", a.Type)
	}
	h.Set("Date", time.Now().Add(-a.Behind).UTC().Format(http.TimeFormat))
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
}

// Portal is a captive portal: it knows nothing of the server and answers by the
// method. Reads whose address would be too long are POSTs, too.
func Portal(post, get Answer) Mode {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				post.ServeHTTP(w, r)
				return
			}
			get.ServeHTTP(w, r)
		})
	}
}

// Refuse answers requests of the kinds, without kinds all, and passes the others on.
func Refuse(a Answer, kinds ...Kind) Mode { return instead(a, kinds...) }

// instead lets a handler answer the requests of the kinds.
func instead(answers http.Handler, kinds ...Kind) Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(kinds) > 0 && !slices.Contains(kinds, KindOf(r)) {
				server.ServeHTTP(w, r)
				return
			}
			answers.ServeHTTP(w, r)
		})
	}
}
