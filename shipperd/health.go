package main

import (
	"context"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// healthSource says how shipperd is: the uploads, the file, the clock.
func healthSource(c config.Config, o *own, started time.Time) health.Source {
	return func(ctx context.Context) health.Input {
		counts := o.counts()
		uploader := &health.Uploader{Started: started, LastUpload: counts.LastAccepted, Error: counts.LastError}
		if c.Remote.Enabled && (counts.Unproven || !c.Remote.Verify.Enabled) {
			uploader.Faults = append(uploader.Faults, health.Reason{
				Code: "unproven", Severity: health.Degraded,
				Message: "the server is not read back: delivery is at least once and unproven; give the credentials read access, or see remote.verify",
			})
		}
		if counts.Thinning {
			uploader.Faults = append(uploader.Faults, health.Reason{
				Code: "server_thins", Severity: health.OK,
				Message: "the server keeps one sample of several (-dedup.minScrapeInterval): what it leaves out counts as verified",
			})
		}
		storage := &health.Storage{DatabaseBytes: store.FileSize(c.Storage.Path), WALBytes: store.WALSize(c.Storage.Path)}
		backlog, err := o.pending(ctx)
		if err != nil {
			storage.Faults = append(storage.Faults, health.Reason{
				Code: "database_unreadable", Severity: health.Error, Message: err.Error(),
			})
		}
		storage.Pending = backlog.Rows
		if backlog.Rows > 0 {
			storage.OldestPending = time.UnixMilli(backlog.OldestMS).UTC()
		}
		clock := &health.Clock{}
		if o.clock != nil {
			if m, ok := o.clock.Last(); ok {
				clock = &health.Clock{Checked: m.Checked.UTC(), SkewMS: m.Skew.Milliseconds(), Source: c.Monitoring.ClockSkewURL}
			}
		}
		return health.Input{Uploader: uploader, Storage: storage, Time: clock}
	}
}
