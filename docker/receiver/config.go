package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"belabox-metrics/docker/receiver/internal/gateway"
	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/upstream"
)

// config is what the command line says. The flags' texts are the manual.
type config struct {
	listen          string
	db              string
	maxBodyBytes    int64
	maxDecodedBytes int64
	maxLabels       int
	retention       time.Duration

	tokens        string
	metricsListen string
	tlsCert       string
	tlsKey        string
	upstream      upstream.Config
	limits        gateway.Limits
	connections   int

	newToken string
	version  bool
}

const usage = `receiver takes the samples that shipperd sends, and keeps them in one SQLite file or passes them on to
VictoriaMetrics.

It answers like VictoriaMetrics: POST /api/v1/import, GET /api/v1/export, GET /health. Without -tokens it
checks nobody's identity: let it listen on the loopback address then.

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
	f.IntVar(&c.maxLabels, "max-labels", 30, "most labels of a series, its name among them, a `NUMBER` from 1 to 40; VictoriaMetrics "+
		"drops more than its -maxLabelsPerTimeseries (30 in older versions) without a word")
	f.DurationVar(&c.retention, "retention", 0, "how long samples are kept, a `DURATION` such as 720h; "+
		"older ones are refused, and removed within two hours; 0 keeps all")
	f.StringVar(&c.tokens, "tokens", "", "`FILE` with a device id and the SHA-256 of its bearer token in each line, mode 0600 or 0640; "+
		"read again when it changes; then a device writes and reads its own samples only. Without it anybody may do anything")
	f.StringVar(&c.newToken, "new-token", "", "print a new token for a `DEVICE`, and its line for -tokens, and exit")
	f.StringVar(&c.metricsListen, "metrics-listen", "", "`ADDRESS` for /metrics, which with -tokens is not on -listen; empty = none")
	f.StringVar(&c.tlsCert, "tls-cert", "", "`FILE` with the certificate in PEM form; read again when it changes; empty = plain HTTP")
	f.StringVar(&c.tlsKey, "tls-key", "", "`FILE` with the key of -tls-cert")
	f.StringVar(&c.upstream.URL, "upstream", "", "import `URL` of a VictoriaMetrics, .../api/v1/import or "+
		".../insert/TENANT/prometheus/api/v1/import; then nothing is kept here")
	f.StringVar(&c.upstream.ReadURL, "upstream-read", "", "export `URL` of it, .../api/v1/export, where that is not on the same host")
	f.StringVar(&c.upstream.TokenFile, "upstream-token-file", "", "`FILE` with the bearer token for the upstream, mode 0600 or 0640")
	f.StringVar(&c.upstream.CAFile, "upstream-ca-file", "", "`FILE` with the CA of the upstream's certificate in PEM form; empty = the system's")
	f.DurationVar(&c.upstream.Timeout, "upstream-timeout", 25*time.Second,
		"the longest that the upstream may take for a request, a `DURATION`; keep it below the shippers' remote.timeout (30s)")
	f.IntVar(&c.connections, "max-connections", 20_000, "most connections at a time, a `NUMBER`; further ones wait; each device keeps one open")
	f.IntVar(&c.limits.Requests, "max-requests", 512, "most requests at a time, a `NUMBER`; further ones are answered 429")
	f.IntVar(&c.limits.PerDevice, "device-requests", 8, "with -tokens: most requests of a device at a time, a `NUMBER`; further ones are answered 429")
	f.Float64Var(&c.limits.Rate, "device-rate", 20, "with -tokens: most requests of a device in a second, a `NUMBER`; further ones are answered 429")
	f.IntVar(&c.limits.Burst, "device-burst", 100, "with -tokens: requests of a device that may come at once, a `NUMBER`")
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
	if c.version || c.newToken != "" {
		return c, nil
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return c, errors.Join(c.validate(), c.conflicts(set))
}

// conflicts refuses flags that mean nothing together: whoever sets them expects something else.
func (c *config) conflicts(set map[string]bool) error {
	var errs []error
	needs := func(name, other, why string) {
		if set[name] && !set[other] {
			errs = append(errs, fmt.Errorf("-%s: %s without -%s", name, why, other))
		}
	}
	for _, name := range []string{"upstream-read", "upstream-token-file", "upstream-ca-file", "upstream-timeout"} {
		needs(name, "upstream", "means nothing")
	}
	for _, name := range []string{"device-requests", "device-rate", "device-burst"} {
		needs(name, "tokens", "means nothing")
	}
	needs("tls-cert", "tls-key", "cannot be used")
	needs("tls-key", "tls-cert", "cannot be used")
	for _, name := range []string{"db", "retention"} {
		if set["upstream"] && set[name] {
			errs = append(errs, fmt.Errorf("-%s: nothing is kept here with -upstream", name))
		}
	}
	return errors.Join(errs...)
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
	if c.maxLabels < 1 || c.maxLabels > line.MaxLabels {
		errs = append(errs, fmt.Errorf("-max-labels: %d is not 1 to %d", c.maxLabels, line.MaxLabels))
	}
	for _, n := range []struct {
		name  string
		value float64
	}{
		{"max-connections", float64(c.connections)},
		{"max-requests", float64(c.limits.Requests)},
		{"device-requests", float64(c.limits.PerDevice)},
		{"device-burst", float64(c.limits.Burst)},
		{"device-rate", c.limits.Rate},
		{"upstream-timeout", c.upstream.Timeout.Seconds()},
	} {
		if !(n.value > 0) { // NaN is not either
			errs = append(errs, fmt.Errorf("-%s: %v is not above 0", n.name, n.value))
		}
	}
	if c.metricsListen != "" {
		if _, _, err := net.SplitHostPort(c.metricsListen); err != nil {
			errs = append(errs, fmt.Errorf("-metrics-listen: %w", err))
		}
	}
	if c.retention < 0 {
		errs = append(errs, fmt.Errorf("-retention: %v is below 0", c.retention))
	}
	return errors.Join(errs...)
}
