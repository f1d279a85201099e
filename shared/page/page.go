// Package page is what a person sees who opens a daemon's port: one page with the
// state in words, charts, the delivery, the storage and the runs, and the JSON
// behind it (docs/page.md).
//
// It promises that looking costs little and disturbs nothing: everything comes
// from the binary and, through a reading connection of its own, from the file; one
// question at a time, each with a limit; the connection is closed when nobody
// looks. It shows what is stored and what follows from it, and where the file has
// no answer it says nothing. Secrets never come near it.
package page

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// What one question may take. It reads, so nobody waits for it but who asked.
const (
	queryLimit = 4 * time.Second
	turnLimit  = 5 * time.Second // for its turn
	idleLimit  = time.Minute     // without a question, then the connection is closed
)

// Config is what a Page shows.
type Config struct {
	Config  config.Config
	Device  string          // whose series are charted; "" = nobody's
	Monitor *health.Monitor // required
	Now     func() time.Time
}

// Page answers for the page and its JSON. Safe for use by several goroutines.
type Page struct {
	cfg    Config
	file   file
	status remembered[status]
	slow   remembered[slowFacts]
	totals remembered[totals]
	ledger remembered[ledger]
	drain  drain
}

// New returns a page. It opens nothing yet.
func New(cfg Config) *Page {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Page{cfg: cfg, file: newFile(cfg.Config.Storage.Path)}
	p.status = remembered[status]{age: 2 * time.Second, ask: p.gather}
	p.slow = remembered[slowFacts]{age: 15 * time.Second, ask: p.readSlow}
	p.totals = remembered[totals]{age: time.Minute, ask: p.readTotals}
	p.ledger = remembered[ledger]{age: time.Minute, ask: p.readLedger}
	return p
}

// Register adds the page's paths to a server.
func (p *Page) Register(server interface{ Handle(string, http.Handler) }) {
	for path, a := range assets {
		server.Handle(path, a)
	}
	server.Handle("/api/status", p.asked(p.serveStatus))
	server.Handle("/api/series", p.asked(p.serveSeries))
	server.Handle("/api/ledger", p.asked(p.serveLedger))
}

// Close closes the connection to the file. Call it before the daemon closes its
// own.
func (p *Page) Close() error { return p.file.close() }

// asked gives a handler its turn and its time.
func (p *Page) asked(serve func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait, cancel := context.WithTimeout(r.Context(), turnLimit)
		defer cancel()
		if !p.file.enter(wait) {
			w.Header().Set("Retry-After", "2")
			answerProblem(w, http.StatusServiceUnavailable, "others are asking: try again in a moment")
			return
		}
		defer p.file.leave()
		ctx, cancel := context.WithTimeout(r.Context(), queryLimit)
		defer cancel()
		if err := serve(w, r.WithContext(ctx)); err != nil {
			answerProblem(w, http.StatusServiceUnavailable, err.Error())
		}
	})
}

// remembered is an answer that is good for a while. Only who has the turn asks.
type remembered[T any] struct {
	age   time.Duration
	ask   func(context.Context, *store.Reader) (T, error)
	value T
	until time.Time
}

// get returns the answer, a new one or the last.
func (m *remembered[T]) get(ctx context.Context, r *store.Reader) (T, error) {
	start := time.Now()
	if start.Before(m.until) {
		return m.value, nil
	}
	value, err := m.ask(ctx, r)
	if err == nil {
		// What took long is asked less often: at most a fiftieth of the time goes into it.
		m.value, m.until = value, start.Add(max(m.age, 50*time.Since(start)))
	}
	return value, err
}

// earliest returns the earlier of two moments, of which nil is none.
func earliest(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.Before(*a) {
		return b
	}
	return a
}

// moment is t for JSON; nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// device says whose series are charted.
func (p *Page) device() string { return cmp.Or(p.cfg.Device, p.cfg.Config.Device.ID) }
