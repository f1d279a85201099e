package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/probe"
)

// procfs and kill are others in tests.
var (
	procfs = "/proc"
	kill   = syscall.Kill
)

// Healthcheck is the command -healthcheck: it requests from the daemon that runs with this
// configuration /health/live and ends with ExitOK for an answer of 200, ExitFailure for any other
// and for none. port is that of the Program.
//
// It is the health check of a container. Docker marks a container as unhealthy and does nothing
// else, so a daemon that answers 503, which means that it makes no progress, is ended in the same
// way as by systemd's watchdog: on SIGABRT it logs the stacks of all goroutines, and Docker
// restarts it. Only process 1 is ended, and only if it is a daemon of this project. A daemon that
// does not answer at all is not ended, because the machine may only be slow.
func Healthcheck(port func(config.HealthConfig) (key, address string)) Command {
	return Command{
		Name:    "-healthcheck",
		Summary: "request /health/live from the running daemon: exit 0 if it makes progress, else 1; in a container also abort it",
		Run: func(ctx context.Context, env Env) error {
			_, address := port(env.Config.Health)
			text, err := probe.Get(ctx, address, "/health/live")
			if err == nil {
				_, err = fmt.Fprintln(env.Stdout, text)
				return err
			}
			fmt.Fprintln(env.Stderr, err) // docker inspect shows it
			if answer, ok := errors.AsType[*probe.StatusError](err); ok && answer.Status == http.StatusServiceUnavailable {
				if err := abortContainer(); err != nil {
					fmt.Fprintln(env.Stderr, err)
				}
			}
			return ErrSilent
		},
	}
}

// abortContainer ends the daemon of this container, which is process 1 there.
func abortContainer() error {
	text, err := os.ReadFile(procfs + "/1/cmdline")
	if err != nil {
		return err
	}
	program, _, _ := strings.Cut(string(text), "\x00")
	if !strings.HasPrefix(path.Base(program), "belabox-") {
		return fmt.Errorf("process 1 is %q, not a daemon of this project: not ended", program)
	}
	return kill(1, syscall.SIGABRT)
}
