package run

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopLimit is how long final work may take after the signal to stop: writes of the last tick, the
// last checkpoint.
const stopLimit = 5 * time.Second

// Signals returns a context that ends with the first SIGINT or SIGTERM, or with parent;
// SignalOf names the signal. When it ends, and after stop, both signals have their default
// action again: a second one kills a process that hangs while it stops.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		// The handler goes before the context ends (signal.NotifyContext leaves that to its caller,
		// later): whoever sees the end may tell the user that the next signal kills.
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(signalError{s})
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// SignalOf returns the name of the signal that ended a context of Signals, such as "terminated";
// empty if none did.
func SignalOf(ctx context.Context) string {
	if cause, ok := errors.AsType[signalError](context.Cause(ctx)); ok {
		return cause.String()
	}
	return ""
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by signal " + e.String() }
func (e signalError) Unwrap() error { return context.Canceled }

// Final returns a context for the work that remains when ctx has ended: it keeps the values of ctx,
// is not cancelled with it, and ends after stopLimit.
func Final(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
}
