package front

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kind is what a request is for.
type Kind string

// The kinds of requests.
const (
	Import Kind = "import"
	Export Kind = "export"
	Query  Kind = "query"
	Other  Kind = "other" // the clock, flags and the like
)

// KindOf tells the kind by the path, whatever stands before it.
func KindOf(r *http.Request) Kind {
	for _, kind := range []Kind{Import, Export, Query} {
		if strings.HasSuffix(strings.TrimRight(r.URL.Path, "/"), "/api/v1/"+string(kind)) {
			return kind
		}
	}
	return Other
}

// Mode is one way to answer. It gets the way on to the server, and may use it or
// not. Modes can be put into each other: HTTP10()(LoseReplies(1)(server)).
type Mode func(server http.Handler) http.Handler

// Pass is the mode that changes nothing.
func Pass() Mode { return func(server http.Handler) http.Handler { return server } }

// Chain is the modes one behind the other; the first is next to the client.
func Chain(modes ...Mode) Mode {
	return func(server http.Handler) http.Handler {
		for i := len(modes) - 1; i >= 0; i-- {
			server = modes[i](server)
		}
		return server
	}
}

// Front listens on loopback. All its methods may be called from any goroutine.
type Front struct {
	addr   string
	server http.Handler

	handlers sync.WaitGroup

	mu        sync.Mutex
	ended     bool // no request is answered any more
	answers   http.Handler
	tally     *Tally
	idleLimit time.Duration // 0 = idle connections are kept
	idle      map[net.Conn]*time.Timer
}

// Start starts a front before a server, "http://host:port", in the mode Pass. It
// ends with the test.
func Start(t testing.TB, target string) *Front {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{DisableCompression: true}
	f := &Front{addr: listener.Addr().String(), server: wayTo(to, transport), idle: map[net.Conn]*time.Timer{}}
	f.Set(Pass())
	server := &http.Server{
		Handler:     f,
		ConnState:   f.connState,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    silent,
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // until Close
	t.Cleanup(func() {
		f.mu.Lock()
		f.ended = true
		f.mu.Unlock()
		cancel()
		server.Close()
		serving.Wait()
		f.handlers.Wait()
		transport.CloseIdleConnections()
	})
	return f
}

// wayTo passes requests on. What cannot be passed on is answered 502, as proxies do.
func wayTo(target *url.URL, transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:     silent,
	}
}

// silent is a log for what tests do on purpose.
var silent = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// Addr returns host:port.
func (f *Front) Addr() string { return f.addr }

// URL returns the front's address without a path.
func (f *Front) URL() string { return "http://" + f.addr }

// ImportURL returns where JSON lines are posted.
func (f *Front) ImportURL() string { return f.URL() + "/api/v1/import" }

// Set changes the mode and returns its tally. Requests under way stay with the mode
// that they met, and connections stay open.
func (f *Front) Set(m Mode) *Tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tally != nil {
		f.tally.end()
	}
	f.answers, f.tally = m(f.server), newTally()
	return f.tally
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	f.handlers.Add(1)
	answers, tally := f.answers, f.tally
	f.mu.Unlock()
	defer f.handlers.Done()
	tally.note(KindOf(r))
	answers.ServeHTTP(w, r)
}

// CloseIdle makes the front close connections that were idle for so long, without
// a word before it, as proxies do; 0 keeps them. It holds for connections that
// become idle from now on.
func (f *Front) CloseIdle(after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idleLimit = after
}

func (f *Front) connState(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if timer := f.idle[c]; timer != nil {
		timer.Stop()
		delete(f.idle, c)
	}
	if state == http.StateIdle && f.idleLimit > 0 {
		f.idle[c] = time.AfterFunc(f.idleLimit, func() { c.Close() })
	}
}
