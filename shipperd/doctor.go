package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/human"
	"belabox-metrics/shipperd/internal/doctor"
	"belabox-metrics/shipperd/internal/meter"
	"belabox-metrics/shipperd/internal/victoria"
)

const doctorUsage = `doctor [-json] [-probe]

Checks what can keep samples from being delivered: configuration, database, disk,
daemons, connection, credentials, clock, whether the server shows the last chunk,
and the server's retention and deduplication. Each problem is shown with its remedy.
The doctor changes nothing and runs beside the daemons. Only -probe writes to the
server: three samples of the series belabox_doctor_probe. Exit code 1: a check
failed.
`

// requestTimeout bounds each request of the doctor.
const requestTimeout = 10 * time.Second

// doctorCommand makes all checks.
func doctorCommand(ctx context.Context, env daemon.Env) error {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "write JSON")
	probe := fs.Bool("probe", false, "write a series of its own to find out whether the server deduplicates (15 to 30 s)")
	if _, err := parseFlags(env, fs, env.Args, 0, doctorUsage); err != nil {
		return helped(err)
	}
	remote := env.Config.Remote
	cfg := clientConfig(remote, env)
	cfg.Timeout = min(cfg.Timeout, requestTimeout)
	in := doctor.Input{Config: env.Config, Version: buildinfo.Version, File: env.File, Probe: *probe}
	in.Note = func(text string) { _, _ = fmt.Fprintln(env.Stderr, text) } // stdout has the result
	onLink := meter.New()
	cfg.Meter = onLink.Dial
	in.Interface = func() string { return meter.Interface(onLink.Local()) }
	in.Client, in.ClientErr = victoria.New(cfg)
	for _, path := range []string{remote.AuthTokenFile, remote.BasicAuth.PasswordFile} {
		if path != "" {
			in.Secrets = append(in.Secrets, path)
		}
	}
	r := doctorReport{Status: doctor.OK, Checks: []doctor.Check{}}
	doctor.Run(ctx, in, func(c doctor.Check) {
		r.add(c)
		if !*asJSON {
			printCheck(env.Stdout, c)
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if *asJSON {
		if err := printJSON(env.Stdout, r); err != nil {
			return err
		}
	} else {
		r.printEnd(env.Stdout)
	}
	if r.Status == doctor.Fail {
		return daemon.ErrSilent
	}
	return nil
}

// doctorReport is what "doctor -json" writes.
type doctorReport struct {
	Status doctor.Status  `json:"status"` // the worst
	Checks []doctor.Check `json:"checks"`

	warnings, failures int
}

func (r *doctorReport) add(c doctor.Check) {
	r.Checks = append(r.Checks, c)
	switch c.Status {
	case doctor.Fail:
		r.failures++
		r.Status = doctor.Fail
	case doctor.Warn:
		r.warnings++
		if r.Status == doctor.OK {
			r.Status = doctor.Warn
		}
	}
}

func printCheck(w io.Writer, c doctor.Check) {
	text := fmt.Sprintf("%-8s %-14s %s\n", c.Status, c.Name, human.Printable(c.Detail))
	if c.Fix != "" {
		text += fmt.Sprintf("%-8s %-14s -> %s\n", "", "", human.Printable(c.Fix))
	}
	_, _ = io.WriteString(w, text) // a closed pipe is the reader's wish
}

func (r *doctorReport) printEnd(w io.Writer) {
	text := "\nno check failed\n"
	if r.failures > 0 {
		text = fmt.Sprintf("\n%d FAIL: fix these first, from the top\n", r.failures)
	}
	if r.warnings > 0 {
		text += fmt.Sprintf("%d warn\n", r.warnings)
	}
	_, _ = io.WriteString(w, text)
}
