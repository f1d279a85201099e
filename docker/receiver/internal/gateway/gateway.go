// Package gateway is the receiver's HTTP side: it takes the JSON lines of VictoriaMetrics' /api/v1/import and gives
// them back at /api/v1/export.
//
//	POST     /api/v1/import  stores samples, answers what it took and what not, line by line
//	GET,POST /api/v1/export  samples of the series that match[] selects, one JSON line for each series
//	GET      /health         OK while the process answers; /health/live is the same
//	GET      /               one line that says what this is
//
// It promises that a 200 of the import means "on the disk", that every sample it did not take is named in the answer
// with the reason and whether it may be sent again, and that any other status means that nothing of the body was
// stored. A client that is slow, wrong, huge or hostile costs nobody else: time, memory and size are bounded, and a
// panic ends one request. It does not know who is asking; whoever can reach the address may read and write.
//
// The parts know each other only so far as they must: an intake reads the body, a batch judges its lines, a Sink keeps
// them, a Source gives them back. Whoever adds users or another place to keep samples adds it between these.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
)

// Sink keeps samples.
type Sink interface {
	// Write returns when all samples are kept for good. An error means that none is.
	Write(ctx context.Context, lines []line.Line) error
}

// Source gives samples back.
type Source interface {
	Select(ctx context.Context, q store.Query, yield func(*store.Piece) error) error
}

// Config is what New needs. Zero limits mean the defaults.
type Config struct {
	Sink   Sink
	Source Source
	Log    *slog.Logger

	// MaxBodyBytes bounds the body of an import as it is sent, MaxDecodedBytes the same after gzip.
	MaxBodyBytes    int64 // default DefaultMaxBodyBytes
	MaxDecodedBytes int64 // default DefaultMaxDecodedBytes

	// Retention refuses samples that are older; 0 takes all.
	Retention time.Duration
}

// The limits on the body of an import. A shipper's chunk has at most 256 KiB.
const (
	DefaultMaxBodyBytes    = 8 << 20
	DefaultMaxDecodedBytes = 64 << 20
)

type gateway struct {
	sink      Sink
	source    Source
	log       *slog.Logger
	retention time.Duration
	intake    *intake
	outage    outage
}

// New returns the handler of all paths.
func New(cfg Config) http.Handler {
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if cfg.MaxDecodedBytes == 0 {
		cfg.MaxDecodedBytes = DefaultMaxDecodedBytes
	}
	g := &gateway{
		sink:      cfg.Sink,
		source:    cfg.Source,
		log:       cfg.Log,
		retention: cfg.Retention,
		intake:    newIntake(cfg.MaxBodyBytes, cfg.MaxDecodedBytes),
		outage:    outage{log: cfg.Log},
	}
	text := func(body string) handler {
		return func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, err := io.WriteString(w, body)
			return err
		}
	}
	mux := http.NewServeMux()
	handle := func(path, methods string, h handler) { mux.Handle(path, g.wrap(methods, h)) }
	handle("/api/v1/import", "POST", g.importLines)
	handle("/api/v1/export", "GET, POST", g.export)
	handle("/health", "GET, HEAD", text("OK"))
	handle("/health/live", "GET, HEAD", text("OK"))
	handle("/{$}", "GET, HEAD", text("belabox-metrics receiver: POST /api/v1/import, GET /api/v1/export, GET /health\n"))
	handle("/", "", func(http.ResponseWriter, *http.Request) error {
		return fail(http.StatusNotFound, "there is nothing here; see / for what there is")
	})
	return mux
}

// Server returns a server whose every phase has a time limit, so that slow clients cannot pile up. The limit for
// reading a whole body lets 8 MiB through at 70 kB/s. The limit for writing is moved on by an export as it goes.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      4 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// handler answers a request. It may return a *fault before it has written anything. After any other error the
// connection is cut: net/http would else send an empty 200, which a sender takes for "all stored".
type handler func(w http.ResponseWriter, r *http.Request) error

// fault is an answer other than 200.
type fault struct {
	status     int
	text       string
	retryAfter time.Duration // 0 = not said
}

func (f *fault) Error() string { return f.text }

func fail(status int, format string, args ...any) error {
	return &fault{status: status, text: fmt.Sprintf(format, args...)}
}

// wrap checks the method ("" = any), turns faults into answers and keeps a panic to its own request.
func (g *gateway) wrap(methods string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.recovered(r)
		if methods != "" && !slices.Contains(strings.Split(methods, ", "), r.Method) {
			w.Header().Set("Allow", methods)
			_ = writeFault(w, &fault{status: http.StatusMethodNotAllowed, text: "method not allowed; use " + methods})
			return
		}
		err := h(w, r)
		if f, ok := errors.AsType[*fault](err); ok {
			err = writeFault(w, f)
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	})
}

// recovered ends a request that panicked. What was sent of the answer cannot be taken back, so the connection is cut.
func (g *gateway) recovered(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != any(http.ErrAbortHandler) {
		g.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p),
			"stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// requestRead lifts the time limit for reading the request, once that is done. net/http keeps it running, and takes its
// end for the client's going away.
func requestRead(w http.ResponseWriter) {
	// The only error is that there is no connection to set it on.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

func writeFault(w http.ResponseWriter, f *fault) error {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter.Seconds())))
	}
	return writeJSON(w, f.status, map[string]string{"error": f.text})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}
