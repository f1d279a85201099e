package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"belabox-metrics/docker/receiver/internal/gateway"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/docker/receiver/internal/tokens"
	"belabox-metrics/docker/receiver/internal/upstream"
)

const (
	// shutdownWait is how long requests may take to end after a stop was asked for. With the last checkpoint the
	// process is gone within 5 s.
	shutdownWait = 2 * time.Second
	// pruneEvery is how often old samples are removed.
	pruneEvery = time.Hour
	// pruneGrace is how much longer than the retention a sample stays, so that one that was taken on its last day can
	// still be read back by its sender.
	pruneGrace = time.Hour
)

// serve opens the store or the way to the upstream, and the addresses, and works until ctx ends. It then stops in this
// order: no new connections, requests under way end or are cut off, the pruning ends, the store finishes its transaction
// and its last checkpoint, the lock is let go.
func serve(ctx context.Context, c config, log *slog.Logger) (err error) {
	cfg := gateway.Config{
		Log: log, MaxBodyBytes: c.maxBodyBytes, MaxDecodedBytes: c.maxDecodedBytes, Retention: c.retention,
		MaxLabels: c.maxLabels, Limits: c.limits,
	}
	if c.tokens != "" {
		known, err := tokens.Open(c.tokens, log)
		if err != nil {
			return err
		}
		cfg.Tokens, cfg.Problem = known, tokensProblem(known)
	}
	certificate, err := newCertificate(c.tlsCert, c.tlsKey, log)
	if err != nil {
		return err
	}
	kept, closeSink, err := openSink(c, &cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSink()) }()

	listener, err := listen(ctx, c.listen)
	if err != nil {
		return err
	}
	handler, numbers := gateway.New(cfg)
	server := gateway.Server(handler, log)
	servers := map[*http.Server]net.Listener{server: certificate.wrap(bounded(listener, c.connections))}
	if c.metricsListen != "" {
		own, err := listen(ctx, c.metricsListen)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", numbers)
		servers[gateway.Server(mux, log)] = own
		log.Info("metrics", "addr", own.Addr().String())
	}

	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	served := make(chan error, len(servers))
	for s, l := range servers {
		tasks.Go(func() { served <- s.Serve(l) })
	}
	if kept != nil && c.retention > 0 {
		tasks.Go(func() { prune(ctx, kept, c.retention, log) })
	}
	log.Info("listening", "addr", listener.Addr().String(), "tls", certificate != nil, "tokens", c.tokens, "db", c.db, "upstream", c.upstream.URL)

	select {
	case err := <-served:
		for s := range servers {
			err = errors.Join(err, s.Close())
		}
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	for s := range servers {
		err = errors.Join(err, shutdown(s, log))
	}
	return err
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	return l, nil
}

// openSink makes ready where samples go. kept is the store if they stay here.
func openSink(c config, cfg *gateway.Config) (kept *store.Store, closeSink func() error, err error) {
	if c.upstream.URL == "" {
		s, err := store.Open(c.db)
		if err != nil {
			return nil, nil, err
		}
		cfg.Sink, cfg.Source = s, s
		return s, s.Close, nil
	}
	u, err := upstream.New(c.upstream)
	if err != nil {
		return nil, nil, err
	}
	cfg.Sink, cfg.Upstream = u, u
	return nil, func() error { u.Close(); return nil }, nil
}

// tokensProblem says for /health/ready why a change of the tokens does not count. Strangers read it too: it tells nothing
// of the file.
func tokensProblem(known *tokens.File) func() string {
	return func() string {
		if known.Err() != nil {
			return "the tokens file cannot be used and the tokens stay as they were; the log says why"
		}
		return ""
	}
}

// shutdown lets requests end for shutdownWait and cuts off those that do not.
func shutdown(server *http.Server, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("requests cut off", "after_seconds", shutdownWait.Seconds())
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// prune removes old samples, now and every hour, until ctx ends.
func prune(ctx context.Context, s *store.Store, retention time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		removed, err := s.Prune(ctx, time.Now().Add(-retention-pruneGrace).UnixMilli())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error("old samples cannot be removed", "err", err)
		case removed > 0:
			log.Info("old samples removed", "samples", removed)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
