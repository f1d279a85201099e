package health

import (
	"context"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// StorageOf returns what both daemons report of the file: its size, the pending rows, and damage.
func StorageOf(ctx context.Context, c config.StorageConfig, backlog *Remembered[store.Backlog]) *Storage {
	s := &Storage{DatabaseBytes: store.FileSize(c.Path), WALBytes: store.WALSize(c.Path)}
	waiting, err := backlog.Get(ctx)
	if err != nil {
		s.Found = append(s.Found, DatabaseUnreadable.Active(time.Time{}, err))
	}
	s.Pending = waiting.Rows
	if waiting.Rows > 0 {
		s.OldestPending = time.UnixMilli(waiting.OldestMS).UTC()
	}
	if waiting.SentMS > 0 {
		s.NewestSent = time.UnixMilli(waiting.SentMS).UTC()
	}
	if notice := store.DamageNotice(c.Path); notice != "" {
		var since time.Time
		if files, err := store.DamagedFiles(c.Path); err == nil && len(files) > 0 {
			since = files[len(files)-1].Time
		}
		s.Found = append(s.Found, DatabaseDamaged.Active(since, notice))
	}
	return s
}

// Away returns condition away, unless the daemon holds its lock. since returns its last sign of
// life.
func Away(away *Condition, storagePath, daemon string, since func() time.Time) []Active {
	_, running, err := lock.Holder(storagePath + "." + daemon + ".lock")
	switch {
	case err != nil:
		return []Active{away.Active(time.Time{}, " (its lock cannot be read: "+err.Error()+")")}
	case running:
		return nil
	}
	return []Active{away.Active(since(), "")}
}
