package daemon

import (
	"context"
	"time"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/page"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/sdnotify"
)

// retryEvery is how often a daemon that stands by tries to open its file.
const retryEvery = 5 * time.Second

// standby is a daemon that waits until it can open its file. It answers at the health port, because
// otherwise the person beside the device would find neither a page nor a reason.
type standby struct {
	Program
	env     Env
	cause   error
	monitor *health.Monitor // remembers since when
}

// wait returns nil when it is time to try again, or when ctx ends.
func (s *standby) wait(ctx context.Context, cause error) error {
	logged := s.cause != nil && s.cause.Error() == cause.Error()
	s.cause = cause
	if s.monitor == nil {
		s.monitor = health.NewMonitor(health.About{Name: s.Name, Version: buildinfo.Version, Started: time.Now()},
			health.LimitsOf(s.env.Config), s.input, nil)
	}
	access, err := health.AccessOf(s.env.Config.Health)
	if err != nil {
		return err
	}
	key, address := s.Port(s.env.Config.Health)
	server, err := health.Listen(address, health.Config{
		Key: key, Progress: health.NewProgress(2*retryEvery, nil), Monitor: s.monitor, Access: access, Log: s.env.Log,
	})
	if err != nil {
		return err
	}
	if !logged {
		s.env.Log.Error("database cannot be opened, waiting", logx.Err(cause), "health", "http://"+server.Addr())
	}
	status := page.New(page.Config{Config: s.env.Config, Monitor: s.monitor})
	status.Register(server)
	defer status.Close() //nolint:errcheck // it only reads
	done := sdnotify.Busy(ctx)
	defer done()
	_ = sdnotify.Ready() // without it systemd would wait for the start, and then end it
	_ = sdnotify.Status(s.monitor.Report(ctx).Summary())
	var g run.Group
	g.Add("health", server.Run)
	g.Add("wait", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
		return nil
	})
	return g.Run(ctx)
}

func (s *standby) input(context.Context) health.Input {
	return health.Input{Storage: &health.Storage{Found: []health.Active{health.NotStarted.Active(time.Time{}, s.cause)}}}
}
