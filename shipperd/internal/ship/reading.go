package ship

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// busyMost bounds the pause after an answer that says that the query was too large.
	busyMost = 10 * time.Minute
	// strangersMost is how many lines of series that were not queried an answer may have. If it has
	// more, a proxy ignores the selector.
	strangersMost = 1000
)

// reading is what is known of the server from reads.
type reading struct {
	notBefore   time.Time // no read before
	unseenAfter time.Time // no read of unseen chunks before
	looks       int       // such reads
	fails       int       // failed reads in a row
	most        int       // rows that one read may be about; 0 = any number

	uncountable    time.Time // until then it does not support counts
	dedupUntil     time.Time // until then it has a deduplication interval, see dedup.go; zero = none
	interval       int64     // of this length in milliseconds
	dedupFails     int       // reads about the interval that failed, in a row
	dedupNotBefore time.Time // no read about the interval before
	blurred        interval  // where the server may have samples that the file has elsewhere, or once
	partly         *wanted   // a list of which a part was read
	proof          *proof    // what was read back last; nil = nothing yet

	log      *logx.Throttle
	lost     *logx.Throttle // samples that were answered 2xx and are missing
	lostRows int            // how many, since the start
	hidden   *logx.Throttle // nothing shows
	clock    *logx.Throttle // no clock by which to clamp timestamps
}

// readFailed pauses reads, longer each time. Whatever the reason, the rows stay as they are.
func (s *Shipper) readFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r, now, fault := &s.reading, time.Now(), asError(err)
	r.fails++
	wait := backoff(s.cfg.Retry, r.fails, s.Rand)
	if fault.Busy() {
		// Fewer and smaller reads, not more.
		wait = jitter(min(busyMost, s.cfg.Verify.Settle<<min(r.fails-1, 10)), s.cfg.Retry.JitterPercent, s.Rand)
		r.most = max(1, s.readMost()/2)
	}
	if fault.RetryAfter > 0 {
		wait = max(wait, beyond(fault.RetryAfter, s.cfg.Retry.JitterPercent, s.Rand))
	}
	r.notBefore = now.Add(wait)
	r.log.Fail(s.Log, slog.LevelWarn, "read-back failed", err, "evidence", string(fault.Evidence()))
	s.Stats.reading(fault, s.Now())
	s.fault(err)
	switch fault.Class {
	case victoria.ClassNetwork, victoria.ClassTimeout, victoria.ClassServer:
		s.sending.lastAway = now
	}
}

// readWorks notes an answer.
func (s *Shipper) readWorks() {
	s.serverAnswered()
	r := &s.reading
	r.log.Recover(s.Log, "read-back works again")
	s.Stats.reading(nil, time.Time{})
	r.fails = 0
	if r.most > 0 {
		if r.most *= 2; r.most >= togetherRows {
			r.most = 0
		}
	}
}

// readMost is how many rows one read may be about.
func (s *Shipper) readMost() int {
	if s.reading.most > 0 {
		return s.reading.most
	}
	return togetherRows
}

// export reads samples and passes on those of our series, by the text of their labels. An answer
// that is full of other series is ended early.
func (s *Shipper) export(ctx context.Context, sel victoria.Selector, from, to int64, names map[string]bool,
	ours func(text string) bool, each func(text string, labels []store.Tag, timestamps []int64),
) error {
	s.Beat()
	strangers := 0
	return s.Server.Export(ctx, sel, from, to, func(labels []store.Tag, timestamps []int64) error {
		text := sentAs(labels, names)
		if ours(text) {
			each(text, labels, timestamps)
			return nil
		}
		if asked(sel, labels) {
			return nil // a textfile can have thousands of series of one name
		}
		if strangers++; strangers > strangersMost {
			return &victoria.Error{
				Class: victoria.ClassStranger, Status: 200,
				Err: fmt.Errorf("the answer has more than %d lines of series that were not queried: a proxy ignores the selector", strangersMost),
			}
		}
		return nil
	})
}

// asked reports whether a series of this device matches a selector.
func asked(sel victoria.Selector, labels []store.Tag) bool {
	var name, device string
	for _, l := range labels {
		switch l.Name {
		case "__name__":
			name = l.Value
		case "device_id":
			device = l.Value
		}
	}
	return !sel.AnyDevice && device == sel.DeviceID && (len(sel.Names) == 0 || slices.Contains(sel.Names, name))
}

// sentAs is the text under which our series was sent. A proxy may have added labels of its own
// (extra_label); they are left out.
func sentAs(labels []store.Tag, names map[string]bool) string {
	kept := make([]store.Tag, 0, len(labels))
	for _, l := range labels {
		if names[l.Name] {
			kept = append(kept, l)
		}
	}
	return chunk.Text(kept)
}
