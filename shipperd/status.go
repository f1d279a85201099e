package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/truetime"
)

const statusUsage = `status [-json]

Shows the state of both daemons, the backlog, the ledger of all samples and the
active conditions. It reads the database and changes nothing. Exit code 1: the
ledger does not add up, or there is no database.
`

// status prints the state of both daemons and of the file.
func status(ctx context.Context, env daemon.Env) error {
	fs := flag.NewFlagSet("status", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "write JSON")
	if _, err := parseFlags(env, fs, env.Args, 0, statusUsage); err != nil {
		return helped(err)
	}
	file, err := store.OpenReader(ctx, env.Config.Storage.Path)
	if err != nil {
		return err
	}
	r, err := gatherStatus(ctx, env.Config, file, time.Now())
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(env.Stdout, r)
	} else {
		r.print(env.Stdout)
	}
	if err == nil && r.Ledger.Difference != 0 {
		return daemon.ErrSilent
	}
	return err
}

// statusReport is what "status -json" writes.
type statusReport struct {
	Time     time.Time      `json:"time"`
	Database string         `json:"database"`
	Sizes    statusSizes    `json:"sizes"`
	Daemons  []daemonStatus `json:"daemons"`
	Pending  struct {
		Samples int64     `json:"samples"`
		Oldest  time.Time `json:"oldest,omitzero"`      // the sample's time
		Sent    time.Time `json:"newest_sent,omitzero"` // the newest one that was sent, if that is behind the oldest
	} `json:"pending"`
	TrueTime     timeStatus       `json:"true_time"`
	OpenChunks   []chunkStatus    `json:"open_chunks"`
	LastAccepted time.Time        `json:"last_accepted,omitzero"` // as far as chunks of that time are recorded
	LastVerified time.Time        `json:"last_verified,omitzero"`
	Ledger       ledger           `json:"ledger"`
	DeadLetters  map[string]int64 `json:"dead_letters"` // by reason
	Link         linkStatus       `json:"link"`
	Stats        []statStatus     `json:"stats"`
	Conditions   []health.Active  `json:"conditions"` // as far as the file shows them
	Next         []string         `json:"next"`       // what to do about them
	saved        health.Uploader  // what shipperd has left in the file
}

type statusSizes struct {
	File   int64 `json:"file_bytes"`
	WAL    int64 `json:"wal_bytes"`
	Data   int64 `json:"data_bytes"`
	Budget int64 `json:"budget_bytes"`
}

type daemonStatus struct {
	Name    string    `json:"name"`
	Running bool      `json:"running"`
	PID     int       `json:"pid,omitempty"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Last is the run before the present one, or the last one there was.
	Last *lastRun `json:"last_run,omitempty"`
}

type lastRun struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Clean   bool      `json:"clean"` // false: it was killed, or the machine was
}

// timeStatus is what is known of the time of the newest samples.
type timeStatus struct {
	How          store.How `json:"how"`           // "" = not known yet
	CorrectionMS int64     `json:"correction_ms"` // true time minus the wall clock
	Waiting      int64     `json:"waiting"`       // samples that wait for their true time
	text         string
	now          time.Time // true time, as far as it is known
}

// linkStatus is what the uploads cost on the link.
type linkStatus struct {
	link.Use
	Interface string `json:"interface,omitempty"`
}

func gatherTime(ctx context.Context, file *store.Reader, now time.Time) (s timeStatus, err error) {
	t, err := file.Timeline(ctx)
	if err != nil {
		return s, err
	}
	at := clock.Read()
	at.Wall = now
	last := t[len(t)-1]
	s.How, s.text, s.now = last.How, truetime.Describe(last), t.Now(at)
	if last.Corrected() {
		s.CorrectionMS = last.TrueOffset - last.WallOffset
	}
	s.Waiting, err = file.Count(ctx, t.Known(), math.MaxInt64)
	return s, err
}

type chunkStatus struct {
	State   store.ChunkState `json:"state"`
	Chunks  int64            `json:"chunks"`
	Samples int64            `json:"samples"`
	Bytes   int64            `json:"bytes"`
}

type statStatus struct {
	Daemon string  `json:"daemon"`
	Name   string  `json:"name"`
	Tags   string  `json:"tags"`
	Value  float64 `json:"value"`
}

func gatherStatus(ctx context.Context, cfg config.Config, file *store.Reader, now time.Time) (*statusReport, error) {
	r := &statusReport{
		Time: now.UTC().Truncate(time.Millisecond), Database: cfg.Storage.Path,
		OpenChunks: []chunkStatus{}, Stats: []statStatus{}, Next: []string{},
	}
	for _, name := range []string{"collectord", "shipperd"} {
		d, err := gatherDaemon(ctx, cfg, file, name)
		if err != nil {
			return nil, err
		}
		r.Daemons = append(r.Daemons, d)
	}
	l, err := file.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	r.Ledger = ledgerOf(l)
	backlog, err := file.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	r.Pending.Samples = backlog.Rows
	if backlog.Rows > 0 {
		r.Pending.Oldest = time.UnixMilli(backlog.OldestMS).UTC()
	}
	if backlog.SentMS > 0 {
		r.Pending.Sent = time.UnixMilli(backlog.SentMS).UTC()
	}
	if r.TrueTime, err = gatherTime(ctx, file, now); err != nil {
		return nil, err
	}
	totals, err := file.ChunkTotals(ctx)
	if err != nil {
		return nil, err
	}
	r.takeChunks(totals)
	if r.LastAccepted, r.LastVerified, err = file.LastDelivery(ctx); err != nil {
		return nil, err
	}
	if r.DeadLetters, err = file.DeadLettersByReason(ctx); err != nil {
		return nil, err
	}
	sizes, err := file.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	r.Sizes = statusSizes{sizes.File, sizes.WAL, sizes.Data, cfg.Storage.MaxSizeMB << 20}
	if r.Link.Use, err = link.Read(ctx, file, cfg.Remote); err != nil {
		return nil, err
	}
	stats, err := file.Stats(ctx)
	for _, s := range stats {
		r.Stats = append(r.Stats, statStatus{s.Daemon, s.Name, s.Tags, s.Value})
	}
	r.Link.Interface = link.Interface(stats)
	if r.Daemons[1].Running {
		r.saved.Saved(stats, cfg.Remote.URL, now)
	}
	r.evaluate(cfg)
	return r, err
}

func gatherDaemon(ctx context.Context, cfg config.Config, file *store.Reader, name string) (d daemonStatus, err error) {
	d.Name = name
	if d.PID, d.Running, err = lock.Holder(cfg.Storage.Path + "." + name + ".lock"); err != nil {
		return d, err
	}
	runs, err := file.Runs(ctx, name, 2)
	if d.Running && len(runs) > 0 && runs[0].Ended.IsZero() { // else it has just started
		d.Version, d.Since = runs[0].Version, runs[0].Started
		runs = runs[1:]
	}
	if len(runs) > 0 {
		d.Last = &lastRun{runs[0].Version, runs[0].Started, runs[0].Ended, runs[0].Clean}
	}
	return d, err
}

// takeChunks sorts the open chunks by how far they have come.
func (r *statusReport) takeChunks(totals []store.ChunkTotal) {
	for _, state := range []store.ChunkState{store.Sending, store.Requeued, store.Accepted} {
		for _, t := range totals {
			if t.State == state {
				r.OpenChunks = append(r.OpenChunks, chunkStatus{t.State, t.Chunks, t.Samples, t.Bytes})
			}
		}
	}
}

// evaluate finds the conditions that the file shows, and what to do about them.
func (r *statusReport) evaluate(cfg config.Config) {
	in := health.Input{Uploader: &r.saved, Storage: &health.Storage{Pending: r.Pending.Samples, NewestSent: r.Pending.Sent}}
	found := func(when bool, component *[]health.Active, c *health.Condition, args ...any) {
		if when {
			*component = append(*component, c.Active(time.Time{}, args...))
		}
	}
	collectord, shipperd := r.Daemons[0], r.Daemons[1]
	uploader, storage := &in.Uploader.Found, &in.Storage.Found
	found(!collectord.Running, storage, health.CollectordAway, "")
	found(!cfg.Remote.Enabled, uploader, health.UploadsOff)
	found(cfg.Remote.Enabled && !shipperd.Running, storage, health.ShipperdAway, "")
	found(len(r.DeadLetters) > 0, uploader, health.DeadLetters)
	in.Uploader.LastUpload = r.LastAccepted
	if !shipperd.Since.IsZero() { // it is by the wall clock
		in.Uploader.Started = shipperd.Since.Add(r.TrueTime.now.Sub(r.Time))
	}
	found(!r.Link.Lasts(), uploader, health.LinkBudget, link.MB(r.Link.Month), link.MB(r.Link.Budget), link.MB(r.Link.Forecast))
	in.Stretch = r.Link.Slack()
	limits := health.LimitsOf(cfg)
	limits.NoUploads = limits.NoUploads || !shipperd.Running
	r.Conditions = health.Evaluate(in, limits, r.TrueTime.now).Conditions
	if r.Ledger.Difference != 0 {
		r.Next = append(r.Next, "the ledger does not add up. Report this as a bug, with the output of `belabox-shipperd audit`.")
	}
	for _, c := range r.Conditions {
		r.Next = append(r.Next, c.Message+". "+c.Remedy)
	}
	if n := r.Ledger.dropped(); n > 0 {
		r.Next = append(r.Next, fmt.Sprintf("%s dropped before delivery (%s). Raise `storage.max_size_mb`, or find out why they were not delivered.", human.Plural(n, "sample"), reasons(r.Ledger.Dropped, "")))
	}
}

func (r *statusReport) print(w io.Writer) {
	line := func(name, text string, args ...any) {
		fmt.Fprintf(w, "%-13s %s\n", name, human.Printable(fmt.Sprintf(text, args...)))
	}
	ago := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return human.Duration(r.TrueTime.now.Sub(t)) + " ago"
	}
	line("database", "%s", r.Database)
	line("", "%s, WAL %s, of %s", human.Bytes(r.Sizes.File), human.Bytes(r.Sizes.WAL), human.Bytes(r.Sizes.Budget))
	for _, d := range r.Daemons {
		line(d.Name, "%s", d.describe(r.Time))
	}
	if r.Pending.Samples == 0 {
		line("pending", "none")
	} else {
		line("pending", "%s, the oldest from %s ago", human.Plural(r.Pending.Samples, "sample"), human.Duration(r.TrueTime.now.Sub(r.Pending.Oldest)))
		if !r.Pending.Sent.IsZero() {
			line("", "newer ones were sent, up to %s", ago(r.Pending.Sent))
		}
	}
	line("time", "%s", r.TrueTime.text)
	if r.TrueTime.Waiting > 0 {
		line("", "%s", human.Plural(r.TrueTime.Waiting, "sample")+" wait for their true time")
	}
	if len(r.OpenChunks) == 0 {
		line("in flight", "none")
	}
	for i, c := range r.OpenChunks {
		name := "in flight"
		if i > 0 {
			name = ""
		}
		line(name, "%s: %s with %s, %s", c.State, human.Plural(c.Chunks, "chunk"), human.Plural(c.Samples, "sample"),
			human.Bytes(c.Bytes))
	}
	line("accepted", "%s", ago(r.LastAccepted))
	line("verified", "%s", ago(r.LastVerified))
	line("link", "%s", r.Link.Line())
	if r.Link.Interface != "" {
		line("", "via %s", r.Link.Interface)
	}
	line("dead letters", "%s", reasons(r.DeadLetters, "none"))
	fmt.Fprintln(w)
	r.Ledger.print(w)
	if len(r.Next) > 0 {
		fmt.Fprintln(w, "\nremedies")
	}
	for _, text := range r.Next {
		fmt.Fprintf(w, "  %s\n", human.Printable(text))
	}
}

// describe returns the state of a daemon in a line.
func (d daemonStatus) describe(now time.Time) string {
	text := "not running"
	switch {
	case d.Running && d.Since.IsZero():
		text = fmt.Sprintf("starting, process %d", d.PID)
	case d.Running:
		text = fmt.Sprintf("running for %s, process %d, version %s", human.Duration(now.Sub(d.Since)), d.PID, d.Version)
	}
	switch {
	case d.Last == nil:
		return text + "; no earlier run"
	case d.Last.Clean && !d.Last.Ended.IsZero():
		return text + "; last run stopped " + human.Time(d.Last.Ended)
	}
	return text + "; last run was killed, started " + human.Time(d.Last.Started)
}

// reasons formats counts by reason, the largest first.
func reasons(counts map[string]int64, none string) string {
	if len(counts) == 0 {
		return none
	}
	var parts []string
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for _, reason := range names {
		parts = append(parts, fmt.Sprintf("%s %d", human.Excerpt(reason), counts[reason]))
	}
	return strings.Join(parts, ", ")
}
