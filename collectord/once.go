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
// elsewhere. It stores nothing, so it may run beside the daemon.
func printOnce(ctx context.Context, env daemon.Env) error {
	reg, err := registry(env.Config)
	if err != nil {
		return err
	}
	scheduler, err := newScheduler(env, reg)
	if err != nil {
		return err
	}
	tick, err := scheduler.Once(ctx)
	if err != nil {
		return err
	}
	return once.Write(env.Stdout, env.Stderr, tick, isTerminal(env.Stdout))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
