package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/page"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/sdnotify"
	"belabox-metrics/shared/skew"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/wal"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/ship"
	"belabox-metrics/shipperd/internal/truetime"
	"belabox-metrics/shipperd/internal/victoria"
)

// aliveLimit is how long the loop may go without a sign of progress before the
// watchdog is no longer fed. One request may take remote.timeout.
const aliveLimit = 30 * time.Second

// serve runs shipperd until ctx ends. Start order: database, health port, loop.
// Stop order: the loop finishes the request under way, then the database is
// closed, and the frame releases the lock.
func serve(ctx context.Context, env daemon.Env) (err error) {
	opened := sdnotify.Busy(ctx) // a salvage may take minutes
	outbox, err := openOutbox(ctx, env)
	opened()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outbox.Leave(err), closeOutbox(ctx, outbox)) }()

	onLink := meterLink(outbox, env.Config.Remote)
	checker := newClock(env, onLink.Dial(nil))
	self := newSelfMetrics(outbox, checker, onLink)
	if err := self.restore(ctx); err != nil {
		return err
	}
	progress := health.NewProgress(aliveLimit+env.Config.Remote.Timeout, nil)
	started := time.Now()
	monitor := health.NewMonitor(
		health.About{Name: "shipperd", Version: buildinfo.Version, SessionID: outbox.Session().UUID, Started: started},
		health.LimitsOf(env.Config), healthSource(env.Config, self, started), nil)
	access, err := health.AccessOf(env.Config.Health)
	if err != nil {
		return err
	}
	key, address := port(env.Config.Health)
	server, err := health.Listen(address,
		health.Config{Key: key, Progress: progress, Monitor: monitor, Access: access, Panicked: self.panics.Inc, Refused: self.refused, Log: env.Log})
	if err != nil {
		return err
	}
	server.Handle("/metrics", self.set.Handler())
	statusPage := page.New(page.Config{
		Config: env.Config, Device: config.ResolveDeviceID(env.Config, os.ReadFile, os.Hostname), Monitor: monitor,
	})
	statusPage.Register(server)
	defer func() { err = errors.Join(err, statusPage.Close()) }()
	checkpointer := newCheckpointer(env, outbox)

	pages := daemon.NewPages()
	beforeCycle := func(ctx context.Context) {
		pages.Used()
		checkpointer.EnsureHeadroom(ctx)
	}

	var g run.Group
	g.Add("health", server.Run)
	g.Add("wal", checkpointer.Run)
	g.Add("files", outbox.Watch)
	g.Add("status", func(ctx context.Context) error { return monitor.Watch(ctx, env.Log, sdnotify.Status) })
	g.Add("pages", pages.Release)
	g.Add("watchdog", func(ctx context.Context) error { return sdnotify.Watchdog(ctx, progress.Alive) })
	g.Add("ship", func(ctx context.Context) error {
		if !env.Config.Remote.Enabled {
			env.Log.Warn("uploads disabled by remote.enabled, samples stay in the database")
			return idle(ctx, progress)
		}
		held, err := takeBudget(ctx, env)
		if err != nil {
			return err
		}
		defer held.Release() //nolint:errcheck // the process ends; so does the lock
		shipper, client, err := newShipper(env, outbox, onLink, ship.Deps{Beat: progress.Beat, AfterCycles: monitor.Soon, Took: self.took, EnsureHeadroom: beforeCycle, OtherClock: other(checker), Thrift: onLink.thrift})
		if err != nil {
			return err
		}
		self.ships(shipper, client.Wire, client.Ahead)
		return shipper.Run(ctx)
	})
	g.Add("self-metrics", func(ctx context.Context) error { return self.keep(ctx, env.Log) })
	if checker != nil {
		g.Add("clock", checker.Run)
	}
	env.Log.Info("shipperd started", "version", buildinfo.Version, "session_id", outbox.Session().UUID,
		"database", env.Config.Storage.Path, "url", env.Config.Remote.URL, "health", "http://"+server.Addr())
	if err := sdnotify.Ready(); err != nil {
		env.Log.Warn("systemd not notified of the start", logx.Err(err))
	}
	err = g.Run(ctx)
	self.panicked(err)
	if errors.Is(err, store.ErrReplaced) {
		err = errors.Join(err, statusPage.Close(), rescue(ctx, env, outbox)) // the page has the file open, too
	}
	err = daemon.Again(ctx, errors.Join(err, outbox.Leave(err)))
	final, cancel := run.Final(ctx)
	defer cancel()
	env.Log.Info("shipperd stopped")
	return errors.Join(err, self.save(final), outbox.BookTraffic(final))
}

// once delivers everything that is pending and verifies it.
func once(ctx context.Context, env daemon.Env) (err error) {
	if !env.Config.Remote.Enabled {
		return errors.New("uploads are disabled by remote.enabled; samples stay in the database")
	}
	outbox, err := openOutbox(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outbox.Leave(err), closeOutbox(ctx, outbox)) }()
	held, err := takeBudget(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	checkpointer := newCheckpointer(env, outbox)
	keeping, stop := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { _ = checkpointer.Run(keeping) }) // it logs what it cannot do
	defer kept.Wait()
	defer stop()
	shipper, _, err := newShipper(env, outbox, meterLink(outbox, env.Config.Remote), ship.Deps{EnsureHeadroom: checkpointer.EnsureHeadroom})
	if err != nil {
		return err
	}
	progress := newProgressLine(env.Stderr)
	defer progress.end()
	// A daemon that starts because our lock was removed must not send the same.
	draining, end := context.WithCancelCause(ctx)
	defer end(nil)
	kept.Go(func() { end(outbox.Watch(keeping)) })
	err = errors.Join(shipper.Drain(draining, progress.show), outbox.BookTraffic(context.WithoutCancel(ctx)))
	if draining.Err() != nil && ctx.Err() == nil {
		err = errors.Join(context.Cause(draining), err)
	}
	return err
}

// takeBudget takes from collectord the care for storage.max_size_mb: while we
// ship, nobody else may delete rows. collectord gives it back every few seconds.
func takeBudget(ctx context.Context, env daemon.Env) (*lock.Lock, error) {
	path := env.Config.Storage.Path + ".budget.lock"
	held, err := lock.Acquire(path)
	if !errors.Is(err, lock.ErrHeld) {
		return held, err
	}
	env.Log.Info("waiting for collectord to release the budget lock", logx.Err(err))
	return lock.AcquireWait(ctx, path)
}

// rescue leaves it to collectord to save what was in a database that was removed,
// because that may still be inserting, unless there is none.
func rescue(ctx context.Context, env daemon.Env, outbox *store.Outbox) error {
	_, running, err := lock.Holder(env.Config.Storage.Path + ".collectord.lock")
	if err != nil || running {
		return err
	}
	return outbox.Rescue(context.WithoutCancel(ctx))
}

func openOutbox(ctx context.Context, env daemon.Env) (*store.Outbox, error) {
	return store.OpenOutbox(ctx, store.Options{
		Path: env.Config.Storage.Path, Daemon: "shipperd", Version: buildinfo.Version, Log: env.Log, Lock: env.Lock,
	})
}

func closeOutbox(ctx context.Context, outbox *store.Outbox) error {
	ctx, cancel := run.Final(ctx)
	defer cancel()
	return outbox.Close(ctx)
}

// newClock compares the device's clock with monitoring.clock_skew_url; nil when
// there is none.
func newClock(env daemon.Env, dial victoria.DialFunc) *skew.Checker {
	c := env.Config.Monitoring
	if c.ClockSkewURL == "" {
		return nil
	}
	return skew.New(skew.Config{
		URL: c.ClockSkewURL, IngestURL: env.Config.Remote.URL, Interval: c.ClockSkewCheckInterval,
		Warn: time.Duration(c.ClockSkewWarnThresholdMS) * time.Millisecond,
	}, skew.Deps{Log: env.Log, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DialContext: dial}})
}

// newCheckpointer keeps the WAL short while collectord is not running.
func newCheckpointer(env daemon.Env, outbox *store.Outbox) *wal.Checkpointer {
	c := env.Config.Storage
	return wal.New(wal.Config{
		Path: c.Path, Interval: c.WALCheckpointInterval, Size: c.WALCheckpointSizeMB << 20,
	}, outbox.Checkpoint, env.Log)
}

// other is the time of monitoring.clock_skew_url and its uncertainty, which may confirm the
// server's; nil = it is not asked.
func other(checker *skew.Checker) func() (time.Time, time.Duration, bool) {
	if checker == nil {
		return nil
	}
	return func() (time.Time, time.Duration, bool) {
		m, ok := checker.Last()
		// By the monotonic clock: the wall clock may have been set since.
		return m.Checked.Round(0).Add(time.Since(m.Checked) - m.Skew), m.Uncertainty, ok
	}
}

// newShipper wires the delivery loop from the configuration; deps are what the loop
// tells and asks its daemon. client makes all its requests.
func newShipper(env daemon.Env, outbox *store.Outbox, onLink *linkMeter, deps ship.Deps) (
	shipper *ship.Shipper, client *victoria.Client, err error,
) {
	c, storage := env.Config.Remote, env.Config.Storage
	cfg := clientConfig(c, env)
	cfg.Meter = onLink.Dial
	client, err = victoria.New(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("remote: %w", err)
	}
	deps.Outbox, deps.Server, deps.Log, deps.Present = outbox, client, env.Log, truetime.Here
	deps.Builder = chunk.New(chunk.Config{
		MaxMetrics: c.ChunkSize, MaxBytes: int(c.MaxChunkBytes), MaxPast: c.MaxPast, MaxFuture: c.MaxFuture,
	})
	shipper = ship.New(ship.Config{
		UploadInterval:        c.UploadInterval,
		BatchSize:             c.BatchSize,
		MaxWaiting:            int(env.Config.Health.DegradedThreshold * 3 / 4), // at most 90 % with the jitter
		NewestFirst:           c.Order == config.NewestFirst,
		CatchUpBytesPerSecond: c.CatchUpBytesPerSecond,
		Retention:             storage.Retention,
		MaxDataBytes:          storage.MaxDataBytes(),
		MaxPast:               c.MaxPast,
		MaxFuture:             c.MaxFuture,
		Retry: ship.RetryConfig{
			Enabled: c.Retry.Enabled, MaxAttempts: c.Retry.MaxAttempts,
			InitialBackoff: c.Retry.InitialBackoff, MaxBackoff: c.Retry.MaxBackoff,
			Multiplier: c.Retry.Multiplier, JitterPercent: float64(c.Retry.JitterPercent),
		},
		Verify: ship.VerifyConfig{
			Enabled: c.Verify.Enabled, Delay: c.Verify.Delay, Settle: c.Verify.Settle, MaxResends: c.Verify.MaxResends,
		},
	}, deps)
	return shipper, client, nil
}

func clientConfig(c config.RemoteConfig, env daemon.Env) victoria.Config {
	cfg := victoria.Config{
		URL: c.URL, VerifyURL: c.Verify.URL, Headers: c.Headers, Timeout: c.Timeout, Boot: clock.Boot,
	}
	cfg.TLS.CAFile, cfg.TLS.CertFile, cfg.TLS.KeyFile = c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile
	// What is read from a secret file is known to the log before it is used.
	secret := func(path string) func() (string, error) {
		read := victoria.TokenFile(path)
		checked := func() (string, error) {
			text, err := read()
			env.Secrets.Add(text)
			return text, err
		}
		if _, err := checked(); err != nil {
			env.Log.Warn("credentials unreadable, uploads fail", logx.Err(err))
		}
		return checked
	}
	if c.AuthTokenFile != "" {
		cfg.Token = secret(c.AuthTokenFile)
	}
	if c.BasicAuth.Username != "" {
		cfg.BasicAuth = &victoria.BasicAuth{Username: c.BasicAuth.Username, Password: secret(c.BasicAuth.PasswordFile)}
	}
	return cfg
}

// idle is the loop of a shipper that is switched off.
func idle(ctx context.Context, progress *health.Progress) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		progress.Beat()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
