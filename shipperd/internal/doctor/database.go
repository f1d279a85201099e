package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/human"
)

func (d *doctor) schema(ctx context.Context) Check {
	c := Check{Name: "database", Status: OK}
	file, err := d.open(ctx)
	if err != nil {
		c.Status, c.Detail = Fail, err.Error()
		switch {
		case errors.Is(err, store.ErrNoFile):
			c.Status, c.Fix = Warn, "start collectord with this configuration"
		case errors.Is(err, store.ErrOlder):
			c.Fix = "start collectord or shipperd of this version once"
		case errors.Is(err, store.ErrNewer):
			c.Fix = "install the version that wrote it"
		case errors.Is(err, store.ErrForeign):
			c.Fix = "set storage.path to another file"
		case errors.Is(err, store.ErrDamaged):
			c.Fix = "start collectord, which sets the file aside and saves what can be read"
		default:
			c.Fix = "run this as the user of the daemons or as root"
		}
		return c
	}
	ledger, err := file.Ledger(ctx)
	switch {
	case err != nil:
		c.Status, c.Detail, c.Fix = Fail, err.Error(), "try again; if it stays so the file is damaged"
	case ledger.Difference() != 0:
		c.Status, c.Detail = Fail, fmt.Sprintf("the ledger is off by %d samples", ledger.Difference())
		c.Fix = "this must not happen: please report it with the output of 'belabox-shipperd status' and 'belabox-shipperd audit'"
	default:
		c.Detail = fmt.Sprintf("the schema is the one this version knows; the ledger of %d samples adds up", ledger.Inserted)
		if notice := store.DamageNotice(d.Config.Storage.Path); notice != "" {
			c.Status, c.Fix = Warn, notice
		}
	}
	return c
}

func (d *doctor) collectord(ctx context.Context) Check {
	c, running := d.daemon(ctx, "collectord")
	d.collectordRun = running
	file, err := d.open(ctx)
	if err != nil || !running || c.Status != OK {
		return c
	}
	runs, err := file.Runs(ctx, "collectord", 1)
	if err != nil || len(runs) == 0 {
		return c
	}
	_, newest, ok, err := file.Span(ctx)
	limit := 10*d.Config.Collection.Interval + 30*time.Second
	now := d.Now()
	if since := now.Sub(time.UnixMilli(newest.TimestampMS())); err == nil && now.Sub(runs[0].Started) > limit && (!ok || since > limit) {
		c.Status = Fail
		c.Detail = "it runs, but its newest row is " + human.Duration(since) + " old"
		if !ok {
			c.Detail = "it runs, but there is no row"
		}
		c.Fix = "see its log and http://" + d.Config.Health.CollectordListen + "/health"
	}
	return c
}

func (d *doctor) shipperd(ctx context.Context) Check {
	c, running := d.daemon(ctx, "shipperd")
	d.shipperdRuns = running
	return c
}

// daemon looks whether a daemon holds its lock.
func (d *doctor) daemon(ctx context.Context, name string) (c Check, running bool) {
	c = Check{Name: name, Status: OK}
	pid, running, err := lock.Holder(d.Config.Storage.Path + "." + name + ".lock")
	switch {
	case err != nil:
		c.Status, c.Detail = Unknown, err.Error()
		return c, false
	case !running:
		c.Status, c.Detail, c.Fix = Warn, "it does not run on this database", "start "+name
		return c, false
	}
	c.Detail = fmt.Sprintf("runs as process %d", pid)
	file, err := d.open(ctx)
	if err != nil {
		return c, true
	}
	if runs, err := file.Runs(ctx, name, 1); err == nil && len(runs) > 0 {
		c.Detail += fmt.Sprintf(", version %s, for %s", runs[0].Version, human.Duration(d.Now().Sub(runs[0].Started)))
		if runs[0].Version != d.Version {
			c.Status, c.Fix = Warn, "restart "+name+": this program is version "+d.Version
		}
	}
	return c, true
}

// firstGuess is the bytes on the wire of a sample in a backlog, before anything
// was sent (docs/victoriametrics-setup.md).
const firstGuess = 2.5

// backlog says how long it takes to send what waits.
func (d *doctor) backlog(ctx context.Context) Check {
	c := Check{Name: "backlog", Status: OK}
	file, err := d.open(ctx)
	if err != nil {
		c.Status, c.Detail = Unknown, notOpen
		return c
	}
	waiting, err := file.Backlog(ctx)
	if err != nil {
		c.Status, c.Detail = Unknown, err.Error()
		return c
	}
	if waiting.Rows == 0 {
		c.Detail = "nothing waits"
		return c
	}
	age := d.Now().Sub(time.UnixMilli(waiting.OldestMS))
	c.Detail = fmt.Sprintf("%d samples wait, the oldest for %s", waiting.Rows, human.Duration(age))
	bytes := float64(waiting.Rows) * d.bytesPerSample(ctx, file)
	remote := d.Config.Remote
	if waiting.Rows > int64(remote.BatchSize) {
		c.Detail += fmt.Sprintf("; to send them takes about %s", human.Bytes(int64(bytes)))
		if limit := remote.CatchUpBytesPerSecond; limit > 0 {
			took := time.Duration(bytes / float64(limit) * float64(time.Second))
			c.Detail += fmt.Sprintf(" and, at catch_up_bytes_per_second %d, %s", limit, human.Duration(took))
		} else {
			took := max(time.Second, time.Duration(bytes*8/1e6*float64(time.Second)))
			c.Detail += fmt.Sprintf(", %s on a line of 1 Mbit/s", human.Duration(took))
		}
	}
	if waiting.Rows > d.Config.Health.ErrorThreshold {
		c.Status, c.Fix = Warn, "if it does not shrink, mend what fails above; with nothing failing it drains by itself"
	}
	return c
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
	c := Check{Name: "dead letters", Status: OK, Detail: "none"}
	file, err := d.open(ctx)
	if err != nil {
		c.Status, c.Detail = Unknown, notOpen
		return c
	}
	reasons, err := file.LettersByReason(ctx)
	if err != nil {
		c.Status, c.Detail = Unknown, err.Error()
		return c
	}
	var n int64
	for _, letters := range reasons {
		n += letters
	}
	if n > 0 {
		c.Status, c.Detail = Warn, fmt.Sprintf("%d samples could not be delivered", n)
		c.Fix = "'belabox-shipperd deadletter list' says why; when that is mended, 'belabox-shipperd deadletter retry all' sends them again"
	}
	return c
}
