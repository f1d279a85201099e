// Package doctor looks for what keeps samples from being delivered: one check
// after the other, each with the fix for what it finds.
//
// It promises to change nothing, neither in the file nor at the server, to run
// beside the daemons, and to go on after a fault: a check that cannot be made
// because of an earlier one says so. It does not look into the samples; package
// audit does.
package doctor

import (
	"context"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// Status is what came of a check.
type Status string

const (
	OK      Status = "ok"
	Warn    Status = "warn"    // works, but not as well as it should
	Fail    Status = "FAIL"    // samples are not delivered, or will be lost
	Unknown Status = "unknown" // could not be found out
)

// Check is one thing that was looked at.
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

	Now func() time.Time // nil = time.Now
}

// Run makes all checks and calls each for every one as soon as it is done.
func Run(ctx context.Context, in Input, each func(Check)) {
	if in.Now == nil {
		in.Now = time.Now
	}
	d := &doctor{Input: in}
	defer d.close()
	for _, check := range []func(context.Context) Check{
		d.configuration,
		d.folder, d.files, d.disk, d.schema, d.collectord, d.shipperd,
		d.connection, d.credentials, d.imports, d.uploads, d.clock, d.readBack,
		d.retention, d.deduplication, d.verification,
		d.backlog, d.deadLetters,
	} {
		if ctx.Err() != nil {
			return
		}
		each(check(ctx))
	}
}

// doctor carries from one check to the next what was found out.
type doctor struct {
	Input

	file          *store.Reader // nil where it cannot be read
	schemaErr     error
	opened        bool
	collectordRun bool
	shipperdRuns  bool

	probed   bool
	probe    victoria.Probe
	probeErr error
	probeAt  time.Time // when the answer had come

	flags    map[string]string // of the server, as far as it shows them
	flagsErr error
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

// reach sends one harmless request, once, unless nothing is to be sent.
func (d *doctor) reach(ctx context.Context) (victoria.Probe, error) {
	if !d.probed && d.Client != nil && d.Config.Remote.Enabled {
		d.probed = true
		d.probe, d.probeErr = d.Client.Probe(ctx)
		d.probeAt = d.Now()
		if d.probeErr == nil || d.probe.Status > 0 {
			d.flags, d.flagsErr = d.Client.Flags(ctx, flagRetention, flagDedup, flagFlush)
		}
	}
	return d.probe, d.probeErr
}

// answers tells whether there is a server at the other end.
func (d *doctor) answers(ctx context.Context) bool {
	p, _ := d.reach(ctx)
	return p.Status > 0
}

const (
	notOpen      = "not looked at: the database cannot be read"
	notConnected = "not tried: there is no connection"
)
