package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"belabox-metrics/collectord/internal/once"
	"belabox-metrics/shared/daemon"
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
	if err := once.Write(env.Stdout, env.Stderr, tick, isTerminal(env.Stdout)); err != nil {
		return err
	}
	for i := range tick.Results {
		if tick.Results[i].Err != nil {
			return daemon.ErrSilent // Write has printed which, and why
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
