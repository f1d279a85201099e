package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	lateFactor    = 2  // upload intervals without an upload that are still ok
	overdueFactor = 10 // upload intervals after which an upload is no longer merely late
	stalledAfter  = 10 * time.Minute
)

// Rule is one row of the table by which a status is found.
type Rule struct {
	Component string
	Code      string
	Severity  Status
	Condition string // in words, with the default thresholds
	Remedy    string // what a person should do

	// check returns the message for people, "" when the rule does not hold, and when the cause began, zero when
	// that cannot be told from the facts.
	check func(f facts) (message string, since time.Time)
}

// Rules returns the table. Of the rules of a component the first that holds gives the reason; the worse come first.
func Rules() []Rule { return slices.Clone(rules) }

var rules = []Rule{
	{
		"collectors", "all_collectors_failing", Error, "every collector fails, but for that of the agent's own numbers",
		"The facts have each collector's error. All at once means that /proc or /sys is not there: check collection.procfs_path and collection.sysfs_path, and in a container the mounts.",
		allCollectorsFailing,
	},
	{
		"collectors", "collectors_failing", Degraded, "at least one collector fails",
		"The facts have its error: a sensor that has died, a driver that hangs. What cannot be mended can be switched off under collection.collectors.",
		collectorsFailing,
	},
	{
		"uploader", "upload_stalled", Error,
		"no upload for more than 10 minutes, and more than health.error_threshold (10000) rows pending",
		"As for upload_late, and sooner: at storage.max_size_mb the oldest samples are dropped.",
		uploadStalled,
	},
	{
		"uploader", "upload_overdue", Degraded,
		"no upload for more than 10 × remote.upload_interval (5m)",
		"As for upload_late.",
		uploadOverdue,
	},
	{
		"uploader", "upload_late", Degraded,
		"no upload for more than 2 × remote.upload_interval (1m)",
		"Nothing while the network is away: samples wait in the file. Else run `belabox-shipperd doctor`; the facts have the last error.",
		uploadLate,
	},
	{
		"storage", "backlog_large", Degraded, "more than health.error_threshold (10000) rows pending",
		"As for backlog.",
		backlogLarge,
	},
	{
		"storage", "backlog", Degraded, "health.degraded_threshold (5000) rows pending, or more",
		"Nothing after an outage: shipperd catches up. If it grows while uploads go well, the line is too slow: raise collection.interval, or switch collectors off.",
		backlog,
	},
	{
		"time", "clock_skew", Degraded,
		"the clock is off by more than monitoring.clock_skew_warn_threshold_ms (2000)",
		"Let NTP set the clock (`timedatectl`). Samples keep the times that they were taken at by the wrong clock. If the device's time is right, the clock that it is compared with is wrong (monitoring.clock_skew_url, without it the server's).",
		clockSkew,
	},
}

// facts is what the rules look at.
type facts struct {
	Input
	Limits
	now time.Time
}

func allCollectorsFailing(f facts) (string, time.Time) {
	own := func(c Collector) bool { return c.Own }
	failing := slices.DeleteFunc(f.failing(), own)
	if len(failing) == 0 || len(failing) < len(slices.DeleteFunc(slices.Clone(f.Collectors.List), own)) {
		return "", time.Time{}
	}
	// All of them fail since the last one does.
	last := slices.MaxFunc(failing, byFailingSince)
	return fmt.Sprintf("all collectors (%d) fail", len(failing)), last.FailingSince
}

func collectorsFailing(f facts) (string, time.Time) {
	failing := f.failing()
	if f.notStored() { // of which those numbers are a victim, and it has a reason of its own
		failing = slices.DeleteFunc(failing, func(c Collector) bool { return c.Own })
	}
	if len(failing) == 0 {
		return "", time.Time{}
	}
	var names []string
	for _, c := range failing {
		names = append(names, c.Name)
	}
	message := fmt.Sprintf("%d of %d collectors fail: %s", len(failing), len(f.Collectors.List), strings.Join(names, ", "))
	return message, slices.MinFunc(failing, byFailingSince).FailingSince
}

func (f facts) failing() []Collector {
	return slices.DeleteFunc(slices.Clone(f.Collectors.List), func(c Collector) bool { return c.FailingSince.IsZero() })
}

// notStored reports whether the file cannot be written.
func (f facts) notStored() bool {
	return f.Storage != nil && slices.ContainsFunc(f.Storage.Faults, func(r Reason) bool { return r.Code == TicksNotStored.Code })
}

func byFailingSince(a, b Collector) int { return a.FailingSince.Compare(b.FailingSince) }

func uploadStalled(f facts) (string, time.Time) {
	age, last := f.sinceUpload()
	if f.NoUploads || age <= stalledAfter || f.pending() <= f.ErrorPending {
		return "", time.Time{}
	}
	return fmt.Sprintf("no upload for %v, and %d rows pending", age.Round(time.Second), f.pending()) + f.because(), last
}

func uploadOverdue(f facts) (string, time.Time) { return f.uploadOlderThan(overdueFactor) }
func uploadLate(f facts) (string, time.Time)    { return f.uploadOlderThan(lateFactor) }

func (f facts) uploadOlderThan(factor time.Duration) (string, time.Time) {
	age, last := f.sinceUpload()
	if f.NoUploads || age <= factor*f.UploadInterval {
		return "", time.Time{}
	}
	return fmt.Sprintf("no upload for %v, more than %d × the upload interval of %v",
		age.Round(time.Second), factor, f.UploadInterval) + f.because(), last
}

// because is what the last attempt failed with, for whoever sees the reasons and not the facts.
func (f facts) because() string {
	if f.Uploader.Error == "" {
		return ""
	}
	return ": " + f.Uploader.Error
}

// sinceUpload returns the age and the time of the last upload. After the clock was set back the age is negative, and
// so within every limit.
func (f facts) sinceUpload() (time.Duration, time.Time) {
	last := f.Uploader.LastUpload
	if last.IsZero() {
		last = f.Uploader.Started
	}
	return f.now.Sub(last), last
}

func backlogLarge(f facts) (string, time.Time) {
	if f.NoUploads || f.pending() <= f.ErrorPending {
		return "", time.Time{}
	}
	return fmt.Sprintf("%d rows pending, more than %d", f.pending(), f.ErrorPending), time.Time{}
}

func backlog(f facts) (string, time.Time) {
	if f.NoUploads || f.pending() < f.DegradedPending {
		return "", time.Time{}
	}
	return fmt.Sprintf("%d rows pending, %d or more", f.pending(), f.DegradedPending), time.Time{}
}

// pending is 0 for a daemon that cannot tell: rules of other components ask, too.
func (f facts) pending() int64 {
	if f.Storage == nil {
		return 0
	}
	return f.Storage.Pending
}

func clockSkew(f facts) (string, time.Time) {
	skew := f.Time.SkewMS
	if f.Time.Checked.IsZero() || max(skew, -skew) <= f.SkewWarnMS {
		return "", time.Time{}
	}
	off, way := time.Duration(skew)*time.Millisecond, "ahead"
	if skew < 0 {
		off, way = -off, "behind"
	}
	return fmt.Sprintf("the clock is %v %s, more than %d ms", off, way, f.SkewWarnMS), time.Time{}
}
