package testkit

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

var errRefused = syscall.ECONNREFUSED

// FakeConfig is what a test may want different from a VictoriaMetrics that was
// started without flags and makes everything visible at once.
type FakeConfig struct {
	// InMemory serves over pipes instead of a socket, for testing/synctest
	// bubbles. Reach it by HTTPClient or Dial.
	InMemory bool

	// Retention is how far back samples are kept; 0 is 31 days.
	Retention time.Duration

	// VisibleAfter is how long reads do not see a new sample. The real server
	// takes 1 to 3 s.
	VisibleAfter time.Duration

	// Poison is how long "nothing found" stays the answer for a selector that
	// was asked too early, whatever came in since. The real server: 11 s.
	Poison time.Duration

	// LatencyOffset hides samples younger than this from queries (not from
	// exports) that do not say nocache=1; 0 is 30 s as in the real server, less
	// is off.
	LatencyOffset time.Duration

	// Dedup is -dedup.minScrapeInterval: of each interval reads show the last
	// sample alone. An export with reduce_mem_usage=1 shows all.
	Dedup time.Duration
}

// FakeVM is a scripted stand-in for VictoriaMetrics: it takes JSON lines by the
// real server's rules (a test compares the two), keeps duplicates, answers exports and counting
// queries, and fails as it is told, each time with the samples stored or not stored. Its methods
// may be called from any goroutine.
//
// What it does with a request is decided in this order: away (GoAway), the token
// (RequireToken), the next step of the script (Then, ThenRead), otherwise the
// step set by Otherwise, which is Accept at the start. The rules of LimitBody and
// RejectLines act within a step that reads the body and would answer 2xx.
type FakeVM struct {
	Client // asks the fake itself: Export, Query …
	t      testing.TB
	cfg    FakeConfig
	addr   string

	mu        sync.Mutex
	server    *http.Server // nil while away
	listener  net.Listener
	gone      chan struct{} // closed when the server goes away: ends what hangs
	started   time.Time
	db        fakeDB
	emptySeen map[string]time.Time // selector: until when it is answered with nothing
	requests  []*Request
	script    []Step
	readSteps []Step
	otherwise Step
	token     string
	maxBody   int64
	reject    func(line string) bool
	keepFirst bool

	front        Front
	rejectStatus int
	invalid      int // lines
}

// Request is an HTTP request as the server saw it.
type Request struct {
	Time   time.Time
	Method string
	Path   string
	Query  string // the raw query of the URL
	Header http.Header
	Body   []byte // as it was on the wire, as far as it was read
	Lines  []string
	Status int // what was answered; 0 when nothing was
	Stored int // samples kept
}

// StartFakeVM starts a server on a free loopback port. It ends with the test.
func StartFakeVM(t testing.TB, cfg FakeConfig) *FakeVM {
	t.Helper()
	if cfg.Retention == 0 {
		cfg.Retention = 31 * 24 * time.Hour
	}
	if cfg.LatencyOffset == 0 {
		cfg.LatencyOffset = 30 * time.Second
	}
	f := &FakeVM{t: t, cfg: cfg, emptySeen: map[string]time.Time{}, otherwise: Accept()}
	if cfg.InMemory {
		f.addr = memAddr{}.String()
		f.Client.HTTP = &http.Client{Transport: &http.Transport{DialContext: f.Dial, DisableKeepAlives: true}}
	} else {
		f.addr = FreeAddr(t)
	}
	f.BaseURL = "http://" + f.addr
	f.ComeBack()
	t.Cleanup(f.GoAway)
	return f
}

// URL returns the server's address without a path.
func (f *FakeVM) URL() string { return f.BaseURL }

// ImportURL returns where JSON lines are posted.
func (f *FakeVM) ImportURL() string { return f.BaseURL + "/api/v1/import" }

// Addr returns host:port.
func (f *FakeVM) Addr() string { return f.addr }

// Dial connects to the server; it fits http.Transport.DialContext, which makes a
// client of any kind talk to an in-memory server.
func (f *FakeVM) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if !f.cfg.InMemory {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", f.addr)
	}
	f.mu.Lock()
	l, _ := f.listener.(*memListener)
	f.mu.Unlock()
	return l.dial(ctx)
}

// GoAway closes the port and all connections, as a server that was killed does;
// what hangs ends. What is stored stays (see Restart).
func (f *FakeVM) GoAway() {
	f.mu.Lock()
	server, gone := f.server, f.gone
	f.server = nil
	f.mu.Unlock()
	if server == nil {
		return
	}
	close(gone)
	server.Close()
}

// ComeBack opens the port again, on the same address.
func (f *FakeVM) ComeBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		return
	}
	if f.cfg.InMemory {
		f.listener = newMemListener()
	} else if err := poll(WaitLimit, func() (err error) {
		f.listener, err = net.Listen("tcp", f.addr)
		return err
	}); err != nil {
		f.t.Errorf("start the fake server again: %v", err)
		return
	}
	f.started = time.Now()
	f.gone = make(chan struct{})
	f.server = &http.Server{Handler: http.HandlerFunc(f.enter)}
	go func(s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			f.t.Errorf("the fake server: %v", err)
		}
	}(f.server, f.listener)
}

// Front is what stands before a server: a login page, a proxy. It answers by itself or passes on to
// the server.
type Front func(w http.ResponseWriter, r *http.Request, server http.Handler)

// Through puts a front before the server; nil takes it away.
func (f *FakeVM) Through(front Front) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.front = front
}

func (f *FakeVM) enter(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	front := f.front
	f.mu.Unlock()
	if front == nil {
		f.ServeHTTP(w, r)
		return
	}
	front(w, r, f)
}

// Restart is a kill -9 and a new start: what was stored within the last lost is
// gone (the real server loses up to 10 s). It returns how many samples those were.
func (f *FakeVM) Restart(lost time.Duration) int {
	f.GoAway()
	f.mu.Lock()
	n := f.db.forgetSince(time.Now().Add(-lost))
	clear(f.emptySeen)
	f.mu.Unlock()
	f.ComeBack()
	return n
}

// Forget drops the n samples that were stored last, as a kill of the server does.
func (f *FakeVM) Forget(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.db.forgetLast(n)
}

// Then adds steps to the script: each import request takes the next one.
func (f *FakeVM) Then(steps ...Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, steps...)
}

// ThenRead adds steps for export and query requests. Their Keep has no meaning.
func (f *FakeVM) ThenRead(steps ...Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readSteps = append(f.readSteps, steps...)
}

// Otherwise sets the step of import requests for which the script has none.
func (f *FakeVM) Otherwise(step Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.otherwise = step
}

// StepsLeft returns how many scripted steps no request has taken yet.
func (f *FakeVM) StepsLeft() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.script) + len(f.readSteps)
}

// RequireToken answers 401 to imports and reads without "Authorization: Bearer
// TOKEN". "" ends it.
func (f *FakeVM) RequireToken(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token = token
}

// LimitBody answers 413 to imports of more than n bytes on the wire and stores
// nothing of them. 0 is no limit.
func (f *FakeVM) LimitBody(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.maxBody = n
}

// RejectLines answers 400 to imports with a line for which bad returns true. With
// keepFirst the lines before it are stored all the same, otherwise nothing is.
// A nil function ends it.
func (f *FakeVM) RejectLines(bad func(line string) bool, keepFirst bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reject, f.keepFirst, f.rejectStatus = bad, keepFirst, http.StatusBadRequest
}

// FailLines is RejectLines with another status than 400; nothing is stored.
func (f *FakeVM) FailLines(bad func(line string) bool, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reject, f.keepFirst, f.rejectStatus = bad, false, status
}

// Requests returns all requests seen so far, with those that still wait for their
// answer, in the order in which the server had read and stored them.
func (f *FakeVM) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Request, len(f.requests))
	for i, r := range f.requests {
		out[i] = *r
	}
	return out
}

// Imports returns the import requests seen so far.
func (f *FakeVM) Imports() []Request {
	return slices.DeleteFunc(f.Requests(), func(r Request) bool { return !isImport(r.Path) })
}

// Stored returns how often each sample is stored, whether reads see it or not.
func (f *FakeVM) Stored() map[SampleKey]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.db.counts()
}

// Samples returns all stored samples by series and time.
func (f *FakeVM) Samples() []Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.db.all()
}

// Duplicates returns how many stored samples are repetitions of another one.
func (f *FakeVM) Duplicates() int {
	n := 0
	for _, count := range f.Stored() {
		n += count - 1
	}
	return n
}
