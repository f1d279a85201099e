// Package doctor finds out why samples are not delivered: a list of checks, each with a remedy.
//
// It promises to change nothing, neither in the file nor at the server, to run beside the daemons,
// and to continue after a failed check: the checks that depend on it report "not checked". Only
// Input.Probe writes: three samples of a series of its own to the server. It looks for a few
// samples of the last accepted chunk; package audit compares all. Conditions of package health have
// their message and remedy from there.
package doctor

import (
	"context"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// Status is the result of a check.
type Status string

const (
	OK      Status = "ok"
	Warn    Status = "warn"    // works, but not as well as it should
	Fail    Status = "FAIL"    // samples are not delivered, or will be lost
	Unknown Status = "unknown" // could not be found out
)

// Check is one check with its result.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do, for Warn and Fail
}

// Input is what to look at.
type Input struct {
	Config  config.Config
	File    string // the configuration's, "" = these are the defaults
	Version string // of this program

	Client    *victoria.Client // nil where it could not be made
	ClientErr error            // then it says why
	Secrets   []string         // files that hold the credentials

	// Interface returns the name of the network interface that Client uses; nil or "" = not known.
	Interface func() string

	Probe     bool              // write a series of its own to find out whether the server deduplicates
	ProbeWait time.Duration     // the pause before it is read, 0 = 15 s
	Note      func(text string) // called before a pause; nil = nobody is told

	Now func() time.Time // nil = time.Now
}

func ok(detail string) Check        { return Check{Status: OK, Detail: detail} }
func unknown(detail string) Check   { return Check{Status: Unknown, Detail: detail} }
func warn(detail, fix string) Check { return Check{Status: Warn, Detail: detail, Fix: fix} }
func fail(detail, fix string) Check { return Check{Status: Fail, Detail: detail, Fix: fix} }

// active is the result of a check that found a condition.
func active(c *health.Condition, args ...any) Check {
	a := c.Active(time.Time{}, args...)
	if a.Severity == health.Error {
		return fail(a.Message, a.Remedy)
	}
	return warn(a.Message, a.Remedy)
}

// Run makes all checks and passes each result to each as soon as it is there.
func Run(ctx context.Context, in Input, each func(Check)) {
	if in.Now == nil {
		in.Now = time.Now
	}
	d := &doctor{Input: in}
	defer d.close()
	type check struct {
		name string
		run  func(context.Context) Check
	}
	checks := []check{
		{"configuration", d.configuration},
		{"directory", d.directory},
		{"files", d.files},
		{"disk space", d.disk},
		{"database", d.schema},
		{"collectord", d.collectord},
		{"shipperd", d.shipperd},
		{"connection", d.connection},
		{"credentials", d.credentials},
		{"import", d.imports},
		{"uploads", d.uploads},
		{"link", d.link},
		{"clock", d.clock},
		{"time", d.trueTime},
		{"read-back", d.readBack},
		{"last chunk", d.lastChunk},
		{"retention", d.retention},
		{"deduplication", d.deduplication},
		{"verification", d.verification},
		{"backlog", d.backlog},
		{"dead letters", d.deadLetters},
	}
	if in.Probe {
		checks = append(checks, check{"duplicates", d.duplicates})
	}
	for _, check := range checks {
		if ctx.Err() != nil {
			return
		}
		c := check.run(ctx)
		c.Name = check.name
		each(c)
	}
}

// doctor keeps what several checks need.
type doctor struct {
	Input

	file         *store.Reader // nil where it cannot be read
	schemaErr    error
	opened       bool
	shipperdRuns bool

	probed   bool
	probe    victoria.Probe
	probeErr error
	probeAt  time.Time // when the answer had come

	readable bool // the server answers exports

	flags map[string]string // of the server, as far as it shows them
}

func (d *doctor) close() {
	if d.file != nil {
		_ = d.file.Close() // nothing was written
	}
	if d.Client != nil {
		d.Client.Close()
	}
}

// open opens the database, once.
func (d *doctor) open(ctx context.Context) (*store.Reader, error) {
	if !d.opened {
		d.opened = true
		d.file, d.schemaErr = store.OpenReader(ctx, d.Config.Storage.Path)
	}
	return d.file, d.schemaErr
}

// times returns what the keys of the file mean, and the true time, as far as the file knows it.
func (d *doctor) times(ctx context.Context, file *store.Reader) (store.Timeline, time.Time, error) {
	t, err := file.Timeline(ctx)
	if err != nil {
		return nil, d.Now(), err
	}
	at := clock.Read()
	at.Wall = d.Now()
	return t, t.Now(at), nil
}

// reach sends an import without samples, once, unless remote.enabled is false.
func (d *doctor) reach(ctx context.Context) (victoria.Probe, error) {
	if !d.probed && d.Client != nil && d.Config.Remote.Enabled {
		d.probed = true
		d.probe, d.probeErr = d.Client.Probe(ctx)
		d.probeAt = d.Now()
		if d.probeErr == nil || d.probe.Status > 0 {
			d.flags, _ = d.Client.Flags(ctx, flagRetention, flagDedup, flagFlush) // its reads have a check
		}
	}
	return d.probe, d.probeErr
}

// answers reports whether a server answered.
func (d *doctor) answers(ctx context.Context) bool {
	p, _ := d.reach(ctx)
	return p.Status > 0
}

const (
	notOpen      = "not checked: the database cannot be read"
	notConnected = "not checked: no connection"
)
