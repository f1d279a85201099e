package health

import (
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/human"
)

const (
	lateFactor    = 2  // upload intervals without an upload that are still ok
	overdueFactor = 10 // upload intervals after which an upload is no longer merely late
	stalledAfter  = 10 * time.Minute
)

// facts is what the rules look at.
type facts struct {
	Input
	Limits
	now time.Time
}

func allCollectorsFailing(f facts) ([]any, time.Time) {
	self := func(c Collector) bool { return c.Self }
	failing := slices.DeleteFunc(f.failing(), self)
	if len(failing) == 0 || len(failing) < len(slices.DeleteFunc(slices.Clone(f.Collectors.List), self)) {
		return nil, time.Time{}
	}
	// All of them fail since the last one does.
	return []any{len(failing)}, slices.MaxFunc(failing, byFailingSince).FailingSince
}

func collectorsFailing(f facts) ([]any, time.Time) {
	failing := f.failing()
	if f.notStored() { // which has a condition of its own, and the self-metrics fail because of it
		failing = slices.DeleteFunc(failing, func(c Collector) bool { return c.Self })
	}
	if len(failing) == 0 {
		return nil, time.Time{}
	}
	var names []string
	for _, c := range failing {
		name := c.Name
		if len(c.Failing) > 0 {
			name += " (" + strings.Join(c.Failing, ", ") + ")"
		}
		names = append(names, name)
	}
	return []any{len(failing), len(f.Collectors.List), strings.Join(names, ", ")}, slices.MinFunc(failing, byFailingSince).FailingSince
}

func (f facts) failing() []Collector {
	return slices.DeleteFunc(slices.Clone(f.Collectors.List), func(c Collector) bool { return c.FailingSince.IsZero() })
}

// notStored reports whether the file cannot be written.
func (f facts) notStored() bool { return f.found(codeNotStored) }

// found reports whether the daemon found a condition of the file.
func (f facts) found(code string) bool {
	return f.Storage != nil && slices.ContainsFunc(f.Storage.Found, func(a Active) bool { return a.Code == code })
}

func byFailingSince(a, b Collector) int { return a.FailingSince.Compare(b.FailingSince) }

func uploadStalled(f facts) ([]any, time.Time) {
	age, last := f.sinceUpload()
	if f.NoUploads || age <= stalledAfter || f.pending() <= f.ErrorPending {
		return nil, time.Time{}
	}
	return []any{human.Duration(age), human.Count(f.ErrorPending), f.because()}, last
}

func uploadOverdue(f facts) ([]any, time.Time) { return f.uploadOlderThan(overdueFactor) }
func uploadLate(f facts) ([]any, time.Time)    { return f.uploadOlderThan(lateFactor) }

func (f facts) uploadOlderThan(factor time.Duration) ([]any, time.Time) {
	age, last := f.sinceUpload()
	limit := factor * f.UploadInterval
	if f.NoUploads || age <= limit || f.unfed() {
		return nil, time.Time{}
	}
	return []any{human.Duration(age), human.Duration(limit), f.because()}, last
}

// unfed reports whether there is nothing to upload because collectord is not running, which has a
// condition of its own.
func (f facts) unfed() bool { return f.nothingPending() && f.found(codeCollectordAway) }

// nothingPending reports whether the file is known to have no row that waits.
func (f facts) nothingPending() bool {
	return f.Storage != nil && f.Storage.Pending == 0 && !f.found(codeUnreadable)
}

// cause is why there is no upload, as far as it is known.
func (f facts) cause() Cause {
	if f.Uploader.Cause.Message == "" && f.nothingPending() {
		return CauseNothing
	}
	return f.Uploader.Cause
}

// because is the cause of the last failure as the end of a message.
func (f facts) because() string {
	if cause := f.cause(); cause.Message != "" {
		return ": " + cause.Message
	}
	return ""
}

// sinceUpload returns the age and the time of the last upload. After the clock was set back the age
// is negative, and so within every limit.
func (f facts) sinceUpload() (time.Duration, time.Time) {
	last := f.Uploader.LastUpload
	if last.IsZero() {
		last = f.Uploader.Started
	}
	return f.now.Sub(last), last
}

func backlogLarge(f facts) ([]any, time.Time) {
	if f.NoUploads || f.pending() <= f.ErrorPending || f.found(codeShipperdAway) { // which is why
		return nil, time.Time{}
	}
	return []any{human.Count(f.ErrorPending), f.sent()}, time.Time{}
}

func backlog(f facts) ([]any, time.Time) {
	if f.NoUploads || f.pending() < f.DegradedPending || f.found(codeShipperdAway) {
		return nil, time.Time{}
	}
	return []any{human.Count(f.DegradedPending), f.sent()}, time.Time{}
}

// sent says how far the present is, where it goes before the backlog.
func (f facts) sent() string {
	if f.Storage == nil || f.Storage.NewestSent.IsZero() {
		return ""
	}
	return "; newer ones were sent up to " + human.Time(f.Storage.NewestSent) + " UTC"
}

// pending is 0 where the component storage is absent.
func (f facts) pending() int64 {
	if f.Storage == nil {
		return 0
	}
	return f.Storage.Pending
}

func clockSkew(f facts) ([]any, time.Time) {
	skew := time.Duration(f.Time.SkewMS) * time.Millisecond
	limit := time.Duration(f.SkewWarnMS) * time.Millisecond
	if f.Time.Checked.IsZero() || skew.Abs() <= limit {
		return nil, time.Time{}
	}
	way, host := "ahead", human.Host(f.Time.Source)
	if skew < 0 {
		way = "behind"
	}
	if host != "" {
		way = map[string]string{"ahead": "ahead of ", "behind": "behind "}[way] + host
	}
	if f.Time.Synchronised {
		way += " (and synchronised)"
	}
	off := skew.Abs()
	if off > 10*time.Second { // a second less than a day is a day
		off = off.Round(time.Second)
	}
	if off > time.Hour {
		off = off.Round(time.Minute)
	}
	return []any{human.Duration(off), way}, time.Time{}
}
