package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"belabox-metrics/docker/receiver/internal/gateway"
)

// config is what the command line says. The flags' texts are the manual.
type config struct {
	listen          string
	db              string
	maxBodyBytes    int64
	maxDecodedBytes int64
	retention       time.Duration
	version         bool
}

const usage = `receiver takes the samples that shipperd sends and keeps them in one SQLite file.

It stands in for VictoriaMetrics: POST /api/v1/import, GET /api/v1/export, GET /health. It checks nobody's
identity, so let it listen on the loopback address or behind a proxy that does.

Usage: receiver [flags]

`

// parseFlags reads the command line. flag.ErrHelp means that the help was asked for and printed.
func parseFlags(args []string, stdout io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("receiver", flag.ContinueOnError)
	f.SetOutput(io.Discard) // what goes wrong is said once, by the caller
	f.StringVar(&c.listen, "listen", "127.0.0.1:8428", "`ADDRESS` to listen on, host:port; port 0 picks a free one and logs it")
	f.StringVar(&c.db, "db", "receiver.db", "`FILE` to keep the samples in; made where there is none, its folder must exist")
	f.Int64Var(&c.maxBodyBytes, "max-body-bytes", gateway.DefaultMaxBodyBytes,
		"largest body of an import as it is sent, in `BYTES`; a larger one is answered 413")
	f.Int64Var(&c.maxDecodedBytes, "max-decoded-bytes", gateway.DefaultMaxDecodedBytes,
		"largest body of an import after decompression, in `BYTES`; a larger one is answered 413")
	f.DurationVar(&c.retention, "retention", 0, "how long samples are kept, a `DURATION` such as 720h; "+
		"older ones are refused, and removed within two hours; 0 keeps all")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			f.SetOutput(stdout)
			f.PrintDefaults()
		}
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return c, c.validate()
}

// validate reports all faults at once.
func (c *config) validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		errs = append(errs, fmt.Errorf("-listen: %w", err))
	}
	if c.db == "" {
		errs = append(errs, errors.New("-db: the name is empty"))
	}
	if c.maxBodyBytes < 1 {
		errs = append(errs, fmt.Errorf("-max-body-bytes: %d is not above 0", c.maxBodyBytes))
	}
	if c.maxDecodedBytes < 1 {
		errs = append(errs, fmt.Errorf("-max-decoded-bytes: %d is not above 0", c.maxDecodedBytes))
	}
	if c.retention < 0 {
		errs = append(errs, fmt.Errorf("-retention: %v is below 0", c.retention))
	}
	return errors.Join(errs...)
}
