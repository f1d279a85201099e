package health

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"belabox-metrics/shared/logx"
)

// What one client may cost, whoever it is: the port can be opened to a network.
const (
	headerTimeout  = 5 * time.Second  // for the header of a request to arrive
	requestTimeout = 10 * time.Second // for a whole request, and again for its answer
	idleTimeout    = time.Minute      // of a kept connection
	maxHeaderBytes = 8 << 10
	maxConns       = 64
	stopTimeout    = time.Second     // for answers that are under way when the daemon stops
	calmAfter      = 2 * time.Minute // what the log tells once a minute is over after that
)

// Config is what a Server serves.
type Config struct {
	Key      string       // configuration key of the address, for errors; required
	Progress *Progress    // answers /health/live; required
	Monitor  *Monitor     // answers /health and /health/ready; nil: there are no such paths
	Panicked func()       // told of each panic of a handler; nil = nobody
	Access   Access       // holds for every path but /health/live
	Log      *slog.Logger // required
}

// Server is a daemon's own port. It answers GET and HEAD and nothing else.
type Server struct {
	listener net.Listener
	http     *http.Server
	mux      *http.ServeMux
	log      *slog.Logger
	faults   *logx.Throttle // of net/http
	panics   *logx.Throttle
	logins   *logx.Throttle
	hosts    hosts
	login    *Login
	panicked func()
	conns    atomic.Int32
}

// Listen binds addr (host:port) at once, so that a port that is taken is an error of the start. Answers begin with
// Run; whoever does not come to Run calls Close.
func Listen(addr string, cfg Config) (*Server, error) {
	if cfg.Key == "" || cfg.Progress == nil || cfg.Log == nil {
		return nil, errors.New("health server: Key, Progress and Log are required")
	}
	if addr == "" { // package net would choose any port, on all addresses
		return nil, fmt.Errorf("listen: no address; set %s to host:port", cfg.Key)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, advice(err, cfg.Key))
	}
	s := &Server{
		listener: listener, mux: http.NewServeMux(), log: cfg.Log,
		faults: logx.NewThrottle(0, nil), panics: logx.NewThrottle(0, nil), logins: logx.NewThrottle(0, nil),
		hosts: newHosts(addr, cfg.Access.Hosts), login: cfg.Access.Login, panicked: cfg.Panicked,
	}
	if ip, ok := listener.Addr().(*net.TCPAddr); ok && !ip.IP.IsLoopback() && s.login == nil {
		s.log.Warn("whoever is in the network can look at this port, without a password: set health.auth_file, or listen on 127.0.0.1",
			"key", cfg.Key, "address", s.Addr())
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.limitConns,
		ErrorLog:          log.New(complaints{s}, "", 0),
	}
	s.Handle(livePath, live(cfg.Progress))
	if cfg.Monitor != nil {
		s.Handle("/health", report(cfg.Monitor))
		s.Handle("/health/ready", ready(cfg.Monitor))
	}
	return s, nil
}

// advice says what to do about an address that cannot be bound.
func advice(err error, key string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has this port; stop it or change " + key
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address; change " + key
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 are for privileged programs; change " + key
	default:
		return "change " + key
	}
}

// Handle serves one more path, and only exactly that one, "/" too. Call it before Run.
func (s *Server) Handle(path string, h http.Handler) {
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	s.mux.Handle(path, h)
}

// Addr returns the address that is bound, with the port that the system chose for port 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run answers until ctx ends, then gives the answers under way a second.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	look := time.NewTicker(calmAfter / 2)
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case err := <-served:
			return fmt.Errorf("serve %s: %w", s.Addr(), err)
		case <-look.C:
			s.calm()
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

// calm ends in the log what has not happened for a while.
func (s *Server) calm() {
	s.faults.Quiet(s.log, calmAfter, "health server complains no more")
	s.panics.Quiet(s.log, calmAfter, "no further request panicked")
	s.logins.Quiet(s.log, calmAfter, "no further login was refused")
}

// Close frees the port of a server that never came to Run.
func (s *Server) Close() error { return s.listener.Close() }

// serve stands around every handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w}
	defer s.rescue(out, r)
	protect(w.Header())
	if s.refused(out, r) {
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		writeJSON(out, http.StatusNotFound, problem{"no such path"})
		return
	}
	s.mux.ServeHTTP(out, r)
}

// rescue makes the panic of a handler an answer and a line in the log; the daemon lives on.
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
		panic(http.ErrAbortHandler) // cut the answer off, so that nobody takes the part for the whole
	}
	clear(out.Header())
	protect(out.Header())
	writeJSON(out, http.StatusInternalServerError, problem{"internal error"})
}

type panicError struct{ value any }

func (e panicError) Error() string     { return fmt.Sprintf("panic: %v", e.value) }
func (e panicError) ErrorType() string { return "panic" }

// response remembers whether an answer has begun.
type response struct {
	http.ResponseWriter
	started bool
}

func (r *response) WriteHeader(code int) {
	r.started = true
	r.ResponseWriter.WriteHeader(code)
}

func (r *response) Write(p []byte) (int, error) {
	r.started = true
	return r.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController its way.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// limitConns closes a connection that is one too many. It is refused rather than kept waiting: a probe should hear
// at once that something is wrong here.
func (s *Server) limitConns(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > maxConns {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

// complaints takes what net/http would print: accept errors, above all "too many open files".
type complaints struct{ s *Server }

func (c complaints) Write(p []byte) (int, error) {
	c.s.faults.Fail(c.s.log, slog.LevelWarn, "health server complains", errors.New(strings.TrimSpace(string(p))))
	return len(p), nil
}
