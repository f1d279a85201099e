package main

import (
	"context"

	"belabox-metrics/collectord/internal/once"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/human"
)

// printOnce prints one sample of everything: a table on a terminal, JSON lines
// elsewhere. It stores nothing, so it may run beside the daemon. A source that
// failed as a whole makes the exit code 1.
func printOnce(ctx context.Context, env daemon.Env) error {
	device, err := deviceID(&env.Config)
	if err != nil {
		return err
	}
	scheduler, err := newScheduler(&env.Config, device)
	if err != nil {
		return err
	}
	tick, err := scheduler.Once(ctx)
	if err != nil {
		return err
	}
	if err := once.Write(env.Stdout, env.Stderr, tick, human.Terminal(env.Stdout) != nil); err != nil {
		return err
	}
	for i := range tick.Results {
		if tick.Results[i].Err != nil {
			return daemon.ErrSilent // Write has printed which, and why
		}
	}
	return nil
}
