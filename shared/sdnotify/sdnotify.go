// Package sdnotify sends the state of the daemon to systemd: ready, stopping, its status line, and
// watchdog pings (sd_notify(3), sd_watchdog_enabled(3)). Without systemd, that is without
// NOTIFY_SOCKET, everything here does nothing and returns nil.
//
// It promises that a watchdog ping is sent only while the working loop advances. systemd sends no
// answer, so it is not known whether a message arrived.
package sdnotify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"belabox-metrics/shared/human"
)

// Ready reports that the start is over: the first real work has succeeded. Units of Type=notify
// count as started then.
func Ready() error { return send(daemon.SdNotifyReady) }

// Stopping reports that the daemon has begun to stop.
func Stopping() error { return send(daemon.SdNotifyStopping) }

// Status sets the line that systemctl status shows. A line break becomes a space: what follows one
// would be taken for the next message.
func Status(text string) error {
	return send("STATUS=" + human.Printable(strings.NewReplacer("\n", " ", "\r", " ").Replace(text)))
}

func send(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// Busy feeds the watchdog until done is called, or for the hour that the units give a start: for
// work that has an end and may take longer than WATCHDOG_USEC.
func Busy(ctx context.Context) (done func()) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = Watchdog(ctx, func() bool { return true }) // what is wrong with the interval shows later
	}()
	return func() { cancel(); <-ended }
}

// Watchdog is a task that sends WATCHDOG=1 at half of WATCHDOG_USEC for as long as alive is true,
// and ends with ctx. Without a watchdog it only waits for ctx; a WATCHDOG_USEC that is no positive
// number is an error.
//
// After alive was false or a message could not be sent it tries again sooner, five times in each
// half, so that a loop which recovers in time is not killed.
func Watchdog(ctx context.Context, alive func() bool) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read the watchdog's interval: %w", err)
	}
	if limit == 0 {
		<-ctx.Done()
		return nil
	}
	for {
		pause := limit / 10
		// A message that cannot be sent is no reason to stop the daemon: if it stays so, systemd
		// does that.
		if alive() && send(daemon.SdNotifyWatchdog) == nil {
			pause = limit / 2
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
