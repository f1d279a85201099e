// Package page is what a person sees who opens a daemon's port: one page with the
// state in words, charts, the delivery, the storage and the runs, and the JSON
// behind it (docs/page.md).
//
// It promises that looking costs little and disturbs nothing: everything comes
// from the binary and, through a reading connection of its own, from the file; one
// question at a time, each with a limit, and all together with a budget; the
// connection is closed when nobody looks. It shows what is stored and what follows
// from it, and where the file has no answer it says nothing. Secrets never come
// near it.
package page

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
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
	budget budget
	status remembered[status]
	wait   remembered[waiting]
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
	p.status = remembered[status]{age: 2 * time.Second, share: 1, ask: p.gather} // its parts have shares of their own
	p.wait = remembered[waiting]{age: 2 * time.Second, share: 50, ask: p.countWaiting}
	p.slow = remembered[slowFacts]{age: 15 * time.Second, share: 200, ask: p.readSlow}
	p.totals = remembered[totals]{age: time.Minute, share: 200, ask: p.readTotals}
	p.ledger = remembered[ledger]{age: time.Minute, share: 1000, ask: p.readLedger}
	return p
}

// Register adds the page's paths to a server.
func (p *Page) Register(server interface{ Handle(string, http.Handler) }) {
	for path, a := range assets {
		server.Handle(path, a)
	}
	server.Handle("/api/status", p.asked(p.answerStatus))
	server.Handle("/api/series", p.asked(p.answerSeries))
	server.Handle("/api/ledger", p.asked(p.answerLedger))
}

// Close closes the connection to the file, for good. Call it before the daemon
// closes its own.
func (p *Page) Close() error { return p.file.close() }

var errBusy = errors.New("others are asking: try again in a moment")

// asked makes a handler of a question.
func (p *Page) asked(ask func(ctx context.Context, r *http.Request) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := p.inTurn(r, ask)
		if err == nil {
			answer(w, r, body)
			return
		}
		code := http.StatusServiceUnavailable
		if _, bad := errors.AsType[badQuestion](err); bad {
			code = http.StatusBadRequest
		} else if errors.Is(err, errBusy) {
			w.Header().Set("Retry-After", "2")
		}
		answerProblem(w, code, err.Error())
	})
}

// inTurn asks while nobody else does, and as long as the budget lasts. Its answer is written
// after the turn: who reads slowly holds up nobody.
func (p *Page) inTurn(r *http.Request, ask func(ctx context.Context, r *http.Request) ([]byte, error)) ([]byte, error) {
	wait, cancel := context.WithTimeout(r.Context(), turnLimit)
	defer cancel()
	if !p.file.enter(wait) {
		return nil, errBusy
	}
	defer p.file.leave()
	if !p.budget.wait(wait) {
		return nil, errBusy
	}
	start := time.Now()
	defer func() { p.budget.spend(time.Since(start)) }()
	ctx, cancel := context.WithTimeout(r.Context(), queryLimit)
	defer cancel()
	return ask(ctx, r)
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
