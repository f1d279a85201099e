// Package page serves the status page of a daemon: one page with the state, charts, the delivery,
// the storage and the runs, and the JSON behind it (docs/page.md).
//
// It promises that an open page costs little and delays nothing. All data comes from the binary
// and, through a separate read-only connection, from the file. One request is processed at a time,
// with a time limit; the server of package health limits what all of them take. The connection is
// closed when the page is not open. The page never contains secrets.
package page

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// idleLimit is how long the connection to the file stays open without a request.
const idleLimit = time.Minute

// Config is what a Page shows.
type Config struct {
	Config  config.Config
	Device  string          // whose series are charted; "" = device.id of Config
	Monitor *health.Monitor // required
	Now     func() time.Time
}

// Page answers the requests of the page and for its JSON. Safe for use by several goroutines.
type Page struct {
	cfg        Config
	queryLimit time.Duration // for reading, of one request
	moment     func() clock.Moment

	file   file
	status health.Remembered[status]
	wait   health.Remembered[waiting]
	slow   health.Remembered[slowFacts]
	totals health.Remembered[totals]
	ledger health.Remembered[ledger]
	board  health.Remembered[board]
	drain  drain
	tally  tally
}

// New returns a page. It opens nothing yet.
func New(cfg Config) *Page {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Page{cfg: cfg, queryLimit: 4 * time.Second, file: newFile(cfg.Config.Storage.Path)}
	p.moment = func() clock.Moment {
		at := clock.Read()
		at.Wall = cfg.Now()
		return at
	}
	remember(&p.wait, p, 2*time.Second, 50, p.countWaiting)
	remember(&p.slow, p, 15*time.Second, 200, p.readSlow)
	remember(&p.totals, p, time.Minute, 200, p.readTotals)
	remember(&p.ledger, p, time.Minute, 1000, p.readLedger)
	remember(&p.board, p, 15*time.Second, 200, p.readBoard)
	p.status.Age, p.status.Share, p.status.Read = 2*time.Second, 1, p.gather // its parts have shares of their own
	return p
}

// now is the true time, as far as the file knows it: charts go by it.
func (p *Page) now(ctx context.Context, r *store.Reader) (time.Time, error) {
	t, err := r.Timeline(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return t.Now(p.moment()), nil
}

// remember makes r a value that is read from the file.
func remember[T any](r *health.Remembered[T], p *Page, age time.Duration, share int, read func(context.Context, *store.Reader) (T, error)) {
	r.Age, r.Share = age, share
	r.Read = func(ctx context.Context) (none T, err error) {
		reader, err := p.file.open(ctx)
		if err != nil {
			return none, err
		}
		return read(ctx, reader)
	}
}

// Register adds the page's paths to a server.
func (p *Page) Register(server interface{ Handle(string, http.Handler) }) {
	for path, a := range assets {
		server.Handle(path, a.handler())
	}
	server.Handle("/api/status", p.handler(p.answerStatus))
	server.Handle("/api/series", p.handler(p.answerSeries))
	server.Handle("/api/busiest", p.handler(p.answerBusiest))
	server.Handle("/api/ledger", p.handler(p.answerLedger))
}

// Close closes the connection to the file for good. Call it before the daemon closes its own.
func (p *Page) Close() error { return p.file.close() }

var errBusy = errors.New("busy with other requests; try again in a moment")

// handler makes a handler of a function that returns the body of the answer.
func (p *Page) handler(read func(ctx context.Context, r *http.Request) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := p.inTurn(r, read)
		if err == nil {
			answer(w, r, body)
			return
		}
		code := http.StatusServiceUnavailable
		if _, bad := errors.AsType[badQuery](err); bad {
			code = http.StatusBadRequest
		} else if errors.Is(err, errBusy) {
			w.Header().Set("Retry-After", "2")
		}
		answerProblem(w, code, err.Error())
	})
}

// inTurn calls read when it is the turn of the request. The answer is written after the turn, so a
// slow client delays no other.
func (p *Page) inTurn(r *http.Request, read func(ctx context.Context, r *http.Request) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), p.queryLimit)
	defer cancel()
	if !p.file.enter(ctx) {
		return nil, errBusy
	}
	defer p.file.leave()
	return read(ctx, r)
}

// device returns the device whose series are charted.
func (p *Page) device() string { return cmp.Or(p.cfg.Device, p.cfg.Config.Device.ID) }
