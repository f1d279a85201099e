package page

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// status is the answer of /api/status, without the values from the file if it cannot be read.
type status struct {
	Daemon     health.About                `json:"daemon"`
	Device     string                      `json:"device"`
	Host       string                      `json:"host"`
	State      state                       `json:"state"`
	Components map[string]health.Component `json:"components"`
	Ports      map[string]int              `json:"ports"` // of both daemons' pages
	Delivery   delivery                    `json:"delivery"`
	Storage    storage                     `json:"storage"`
	Board      board                       `json:"board"`
	Daemons    []runs                      `json:"daemons"`
	FileError  string                      `json:"file_error,omitempty"`
}

// state is the banner.
type state struct {
	Status     health.Status `json:"status"`
	Since      time.Time     `json:"since,omitzero"`
	Conditions []condition   `json:"reasons"` // the worst first
}

// condition has the message and the remedy under the names that the page had for them first, too.
type condition struct {
	health.Active
	Words  string `json:"words"`
	Advice string `json:"advice"`
}

func (p *Page) answerStatus(ctx context.Context, _ *http.Request) ([]byte, error) {
	s, err := p.status.Get(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// gather makes the answer from the daemon's report and the file, also where the file cannot be
// read.
func (p *Page) gather(ctx context.Context) (status, error) {
	report := p.cfg.Monitor.Report(ctx)
	c := p.cfg.Config
	s := status{
		Daemon: report.About, Device: p.device(), Components: report.Components,
		State: state{Status: report.Status, Since: report.Since, Conditions: []condition{}},
		Ports: map[string]int{"collectord": port(c.Health.CollectordListen), "shipperd": port(c.Health.ShipperdListen)},
		Storage: storage{
			File: store.FileSize(c.Storage.Path), WAL: store.WALSize(c.Storage.Path), Budget: c.Storage.MaxSizeMB << 20,
			RetentionSeconds: c.Storage.Retention.Seconds(),
		},
		Delivery: delivery{Enabled: c.Remote.Enabled, Verify: c.Remote.Verify.Enabled, Server: human.Host(c.Remote.URL)},
	}
	s.Host, _ = os.Hostname() // a machine without a name shows none
	if u, ok := report.Components["uploader"].Facts.(health.Uploader); ok {
		s.Delivery.LastError = u.Error
	}
	if facts, ok := report.Components["storage"].Facts.(health.Storage); ok {
		s.Delivery.Pending, s.Delivery.Oldest = facts.Pending, facts.OldestPending
	}
	active := report.Conditions
	if err := p.look(ctx, &s, &active); err != nil {
		s.FileError = err.Error()
		unreadable := health.DatabaseUnreadable.Active(time.Time{}, err)
		unreadable.Severity = health.OK // for the page; the daemon may still read it
		active = append(active, unreadable)
	}
	if sum(s.Delivery.DeadLetters) > 0 {
		active = append(active, health.DeadLetters.Active(time.Time{}))
	}
	s.State.show(active)
	return s, nil
}

// show takes over the active conditions, each once, and the status that follows from them.
func (s *state) show(active []health.Active) {
	slices.SortStableFunc(active, func(a, b health.Active) int { return cmp.Compare(b.Severity, a.Severity) })
	worst := health.OK
	for _, a := range active {
		if slices.ContainsFunc(s.Conditions, func(c condition) bool { return c.Code == a.Code }) {
			continue
		}
		worst = max(worst, a.Severity)
		message := strings.ToUpper(a.Message[:1]) + a.Message[1:]
		s.Conditions = append(s.Conditions, condition{a, message, a.Remedy})
	}
	if worst != s.Status {
		s.Status, s.Since = worst, time.Time{}
	}
	for _, a := range active {
		if a.Severity == worst && worst > health.OK && (s.Since.IsZero() || a.Since.Before(s.Since)) {
			s.Since = a.Since
		}
	}
}

// recordsLast is the retention from which on the last upload stays on record.
const recordsLast = time.Hour

// look adds the facts of the file, and updates the active conditions.
func (p *Page) look(ctx context.Context, s *status, active *[]health.Active) error {
	waiting, err := p.wait.Get(ctx)
	if err != nil {
		return err
	}
	facts, err := p.slow.Get(ctx)
	if err != nil {
		return err
	}
	t, err := p.totals.Get(ctx)
	if err != nil {
		return err
	}
	if s.Board, err = p.board.Get(ctx); err != nil {
		return err
	}
	p.fill(s, waiting, facts, t)
	c := p.cfg.Config
	if float64(s.Delivery.Pending) < float64(c.Health.DegradedThreshold)*max(facts.use.Slack(), 1) { // counted later than by the daemon
		*active = slices.DeleteFunc(*active, func(a health.Active) bool { return a.Code == health.Backlog.Code || a.Code == health.BacklogLarge.Code })
	}
	if _, own := s.Components["uploader"]; !own && c.Remote.Enabled && c.Storage.Retention >= recordsLast {
		*active = append(uploadConditions(facts, s.Delivery.Pending, c), *active...) // why the server shows nothing comes first
	}
	return nil
}

// uploadConditions are those of the uploads for the page of collectord, by the same rules, from
// what shipperd has left in the file, as of when that was read.
func uploadConditions(f slowFacts, pending int64, c config.Config) []health.Active {
	if !f.shipperRuns {
		return nil // which is a condition of its own
	}
	u := &health.Uploader{Started: f.shipperStarted, LastUpload: f.lastAccepted}
	if u.Started.IsZero() && u.LastUpload.IsZero() {
		return nil // it has just started, for the first time
	}
	u.Saved(f.stats, c.Remote.URL, f.at)
	if !u.Started.IsZero() {
		u.Started = u.Started.Add(f.behind) // like that of the last upload
	}
	report := health.Evaluate(health.Input{Uploader: u, Storage: &health.Storage{Pending: pending}, Stretch: f.use.Slack()}, health.LimitsOf(c), f.at.Add(f.behind))
	return slices.DeleteFunc(report.Conditions, func(a health.Active) bool { return a.Component != "uploader" })
}

// runs are those of a daemon.
type runs struct {
	Name    string    `json:"name"`
	Running bool      `json:"running"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Unclean int       `json:"unclean"` // of the last ones, without the one that runs
	Last    []oneRun  `json:"last"`    // the newest first
}

type oneRun struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Clean   bool      `json:"clean"`
}

// shownRuns is how many runs of each daemon are shown.
const shownRuns = 12

func readRuns(ctx context.Context, r *store.Reader, path, name string) (runs, error) {
	d := runs{Name: name, Last: []oneRun{}}
	_, running, err := lock.Holder(path + "." + name + ".lock")
	if err != nil {
		return d, err
	}
	d.Running = running
	all, err := r.Runs(ctx, name, shownRuns)
	for i, run := range all {
		d.Last = append(d.Last, oneRun{run.Version, run.Started, run.Ended, run.Clean})
		current := i == 0 && running && run.Ended.IsZero()
		if current {
			d.Version, d.Since = run.Version, run.Started
		} else if !run.Clean {
			d.Unclean++
		}
	}
	return d, err
}

// port is that of host:port, 0 where it is none.
func port(listen string) int {
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(text)
	return n
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
