package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/logx"
)

// maxRequests bounds the imports and exports under way at any moment, and with them the memory they
// take.
const maxRequests = 32

// serverName is the header Server of each answer, by which shipperd recognises the receiver
// (shipperd/internal/victoria).
const serverName = "belabox-metrics-receiver"

// receiver answers requests.
type receiver struct {
	store     *store
	log       *slog.Logger
	maxBody   int64 // bytes of an import as it is sent
	maxText   int64 // bytes of an import after decompression
	retention time.Duration
	running   chan struct{} // a place for each request under way

	writeFaults, readFaults *logx.Throttle
}

func newReceiver(c config, s *store, log *slog.Logger) *receiver {
	return &receiver{
		store: s, log: log, maxBody: c.maxBodyBytes, maxText: c.maxDecodedBytes, retention: c.retention,
		running:     make(chan struct{}, maxRequests),
		writeFaults: logx.NewThrottle(time.Minute, nil), readFaults: logx.NewThrottle(time.Minute, nil),
	}
}

// newServer returns a server whose every phase has a time limit, so that slow clients cannot pile
// up. The limit for reading a whole body lets 8 MiB through at 70 kB/s. An export moves the limit
// for writing on as it goes.
func newServer(rc *receiver, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           rc.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      4 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

func (rc *receiver) handler() http.Handler {
	text := func(body string) handlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, err := io.WriteString(w, body)
			return err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/import", answering("POST", rc.limited(rc.importLines)))
	mux.Handle("/api/v1/export", answering("GET, POST", rc.limited(rc.export)))
	mux.Handle("/health", answering("GET, HEAD", text("OK")))
	mux.Handle("/{$}", answering("GET, HEAD", text("belabox-metrics receiver: POST /api/v1/import, GET /api/v1/export, GET /health\n")))
	mux.Handle("/", answering("", func(http.ResponseWriter, *http.Request) error {
		return fail(http.StatusNotFound, "not found; GET / lists the paths")
	}))
	return mux
}

// handlerFunc answers a request. It may return a *statusError before it has written anything. After
// any other error the connection is cut: net/http would else send an empty 200, which a sender
// takes for "all stored".
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// statusError is an answer other than 200.
type statusError struct {
	status     int
	text       string
	retryAfter time.Duration // 0 = not said
}

func (e *statusError) Error() string { return e.text }

func fail(status int, format string, args ...any) error {
	return &statusError{status: status, text: fmt.Sprintf(format, args...)}
}

// answering checks the method ("" = any) and turns errors into answers.
func answering(methods string, h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", serverName)
		var err error
		if methods != "" && !slices.Contains(strings.Split(methods, ", "), r.Method) {
			w.Header().Set("Allow", methods)
			err = fail(http.StatusMethodNotAllowed, "method not allowed; use %s", methods)
		} else {
			err = h(w, r)
		}
		if e, ok := errors.AsType[*statusError](err); ok {
			if e.retryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(e.retryAfter.Seconds())))
			}
			err = writeJSON(w, e.status, map[string]string{"error": e.text})
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	})
}

// limited answers 429 while maxRequests are under way.
func (rc *receiver) limited(h handlerFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		select {
		case rc.running <- struct{}{}:
			defer func() { <-rc.running }()
			return h(w, r)
		default:
			return &statusError{http.StatusTooManyRequests, "busy with other requests; nothing was stored", time.Second}
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}
