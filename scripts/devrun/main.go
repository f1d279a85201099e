// Devrun is "make run": it starts a sink for samples, collectord and shipperd from bin/, with all
// data under run/, prints the addresses, and stops them on a signal. It needs only what make built,
// and no root.
//
// It promises that all three end with it (on Linux also after its kill -9), and that if one of them
// exits, devrun prints its name and stops the others. It is for trying the project; in production
// systemd runs the daemons.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"belabox-metrics/shared/lock"
)

func main() {
	// A closed terminal sends SIGHUP.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := run(signals, ports{collectord: 9100, shipperd: 9101, sink: 8428}); err != nil {
		fmt.Fprintln(os.Stderr, "make run:", err)
		os.Exit(1)
	}
}

// run works in the current directory, the top of the checkout.
func run(signals <-chan os.Signal, wanted ports) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	data := filepath.Join(root, "run")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	held, err := lock.Acquire(filepath.Join(data, "devrun.lock"))
	if other, ok := errors.AsType[*lock.HeldError](err); ok {
		return fmt.Errorf("already running here (pid %d): stop it first, or use its status pages", other.PID)
	} else if err != nil {
		return err
	}
	p, err := newPlan(root, data, wanted)
	if err == nil {
		err = supervise(p.programs(), os.Stdout, signals, func() { fmt.Print(p.welcome()) })
	}
	return errors.Join(err, held.Release())
}
