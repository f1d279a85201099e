// Package gateway is the receiver's HTTP side: it takes the JSON lines of VictoriaMetrics' /api/v1/import and gives
// them back at /api/v1/export.
//
//	POST     /api/v1/import  stores samples, answers what it took and what not, line by line
//	GET,POST /api/v1/export  samples of the series that match[] selects, one JSON line for each series
//	GET,POST /api/v1/query   shipperd's counting questions, where an upstream is there to answer them
//	GET      /health         OK while the process answers; /health/live is the same
//	GET      /health/ready   200 while samples can be kept, else 503 and why
//	GET      /               one line that says what this is
//
// It promises that a 200 of the import means "on the disk", or "the upstream said yes", that every sample it did not take
// is named in the answer with the reason and whether it may be sent again, and that another status means that nothing of
// the body was stored, except for those after which an upstream may have stored a part (400, 422 and 5xx, whose text says
// so). Where there are Tokens, a device writes and reads its own samples and no others. A chunk that comes again is
// answered as before. A client that is slow, wrong, huge or hostile costs nobody else: time, memory, size, number and rate
// are bounded, and a panic ends one request.
//
// The parts know each other only so far as they must: an intake reads the body, a batch judges its lines, a Sink keeps
// them, a Source or an Upstream gives them back.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/shared/logx"
)

// Sink keeps samples.
type Sink interface {
	// WriteChunk returns when all samples are kept. An error means that none is, but for an *upstream.Error, which says
	// what it means. The receipt, nil for none, is remembered with the samples.
	WriteChunk(ctx context.Context, lines []line.Line, receipt *store.Receipt) error
	// Receipt returns what is remembered of a device's chunk.
	Receipt(ctx context.Context, device, chunk string) (store.Receipt, bool, error)
}

// Source gives samples back.
type Source interface {
	Select(ctx context.Context, q store.Query, yield func(*store.Piece) error) error
}

// Config is what New needs. Zero limits mean the defaults.
type Config struct {
	Sink     Sink
	Source   Source   // one of these two gives samples back
	Upstream Upstream // it goes first
	Log      *slog.Logger

	// Tokens tells devices apart; nil = whoever can reach the address may write and read everything.
	Tokens Tokens
	// Problem says what else is wrong, for /health/ready; "" = nothing; nil = nobody to ask.
	Problem func() string

	Limits    Limits
	MaxLabels int // of a line, the name among them; default line.MaxLabels

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
	upstream  Upstream
	tokens    Tokens
	problem   func() string
	log       *slog.Logger
	retention time.Duration
	maxLabels int
	intake    *intake
	limits    limits
	flights   flights
	outage    outage
	stats     *stats

	// Each keeps one kind of failure, which may come with every request, to a line a minute.
	strangers, lookups, refusals, questions, exports *logx.Throttle
}

// New returns the handler of all paths, and that of the receiver's own numbers, which is not for strangers: where there
// are no Tokens, /metrics is one of the paths.
func New(cfg Config) (handler, numbers http.Handler) {
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if cfg.MaxDecodedBytes == 0 {
		cfg.MaxDecodedBytes = DefaultMaxDecodedBytes
	}
	cfg.Limits.setDefaults()
	g := &gateway{
		sink:      cfg.Sink,
		source:    cfg.Source,
		upstream:  cfg.Upstream,
		tokens:    cfg.Tokens,
		problem:   cfg.Problem,
		log:       cfg.Log,
		retention: cfg.Retention,
		maxLabels: cfg.MaxLabels,
		intake:    newIntake(cfg.MaxBodyBytes, cfg.MaxDecodedBytes),
		limits:    limits{Limits: cfg.Limits, now: time.Now, accounts: map[string]*account{}},
		outage:    outage{log: cfg.Log},
	}
	for _, t := range []**logx.Throttle{&g.strangers, &g.lookups, &g.refusals, &g.questions, &g.exports} {
		*t = logx.NewThrottle(time.Minute, nil)
	}
	g.stats = newStats(g)
	return g.mux(), g.stats.set.Handler()
}

func (g *gateway) mux() http.Handler {
	text := func(body string) handler {
		return func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, err := io.WriteString(w, body)
			return err
		}
	}
	mux := http.NewServeMux()
	handle := func(path, methods string, h handler) { mux.Handle(path, g.wrap(path, methods, h)) }
	handle("/api/v1/import", "POST", g.forCallers(g.importLines))
	handle("/api/v1/export", "GET, POST", g.forCallers(g.export))
	if g.upstream != nil {
		handle("/api/v1/query", "GET, POST", g.forCallers(g.count))
	}
	handle("/health", "GET, HEAD", text("OK"))
	handle("/health/live", "GET, HEAD", text("OK"))
	handle("/health/ready", "GET, HEAD", g.ready)
	if g.tokens == nil {
		mux.Handle("/metrics", g.stats.set.Handler())
	}
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
func (g *gateway) wrap(path, methods string, h handler) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w := &statusWriter{ResponseWriter: to}
		defer func() { g.recovered(path, w.status, r, recover()) }()
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

// recovered counts a request and ends one that panicked. What was sent of the answer cannot be taken back, so the
// connection is cut.
func (g *gateway) recovered(path string, status int, r *http.Request, p any) {
	if p == nil {
		g.stats.count(path, status)
		return
	}
	g.stats.count(path, 0)
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
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	return writeJSON(w, f.status, map[string]string{"error": f.text})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}
