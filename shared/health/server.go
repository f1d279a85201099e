package health

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/run"
)

// Limits of what a client may cost. The port can be open to a network.
const (
	headerTimeout  = 5 * time.Second  // for the header of a request to arrive
	requestTimeout = 10 * time.Second // for a whole request, and again for its answer
	idleTimeout    = time.Minute      // of a kept connection
	maxHeaderBytes = 8 << 10
	stopTimeout    = time.Second     // for requests in flight when the daemon stops
	quietAfter     = 2 * time.Minute // after that a failure that repeated is over
)

// Config is what a Server serves.
type Config struct {
	Key      string               // configuration key of the address, for errors; required
	Progress *Progress            // answers /health/live; required
	Monitor  *Monitor             // answers /health and /health/ready; nil: there are no such paths
	Panicked func()               // called for each panic of a handler; may be nil
	Refused  func(string)         // called for each refusal, with its reason: one of Refusals; may be nil
	Access   Access               // holds for every path but /health/live
	Log      *slog.Logger         // required
	CPU      func() time.Duration // that the process has used; nil = what the kernel counted
}

// The reasons of refusals.
const (
	refusedConnection = "connection" // too many are open
	refusedRequest    = "request"    // its turn did not come in time
	refusedLogin      = "login"      // wrong password
)

// Refusals returns the reasons for which clients are refused.
func Refusals() []string { return []string{refusedConnection, refusedRequest, refusedLogin} }

// Server is the HTTP server of a daemon. It answers GET and HEAD only.
//
// It promises that requests of all clients together take a small share of a core, and that
// /health/live is answered whatever other clients do.
type Server struct {
	listener net.Listener
	http     *http.Server
	mux      *http.ServeMux
	log      *slog.Logger
	failures *logx.Throttle // of net/http
	panics   *logx.Throttle
	logins   *logx.Throttle
	crowded  *logx.Throttle // too many connections or requests
	hosts    hosts
	login    *Login
	guesses  guesses
	panicked func()
	refusal  func(string)
	conns    *conns
	work     *lane // of all requests
	live     *lane // but /health/live
	accepts  *lane
}

// Listen binds addr (host:port), so that a used port is an error of the start. Run answers
// requests; callers that do not get to Run must call Close.
func Listen(addr string, cfg Config) (*Server, error) {
	if cfg.Key == "" || cfg.Progress == nil || cfg.Log == nil {
		return nil, errors.New("health server: Key, Progress and Log are required")
	}
	if addr == "" { // package net would choose any port, on all addresses
		return nil, fmt.Errorf("listen: no address; set %s to host:port", cfg.Key)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bindRemedy(err, cfg.Key))
	}
	s := &Server{
		listener: listener, mux: http.NewServeMux(), log: cfg.Log,
		failures: logx.NewThrottle(0, nil), panics: logx.NewThrottle(0, nil),
		logins: logx.NewThrottle(0, nil), crowded: logx.NewThrottle(0, nil),
		hosts: newHosts(addr, cfg.Access.Hosts), login: cfg.Access.Login, panicked: cfg.Panicked, refusal: cfg.Refused,
		guesses: guesses{by: map[netip.Prefix]*guesser{}},
	}
	s.conns = newConns(s.full)
	cpu := &meter{cpu: cfg.CPU}
	if cpu.cpu == nil {
		cpu.cpu = cpuTime
	}
	cpu.charged = cpu.cpu()
	s.work, s.live, s.accepts = newLane(cpu, workPace), newLane(cpu, livePace), newLane(cpu, connPace)
	if ip, ok := listener.Addr().(*net.TCPAddr); ok && !ip.IP.IsLoopback() && s.login == nil {
		s.log.Warn("health port open to the network without a password; set health.auth_file, or listen on 127.0.0.1",
			"key", cfg.Key, "address", s.Addr())
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.conns.follow,
		ConnContext:       withConn,
		ErrorLog:          log.New(errorLog{s}, "", 0),
		// net/http would answer "OPTIONS *" itself, as fast as it is asked.
		DisableGeneralOptionsHandler: true,
	}
	s.Handle(livePath, live(cfg.Progress))
	if cfg.Monitor != nil {
		s.Handle("/health", report(cfg.Monitor))
		s.Handle("/health/ready", ready(cfg.Monitor))
	}
	return s, nil
}

// bindRemedy returns what to do about an address that cannot be bound.
func bindRemedy(err error, key string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program uses this port; stop it or change " + key
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have this address; change " + key
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need privileges; change " + key
	default:
		return "change " + key
	}
}

// Handle adds a handler for exactly this path. Call it before Run.
func (s *Server) Handle(path string, h http.Handler) {
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	s.mux.Handle(path, h)
}

// Addr returns the bound address; for port 0 with the port that the system chose.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run answers requests until ctx ends, and gives those in flight a second then.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(pacedListener{s.listener, s.conns, s.accepts}) }()
	tick := time.NewTicker(quietAfter / 2)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case err := <-served:
			return fmt.Errorf("serve %s: %w", s.Addr(), err)
		case <-tick.C:
			tick.Reset(run.Together(quietAfter / 2))
			s.endQuiet()
		case <-ctx.Done():
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		_ = s.http.Close() // a slow client must not hold up the stop
	}
	<-served
	return nil
}

// endQuiet logs the end of failures that have not happened for a while.
func (s *Server) endQuiet() {
	s.failures.Quiet(s.log, quietAfter, "HTTP server recovered")
	s.panics.Quiet(s.log, quietAfter, "requests no longer panic")
	s.logins.Quiet(s.log, quietAfter, "logins no longer refused")
	s.crowded.Quiet(s.log, quietAfter, "health port no longer overloaded")
}

// Close frees the port of a server that never came to Run.
func (s *Server) Close() error { return s.listener.Close() }

// serve wraps every handler: it waits for the turn of the request, which ends with the first byte
// of the answer, so that a slow client delays nobody.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w}
	defer s.rescue(out, r)
	defer out.begin()
	protect(w.Header())
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // net/http would read the body first, however slowly it comes
	}
	lane := s.work
	if r.URL.Path == livePath {
		lane = s.live
	}
	if s.conns.spare(r) && lane != s.live {
		busy(out)
		return
	}
	wait, cancel := context.WithTimeout(r.Context(), turnLimit)
	defer cancel()
	if !s.passwordDue(wait, r) || !lane.enter(wait) {
		s.overloaded(refusedRequest, addressOfRequest(r))
		busy(out)
		return
	}
	out.leave = lane.leave
	if s.refused(out, r) {
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		writeJSON(out, http.StatusNotFound, problem{"no such path"})
		return
	}
	s.mux.ServeHTTP(out, r)
}

// busy is the answer without a turn. It ends the connection, so that the pace of new connections
// bounds it.
func busy(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", "2")
	writeJSON(w, http.StatusServiceUnavailable, problem{"busy with other requests; try again in a moment"})
}

// full is called for each connection for which there was no room.
func (s *Server) full(from netip.Prefix) { s.overloaded(refusedConnection, from) }

var errOverloaded = errors.New("too many connections or requests; find the clients, and restrict access to the port")

func (s *Server) overloaded(reason string, from netip.Prefix) {
	s.count(reason)
	s.crowded.Fail(s.log, slog.LevelWarn, "health port overloaded", errOverloaded, "reason", reason, "client", from.Addr().String())
}

func (s *Server) count(reason string) {
	if s.refusal != nil {
		s.refusal(reason)
	}
}

// rescue turns the panic of a handler into an answer and a log line; the daemon keeps running.
func (s *Server) rescue(out *response, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	if s.panicked != nil {
		s.panicked()
	}
	s.panics.Fail(s.log, slog.LevelError, "request panicked", panicError{v}, "path", r.URL.Path, logx.KeyStack, string(debug.Stack()))
	if out.started {
		panic(http.ErrAbortHandler) // closes the connection: the client must not take a part for the whole
	}
	clear(out.Header())
	protect(out.Header())
	writeJSON(out, http.StatusInternalServerError, problem{"internal error"})
}

type panicError struct{ value any }

func (e panicError) Error() string     { return fmt.Sprintf("panic: %v", e.value) }
func (e panicError) ErrorType() string { return "panic" }

// response remembers whether an answer has begun, which ends the turn of its request.
type response struct {
	http.ResponseWriter
	started bool
	leave   func() // nil: it has no turn
}

func (r *response) begin() {
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
}

func (r *response) WriteHeader(code int) {
	r.started = true
	r.begin()
	r.ResponseWriter.WriteHeader(code)
}

// Write makes JSON printable, unless the handler has done so and compressed it. The handlers write
// it as a whole.
func (r *response) Write(p []byte) (int, error) {
	r.started = true
	r.begin()
	if r.Header().Get("Content-Type") != "application/json" || r.Header().Get("Content-Encoding") != "" {
		return r.ResponseWriter.Write(p)
	}
	if _, err := r.ResponseWriter.Write(human.JSON(p, false)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// errorLog takes the log lines of net/http: accept errors, above all "too many open files".
type errorLog struct{ s *Server }

func (e errorLog) Write(p []byte) (int, error) {
	e.s.failures.Fail(e.s.log, slog.LevelWarn, "HTTP server failed", errors.New(strings.TrimSpace(string(p))))
	return len(p), nil
}
