package page

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// status is the answer of /api/status, except what the file alone knows where
// that cannot be read.
type status struct {
	Daemon     health.About                `json:"daemon"`
	Device     string                      `json:"device"`
	Host       string                      `json:"host"`
	State      state                       `json:"state"`
	Components map[string]health.Component `json:"components"`
	Ports      map[string]int              `json:"ports"` // of both daemons' pages
	Delivery   delivery                    `json:"delivery"`
	Storage    storage                     `json:"storage"`
	Daemons    []runs                      `json:"daemons"`
	FileError  string                      `json:"file_error,omitempty"`
}

// state is the banner.
type state struct {
	Status  health.Status `json:"status"`
	Since   *time.Time    `json:"since,omitempty"`
	Reasons []reason      `json:"reasons"`
}

type reason struct {
	health.Reason
	Words  string `json:"words"` // the message for people
	Advice string `json:"advice"`
}

func (p *Page) answerStatus(ctx context.Context, _ *http.Request) ([]byte, error) {
	s, err := p.status.get(ctx, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// gather asks the daemon and the file. A file that cannot be read is no reason to
// say nothing: that is when people look.
func (p *Page) gather(ctx context.Context, _ *store.Reader) (status, error) {
	report := p.cfg.Monitor.Report(ctx)
	c := p.cfg.Config
	s := status{
		Daemon: report.About, Device: p.device(), Components: report.Components,
		State: state{Status: report.Status, Since: moment(report.Since), Reasons: []reason{}},
		Ports: map[string]int{"collectord": port(c.Health.CollectordListen), "shipperd": port(c.Health.ShipperdListen)},
		Storage: storage{
			File: store.FileSize(c.Storage.Path), WAL: store.WALSize(c.Storage.Path), Budget: c.Storage.MaxSizeMB << 20,
			RetentionSeconds: c.Storage.Retention.Seconds(),
		},
		Delivery: delivery{Enabled: c.Remote.Enabled, Verify: c.Remote.Verify.Enabled, Server: hostOf(c.Remote.URL)},
	}
	s.Host, _ = os.Hostname() // a machine without a name shows none
	for _, r := range report.Reasons {
		s.State.Reasons = append(s.State.Reasons, reason{Reason: r})
	}
	if u, ok := report.Components["uploader"].Facts.(health.Uploader); ok {
		s.Delivery.LastError = u.Error
	}
	if facts, ok := report.Components["storage"].Facts.(health.Storage); ok {
		s.Delivery.Pending, s.Delivery.Oldest = facts.Pending, moment(facts.OldestPending)
	}
	if err := p.look(ctx, &s); err != nil {
		s.FileError = err.Error()
		s.note("storage", "database_unreadable", err.Error())
	}
	if n := sum(s.Delivery.DeadLetters); n > 0 {
		s.note("uploader", "dead_letters", strconv.FormatInt(n, 10)+" samples could not be delivered and are kept as dead letters")
	}
	slices.SortStableFunc(s.State.Reasons, func(a, b reason) int { return cmp.Compare(b.Severity, a.Severity) })
	for i := range s.State.Reasons {
		r := &s.State.Reasons[i]
		r.Words, r.Advice = s.words(r.Reason, health.LimitsOf(c), p.cfg.Now()), s.adviceOn(r.Code)
	}
	return s, nil
}

// recordsLast is the retention from which on the last upload stays on record.
const recordsLast = time.Hour

// look adds what the file knows.
func (p *Page) look(ctx context.Context, s *status) error {
	reader, err := p.file.open(ctx)
	if err != nil {
		return err
	}
	waiting, err := p.wait.get(ctx, reader)
	if err != nil {
		return err
	}
	facts, err := p.slow.get(ctx, reader)
	if err != nil {
		return err
	}
	t, err := p.totals.get(ctx, reader)
	if err != nil {
		return err
	}
	p.fill(s, waiting, facts, t)
	c := p.cfg.Config
	if _, own := s.Components["uploader"]; !own && c.Remote.Enabled && c.Storage.Retention >= recordsLast {
		s.addUploader(facts, health.LimitsOf(c))
	}
	return nil
}

// addUploader lets collectord's page say how the uploads go, by the same rules,
// from what shipperd has left in the file, as of when that was read: it has gone
// on since.
func (s *status) addUploader(f slowFacts, limits health.Limits) {
	u := &health.Uploader{Started: f.shipperStarted, LastUpload: f.lastAccepted}
	if u.Started.IsZero() && u.LastUpload.IsZero() {
		return // it never ran here, which has a reason of its own
	}
	report := health.Evaluate(health.Input{Uploader: u, Storage: &health.Storage{Pending: s.Delivery.Pending}}, limits, f.at)
	for _, r := range report.Reasons {
		if r.Component != "uploader" {
			continue
		}
		if r.Severity > s.State.Status {
			s.State.Status, s.State.Since = r.Severity, moment(r.Since)
		} else if r.Severity == s.State.Status {
			s.State.Since = earliest(s.State.Since, moment(r.Since))
		}
		s.State.Reasons = append(s.State.Reasons, reason{Reason: r})
	}
}

// note adds something that changes no status, unless the daemon has said it.
func (s *status) note(component, code, message string) {
	if slices.ContainsFunc(s.State.Reasons, func(r reason) bool { return r.Code == code }) {
		return
	}
	s.State.Reasons = append(s.State.Reasons, reason{
		Reason: health.Reason{Component: component, Code: code, Severity: health.OK, Message: message},
	})
}

// runs are those of a daemon.
type runs struct {
	Name    string     `json:"name"`
	Running bool       `json:"running"`
	Version string     `json:"version,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	Unclean int        `json:"unclean"` // of the last ones, without the one that runs
	Last    []oneRun   `json:"last"`    // the newest first
}

type oneRun struct {
	Version string     `json:"version"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Clean   bool       `json:"clean"`
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
		d.Last = append(d.Last, oneRun{run.Version, run.Started.UTC(), moment(run.Ended), run.Clean})
		current := i == 0 && running && run.Ended.IsZero()
		if current {
			d.Version, d.Since = run.Version, moment(run.Started)
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

// hostOf leaves out all of an address that could be a secret.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
