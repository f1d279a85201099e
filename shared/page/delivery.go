package page

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"time"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// delivery is the state of the uploads and their totals.
type delivery struct {
	Enabled      bool             `json:"enabled"`
	Verify       bool             `json:"verify"`
	Server       string           `json:"server"` // its host
	Pending      int64            `json:"pending_rows"`
	Oldest       time.Time        `json:"oldest_pending,omitzero"`
	NewestSent   time.Time        `json:"newest_sent,omitzero"` // a sample's time, if that is behind the oldest pending one
	LastAccepted time.Time        `json:"last_accepted,omitzero"`
	LastVerified time.Time        `json:"last_verified,omitzero"`
	LastError    string           `json:"last_error,omitempty"` // of the last attempt, while it failed; shipperd knows it
	Draining     *draining        `json:"draining,omitempty"`
	Uploaded     int64            `json:"uploaded_total"` // these over all runs
	Verified     int64            `json:"verified_total"`
	Resent       int64            `json:"resent_total"`
	Failures     int64            `json:"failures_total"`
	Rejected     map[string]int64 `json:"rejected_total"` // by reason
	Dropped      map[string]int64 `json:"dropped_total"`  // by reason
	DeadLetters  map[string]int64 `json:"dead_letters"`   // that there are now, by reason
	Traffic      *traffic         `json:"traffic,omitempty"`
}

// traffic is what the uploads cost on the link.
type traffic struct {
	link.Use
	Mode      string `json:"budget_mode,omitempty"` // how sparing shipperd is, in words
	Interface string `json:"interface,omitempty"`   // that carried the last upload
	Remedy    string `json:"interface_remedy,omitempty"`
}

// storage is the file.
type storage struct {
	File             int64    `json:"database_bytes"`
	WAL              int64    `json:"wal_bytes"`
	Data             int64    `json:"data_bytes"` // of the file; the rest is used again first
	Budget           int64    `json:"budget_bytes"`
	Rows             int64    `json:"rows"`
	DiskFree         *int64   `json:"disk_free_bytes,omitempty"`
	RetentionSeconds float64  `json:"retention_seconds"`
	FullInSeconds    *float64 `json:"full_in_seconds,omitempty"` // without a server: until the oldest sample would be dropped
	WrittenPerDay    *perDay  `json:"written_per_day,omitempty"`
	RowsPerDay       *perDay  `json:"rows_per_day,omitempty"`
}

// slowFacts take some milliseconds to read from the file.
type slowFacts struct {
	at                         time.Time // when they were read
	stats                      []store.Stat
	deadLetters                map[string]int64
	lastAccepted, lastVerified time.Time
	behind                     time.Duration // what must be added to the wall clock, as far as it is known
	shipperStarted             time.Time
	shipperRuns                bool
	sizes                      store.Sizes
	rows                       int64
	daemons                    []runs
	use                        link.Use
}

func (p *Page) readSlow(ctx context.Context, r *store.Reader) (f slowFacts, err error) {
	f.at = p.cfg.Now()
	now, err := p.now(ctx, r)
	if err != nil {
		return f, err
	}
	f.behind = now.Sub(f.at)
	if f.stats, err = r.Stats(ctx); err != nil {
		return f, err
	}
	if f.deadLetters, err = r.DeadLettersByReason(ctx); err != nil {
		return f, err
	}
	if f.lastAccepted, f.lastVerified, err = r.LastDelivery(ctx); err != nil {
		return f, err
	}
	if f.use, err = link.Read(ctx, r, p.cfg.Config.Remote); err != nil {
		return f, err
	}
	if f.sizes, err = r.Sizes(ctx); err != nil {
		return f, err
	}
	if f.rows, err = r.RowCount(ctx); err != nil {
		return f, err
	}
	for _, name := range []string{"collectord", "shipperd"} {
		d, err := readRuns(ctx, r, p.cfg.Config.Storage.Path, name)
		if err != nil {
			return f, err
		}
		f.daemons = append(f.daemons, d)
		if name == "shipperd" {
			f.shipperRuns = d.Running
			if len(d.Last) > 0 {
				f.shipperStarted = d.Last[0].Started
			}
		}
	}
	return f, nil
}

// waiting are the pending rows at a time. The page counts them more often than the daemon, so that
// a shrinking backlog can be watched.
type waiting struct {
	store.Backlog
	at time.Time
}

func (p *Page) countWaiting(ctx context.Context, r *store.Reader) (waiting, error) {
	at := p.cfg.Now()
	b, err := r.Backlog(ctx)
	return waiting{b, at}, err
}

// fill adds the facts of the file.
func (p *Page) fill(s *status, w waiting, f slowFacts, t totals) {
	d := &s.Delivery
	d.Pending, d.Oldest, d.NewestSent = w.Rows, time.Time{}, time.Time{}
	if w.Rows > 0 {
		d.Oldest = time.UnixMilli(w.OldestMS).UTC()
	}
	if w.SentMS > 0 {
		d.NewestSent = time.UnixMilli(w.SentMS).UTC()
	}
	d.LastAccepted, d.LastVerified, d.DeadLetters = f.lastAccepted, f.lastVerified, f.deadLetters
	if u, ok := s.Components["uploader"].Facts.(health.Uploader); ok && !u.LastUpload.IsZero() && u.LastUpload.Add(f.behind).After(f.lastAccepted) {
		d.LastAccepted = u.LastUpload.Add(f.behind)
	}
	via := link.Interface(f.stats)
	d.Traffic = &traffic{f.use, f.use.Mode(), via, link.Unsampled(p.cfg.Config.Network, via)}
	d.Rejected, d.Dropped = map[string]int64{}, map[string]int64{}
	for _, point := range metrics.FromStats(f.stats) {
		n := int64(point.Value)
		switch point.Name {
		case metrics.Uploaded.Name:
			d.Uploaded += n
		case metrics.Verified.Name:
			d.Verified += n
		case metrics.RequeuedTotal.Name:
			d.Resent += n
		case metrics.UploadFailures.Name:
			d.Failures += n
		case metrics.RejectedTotal.Name:
			d.Rejected[tagOfPoint(point)] += n
		case metrics.Dropped.Name:
			d.Dropped[tagOfPoint(point)] += n
		}
	}
	d.Draining = p.drain.watch(w.at, w.Rows, int64(p.cfg.Config.Remote.BatchSize), t.backlog)
	s.Daemons = f.daemons
	s.Storage.Data, s.Storage.Rows = f.sizes.Data, f.rows
	s.Storage.WrittenPerDay, s.Storage.RowsPerDay = t.writtenPerDay, t.rowsPerDay
	if free, ok := diskFree(filepath.Dir(p.cfg.Config.Storage.Path)); ok {
		s.Storage.DiskFree = &free
	}
	s.Storage.FullInSeconds = p.fullIn(s)
}

func tagOfPoint(p metrics.Point) string {
	if len(p.Tags) == 0 {
		return ""
	}
	return p.Tags[len(p.Tags)-1].Value
}

// fullIn is how long samples can wait without a server, in seconds. Verified rows make room for new
// ones, so the limit is the room that the pending rows leave, or the disk where that is smaller.
func (p *Page) fullIn(s *status) *float64 {
	st := &s.Storage
	if st.RowsPerDay == nil || st.RowsPerDay.Value <= 0 || st.Rows == 0 {
		return nil
	}
	bytesPerRow := float64(st.Data) / float64(st.Rows)
	budget := float64((p.cfg.Config.Storage.MaxSizeMB - p.cfg.Config.Storage.WALCheckpointSizeMB) << 20)
	room := budget - float64(s.Delivery.Pending)*bytesPerRow
	if st.DiskFree != nil {
		reusable := float64(st.File) - float64(s.Delivery.Pending)*bytesPerRow
		room = min(room, float64(*st.DiskFree)+reusable)
	}
	seconds := max(0, room/bytesPerRow/st.RowsPerDay.Value) * 86400
	return &seconds
}

// ledger is the answer of /api/ledger: all samples ever inserted, by account.
type ledger struct {
	Time       time.Time        `json:"time"`
	Inserted   int64            `json:"inserted"`
	Pending    int64            `json:"pending"`
	Accepted   int64            `json:"accepted"` // not yet read back
	Verified   int64            `json:"verified"`
	Rejected   int64            `json:"rejected"` // dead letters
	Dropped    map[string]int64 `json:"dropped"`  // by reason
	Unsendable int64            `json:"unsendable"`
	Difference int64            `json:"difference"` // 0, always
}

// readLedger reads the whole file.
func (p *Page) readLedger(ctx context.Context, r *store.Reader) (ledger, error) {
	l, err := r.Ledger(ctx)
	return ledger{
		p.cfg.Now().UTC().Truncate(time.Second), l.Inserted, l.Pending, l.Accepted, l.Verified, l.Rejected, l.Dropped, l.Unsendable, l.Difference(),
	}, err
}

func (p *Page) answerLedger(ctx context.Context, _ *http.Request) ([]byte, error) {
	l, err := p.ledger.Get(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(l)
}
