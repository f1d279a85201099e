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

// serve opens the store and the address and works until ctx ends. It then stops in this order: no new connections,
// requests under way end or are cut off, the pruning ends, the store finishes its transaction and its last checkpoint,
// the lock is let go.
func serve(ctx context.Context, c config, log *slog.Logger) (err error) {
	s, err := store.Open(c.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", c.listen, err)
	}
	server := gateway.Server(gateway.New(gateway.Config{
		Sink:            s,
		Source:          s,
		Log:             log,
		MaxBodyBytes:    c.maxBodyBytes,
		MaxDecodedBytes: c.maxDecodedBytes,
		Retention:       c.retention,
	}), log)

	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	served := make(chan error, 1)
	tasks.Go(func() { served <- server.Serve(listener) })
	if c.retention > 0 {
		tasks.Go(func() { prune(ctx, s, c.retention, log) })
	}
	log.Info("listening", "addr", listener.Addr().String(), "db", c.db)

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	return shutdown(server, log)
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
