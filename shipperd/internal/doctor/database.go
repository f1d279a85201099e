package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

func (d *doctor) schema(ctx context.Context) Check {
	file, err := d.open(ctx)
	switch {
	case errors.Is(err, store.ErrNoFile):
		return warn(err.Error(), "start collectord with this configuration")
	case errors.Is(err, store.ErrOlder):
		return fail(err.Error(), "start collectord or shipperd of this version once")
	case errors.Is(err, store.ErrNewer):
		return fail(err.Error(), "install the version that wrote it")
	case errors.Is(err, store.ErrForeign):
		return fail(err.Error(), "set storage.path to another file")
	case errors.Is(err, store.ErrDamaged):
		return fail(err.Error(), "wait a minute: collectord or shipperd sets the file aside and salvages its rows; if none of them runs, start collectord")
	case err != nil:
		return fail(err.Error(), "run this as root or as the user of the daemons")
	}
	ledger, err := file.Ledger(ctx)
	if err != nil {
		return fail(err.Error(), "try again; if the error stays, the file is damaged")
	}
	if ledger.Difference() != 0 {
		return fail("the ledger does not add up: off by "+human.Plural(ledger.Difference(), "sample"),
			"report this as a bug, with the output of 'belabox-shipperd status' and 'belabox-shipperd audit'")
	}
	if notice := store.DamageNotice(d.Config.Storage.Path); notice != "" {
		return active(health.DatabaseDamaged, notice)
	}
	return ok("schema is current; the ledger of " + human.Plural(ledger.Inserted, "sample") + " adds up")
}

func (d *doctor) collectord(ctx context.Context) Check {
	c, running, started := d.daemon(ctx, "collectord", health.CollectordAway)
	file, err := d.open(ctx)
	if err != nil || !running || started.IsZero() || c.Status != OK {
		return c
	}
	limit := 10*d.Config.Collection.Interval + 30*time.Second
	_, newest, exists, err := file.Span(ctx)
	if err != nil {
		return c
	}
	t, now, err := d.times(ctx, file)
	if err != nil {
		return c
	}
	age := now.Sub(time.UnixMilli(t.MS(newest)))
	if d.Now().Sub(started) <= limit || exists && age <= limit {
		return c
	}
	detail := "running, but the file has no row"
	if exists {
		detail = "running, but the newest row is " + human.Duration(age) + " old"
	}
	return fail(detail, "see the log of collectord and http://"+d.Config.Health.CollectordListen+"/health")
}

func (d *doctor) shipperd(ctx context.Context) (c Check) {
	c, d.shipperdRuns, _ = d.daemon(ctx, "shipperd", health.ShipperdAway)
	if c.Status == Fail && !d.Config.Remote.Enabled {
		c.Status = Warn // it has nothing to do
	}
	return c
}

// restartLimit is how long a daemon may be away for a restart or an upgrade.
const restartLimit = time.Minute

// daemon checks whether a daemon holds its lock. One that has run before fails the check when it is
// away for longer than a restart takes; before the first run, nothing is wrong yet. started is zero
// where the file does not know its run.
func (d *doctor) daemon(ctx context.Context, name string, away *health.Condition) (c Check, running bool, started time.Time) {
	pid, running, err := lock.Holder(d.Config.Storage.Path + "." + name + ".lock")
	switch {
	case err != nil:
		return unknown(err.Error()), false, started
	case running:
		c = ok(fmt.Sprintf("running as process %d", pid))
	default:
		c = active(away, "")
	}
	file, err := d.open(ctx)
	if err != nil {
		return c, running, started
	}
	runs, err := file.Runs(ctx, name, 1)
	if err != nil || len(runs) == 0 {
		return c, running, started
	}
	if !running {
		last := runs[0].Ended
		if last.IsZero() { // it was killed
			last = runs[0].Started
		}
		if d.Now().Sub(last) > restartLimit {
			c = fail(c.Detail, c.Fix)
		}
		return c, false, started
	}
	c.Detail += fmt.Sprintf(", version %s, for %s", runs[0].Version, human.Duration(d.Now().Sub(runs[0].Started)))
	if runs[0].Version != d.Version {
		c = warn(c.Detail, "restart "+name+": this program is version "+d.Version)
	}
	return c, true, runs[0].Started
}

// firstGuess is the bytes on the wire of a sample in a backlog, before anything was sent
// (docs/victoriametrics-setup.md).
const firstGuess = 2.5

// backlog estimates how long it takes to send the pending rows.
func (d *doctor) backlog(ctx context.Context) Check {
	file, err := d.open(ctx)
	if err != nil {
		return unknown(notOpen)
	}
	waiting, err := file.Backlog(ctx)
	if err != nil {
		return unknown(err.Error())
	}
	if waiting.Rows == 0 {
		return ok("no samples pending")
	}
	_, now, err := d.times(ctx, file)
	if err != nil {
		return unknown(err.Error())
	}
	age := now.Sub(time.UnixMilli(waiting.OldestMS))
	detail := fmt.Sprintf("%s pending, the oldest for %s", human.Plural(waiting.Rows, "sample"), human.Duration(age))
	if waiting.Rows > int64(d.Config.Remote.BatchSize) {
		bytes := float64(waiting.Rows) * d.bytesPerSample(ctx, file)
		detail += fmt.Sprintf("; sending them takes about %s", human.Bytes(int64(bytes)))
		rate, link := 1e6/8, "at 1 Mbit/s"
		if limit := d.Config.Remote.CatchUpBytesPerSecond; limit > 0 {
			rate, link = float64(limit), fmt.Sprintf("at catch_up_bytes_per_second %d", limit)
		}
		took := max(time.Second, time.Duration(bytes/rate*float64(time.Second)))
		detail += fmt.Sprintf(" and %s %s", human.Duration(took), link)
	}
	if waiting.Rows > d.Config.Health.ErrorThreshold {
		return warn(detail, health.BacklogLarge.Remedy)
	}
	return ok(detail)
}

// bytesPerSample is what the recorded chunks took.
func (d *doctor) bytesPerSample(ctx context.Context, file *store.Reader) float64 {
	totals, err := file.ChunkTotals(ctx)
	if err != nil {
		return firstGuess
	}
	var samples, bytes int64
	for _, t := range totals {
		samples, bytes = samples+t.Samples, bytes+t.Bytes
	}
	if samples < 100_000 { // small batches compress worse than a backlog does
		return firstGuess
	}
	return float64(bytes) / float64(samples)
}

func (d *doctor) deadLetters(ctx context.Context) Check {
	file, err := d.open(ctx)
	if err != nil {
		return unknown(notOpen)
	}
	reasons, err := file.DeadLettersByReason(ctx)
	if err != nil {
		return unknown(err.Error())
	}
	var n int64
	for _, samples := range reasons {
		n += samples
	}
	if n > 0 {
		return warn(human.Plural(n, "sample")+" could not be delivered", health.DeadLetters.Remedy)
	}
	return ok("none")
}
