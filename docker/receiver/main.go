// Command receiver is a small sink for samples: it accepts what shipperd sends to VictoriaMetrics'
// /api/v1/import, stores it in one SQLite file, and returns it at /api/v1/export. It is for trying
// the agent and for tests. It has no users and no TLS: let it listen on the loopback address.
// Fleets use VictoriaMetrics, with vmauth in front of it (docs/fleet.md).
//
//	POST     /api/v1/import  stores samples; the answer lists by line what was refused
//	GET,POST /api/v1/export  samples of the series that match[] selects, one JSON line for each series
//	GET      /health         OK
//
// Exit codes: 0 success, 1 failure, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/probe"
)

const (
	// shutdownWait is how long requests may take to end after a stop was requested.
	shutdownWait = 2 * time.Second
	// pruneEvery is how often old samples are removed.
	pruneEvery = time.Hour
	// pruneGrace is how much longer than the retention a sample stays, so that a sender can read
	// back one that was taken on its last day.
	pruneGrace = time.Hour
)

// config is the command line. The flags' texts are the manual.
type config struct {
	listen          string
	db              string
	maxBodyBytes    int64
	maxDecodedBytes int64
	retention       time.Duration

	healthcheck bool
	version     bool
}

const usage = `receiver stores the samples that shipperd sends in one SQLite file.

It answers like VictoriaMetrics: POST /api/v1/import, GET /api/v1/export, GET /health. It has no
authentication and no TLS: let it listen on a loopback address only.

Usage: receiver [flags]

`

// removedFlags belonged to the gateway that this program was up to version 1.0.
var removedFlags = []string{
	"tokens", "new-token", "metrics-listen", "tls-cert", "tls-key", "upstream", "upstream-read", "upstream-token-file",
	"upstream-ca-file", "upstream-timeout", "max-connections", "max-requests", "max-labels", "device-requests",
	"device-rate", "device-burst",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "receiver: %v\nTry 'receiver -help'.\n", err)
		return 2
	case c.version:
		fmt.Fprintln(stdout, buildinfo.String("receiver"))
		return 0
	case c.healthcheck:
		text, err := probe.Get(ctx, c.listen, "/health")
		if err != nil {
			fmt.Fprintf(stderr, "receiver: %v\n", err)
			return 1
		}
		fmt.Fprintln(stdout, text)
		return 0
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, c, log); err != nil {
		log.Error("receiver stopped by an error", "err", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// parseFlags reads the command line. flag.ErrHelp means that the help was requested and printed.
func parseFlags(args []string, stdout io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("receiver", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the caller prints errors
	f.StringVar(&c.listen, "listen", "127.0.0.1:8428",
		"`ADDRESS` to listen on, host:port; port 0 picks a free one and logs it")
	f.StringVar(&c.db, "db", "receiver.db",
		"`FILE` to store the samples in; created if it does not exist, its directory must exist")
	f.Int64Var(&c.maxBodyBytes, "max-body-bytes", 8<<20,
		"largest body of an import as it is sent, in `BYTES`; a larger one is answered 413")
	f.Int64Var(&c.maxDecodedBytes, "max-decoded-bytes", 64<<20,
		"largest body of an import after decompression, in `BYTES`; a larger one is answered 413")
	f.DurationVar(&c.retention, "retention", 0, "how long samples are kept, a `DURATION` such as 720h; "+
		"older ones are refused, and removed within two hours; 0 keeps all")
	f.BoolVar(&c.healthcheck, "healthcheck", false, "request /health from the receiver that listens on -listen; exit 0 if it is healthy, otherwise 1")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			f.SetOutput(stdout)
			f.PrintDefaults()
			return c, err
		}
		return c, explainRemoved(args, err)
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return c, c.validate()
}

// explainRemoved returns the error for a flag of the former gateway: what to use instead.
func explainRemoved(args []string, err error) error {
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && slices.Contains(removedFlags, name) {
			return fmt.Errorf("flag -%s was removed: the receiver is no longer a gateway; "+
				"for tokens, TLS and limits put vmauth in front of VictoriaMetrics (docs/fleet.md)", name)
		}
	}
	return err
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

// serve opens the file and the address and works until ctx ends. It then stops in this order: no
// new connections, requests under way end or are cut off, the pruning ends, the file is closed.
func serve(ctx context.Context, c config, log *slog.Logger) (err error) {
	s, err := openStore(c.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", c.listen, err)
	}
	server := newServer(newReceiver(c, s, log), log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String(), "db", c.db)

	ctx, cancel := context.WithCancel(ctx)
	pruned := make(chan struct{})
	go func() { defer close(pruned); prune(ctx, s, c.retention, log) }()
	defer func() { cancel(); <-pruned }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	wait, cancelWait := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancelWait()
	if err := server.Shutdown(wait); err != nil {
		log.Warn("requests cut off", "after_seconds", shutdownWait.Seconds())
		return server.Close()
	}
	return nil
}

// prune removes old samples, now and every hour, until ctx ends.
func prune(ctx context.Context, s *store, retention time.Duration, log *slog.Logger) {
	for retention > 0 {
		removed, err := s.prune(ctx, time.Now().Add(-retention-pruneGrace).UnixMilli())
		if err != nil && ctx.Err() == nil {
			log.Error("pruning failed", "err", err)
		} else if removed > 0 {
			log.Info("old samples removed", "samples", removed)
		}
		select {
		case <-time.After(pruneEvery):
		case <-ctx.Done():
			return
		}
	}
}
