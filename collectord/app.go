package main

import (
	"context"
	"errors"
	"time"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/page"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/sdnotify"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/wal"
)

// aliveTicks is how many intervals may pass without a tick before the watchdog
// is no longer fed; never less than aliveLimit.
const (
	aliveTicks = 3
	aliveLimit = 30 * time.Second
)

// serve runs collectord until ctx ends. Start order: database, health port,
// sampling. Stop order: no further tick, the open transaction ends, the WAL is
// checkpointed, the database closed; then the frame releases the lock.
func serve(ctx context.Context, env daemon.Env) (err error) {
	opened := sdnotify.Busy(ctx) // a salvage may take minutes
	inserter, err := store.OpenInserter(ctx, store.Options{
		Path: env.Config.Storage.Path, Daemon: "collectord", Version: buildinfo.Version, Log: env.Log, Lock: env.Lock,
	}, env.Config.Storage.Durability)
	opened()
	if err != nil {
		return err
	}
	self := newSelfMetrics(env.Config.Storage.Path)
	checkpointer := wal.New(wal.Config{
		Path:     env.Config.Storage.Path,
		Interval: env.Config.Storage.WALCheckpointInterval,
		Size:     env.Config.Storage.WALCheckpointSizeMB << 20,
		Owner:    true,
	}, inserter.Checkpoint, env.Log)
	checkpointer.Done = self.checkpointed
	defer func() {
		final, cancel := run.Final(ctx)
		defer cancel()
		err = errors.Join(err, inserter.Leave(err), inserter.EndSession(final))
		checkpointer.Final(final)
		err = errors.Join(err, inserter.Close(final))
	}()

	device, err := deviceID(&env.Config)
	if err != nil {
		return err
	}
	saved, err := inserter.Stats(ctx, "collectord")
	if err != nil {
		return err
	}
	self.restore(saved)
	scheduler, err := newScheduler(&env.Config, device, newAgent(self, inserter, device, env.Config.Device.Labels))
	if err != nil {
		return err
	}
	progress := health.NewProgress(max(aliveTicks*env.Config.Collection.Interval, aliveLimit), nil)
	state := newVitals()
	pages, source := daemon.NewPages(), healthSource(env.Config, state, inserter)
	monitor := health.NewMonitor(
		health.About{Name: "collectord", Version: buildinfo.Version, SessionID: inserter.Session().UUID, Started: time.Now()},
		health.LimitsOf(env.Config), func(ctx context.Context) health.Input { pages.Used(); return source(ctx) }, nil)
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
	status := page.New(page.Config{Config: env.Config, Device: device, Monitor: monitor})
	status.Register(server)
	defer func() { err = errors.Join(err, status.Close()) }()
	rec := newRecorder(inserter, self, state, env.Log, progress.Beat)
	rec.wal, rec.keep = checkpointer, keptFor(&env.Config)

	var g run.Group
	g.Add("health", server.Run)
	g.Add("wal", checkpointer.Run)
	g.Add("files", inserter.Watch)
	g.Add("budget", newBudget(env.Config.Storage, inserter, self.dropped.Add, env.Log).run)
	g.Add("status", func(ctx context.Context) error { return monitor.Watch(ctx, env.Log, sdnotify.Status) })
	g.Add("pages", pages.Release)
	g.Add("watchdog", func(ctx context.Context) error { return sdnotify.Watchdog(ctx, progress.Alive) })
	g.Add("collect", func(ctx context.Context) error { return scheduler.Run(ctx, rec.record) })
	env.Log.Info("collectord started", "version", buildinfo.Version, "session_id", inserter.Session().UUID,
		"database", env.Config.Storage.Path, "interval_seconds", env.Config.Collection.Interval.Seconds(),
		"health", "http://"+server.Addr())
	if err := sdnotify.Ready(); err != nil {
		env.Log.Warn("systemd not notified of the start", logx.Err(err))
	}
	err = g.Run(ctx)
	self.panicked(err)
	if errors.Is(err, store.ErrReplaced) {
		err = errors.Join(err, inserter.Rescue(context.WithoutCancel(ctx)))
	}
	err = daemon.Again(ctx, errors.Join(err, inserter.Leave(err)))
	final, cancel := run.Final(ctx)
	defer cancel()
	env.Log.Info("collectord stopped", "ticks", rec.ticks, "samples", rec.inserted)
	return errors.Join(err, self.save(final, inserter))
}
