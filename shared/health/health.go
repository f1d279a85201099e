// Package health reports the state of a daemon: the progress of its working loop (Progress), the
// status ok, degraded or error (Evaluate, Monitor), and the HTTP server for both (Server).
//
// It promises that the answer of /health/live depends on the working loop alone, that a status is
// the worst of the active conditions, all of them rows of the table in conditions.go, and that the
// cost of a request is small. The daemon supplies the facts as a Source.
package health

import (
	"fmt"
	"strings"
	"time"
)

// Status grades a condition, a component or the whole daemon. Statuses compare: the greater is the
// worse.
type Status uint8

// The three grades.
const (
	OK       Status = iota
	Degraded        // works, but not as it should; heals itself, or is not urgent
	Error           // does not do its job
)

func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Degraded:
		return "degraded"
	case Error:
		return "error"
	default:
		return fmt.Sprintf("Status(%d)", s)
	}
}

// MarshalText makes a Status a word in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Status) UnmarshalText(text []byte) error {
	for known := OK; known <= Error; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown status %q", text)
}

// Limits are the thresholds of the rules; all are required, since 0 is a threshold too. Thresholds
// without a configuration key are constants in rules.go.
type Limits struct {
	UploadInterval  time.Duration // remote.upload_interval, or collection.interval if that is longer
	DegradedPending int64         // health.degraded_threshold, rows
	ErrorPending    int64         // health.error_threshold, rows
	SkewWarnMS      int64         // monitoring.clock_skew_warn_threshold_ms
	NoUploads       bool          // remote.enabled is false: rows may pile up, and no upload is missed
}

// stretch adapts the limits to longer upload intervals: as many more rows wait.
func (l *Limits) stretch(factor float64) {
	if factor > 1 {
		l.UploadInterval = time.Duration(factor * float64(l.UploadInterval))
		l.DegradedPending, l.ErrorPending = int64(factor*float64(l.DegradedPending)), int64(factor*float64(l.ErrorPending))
	}
}

// Input is the state of a daemon at one time. A component that is nil does not belong to
// this daemon, and its rules do not apply. The report shows the fields under "facts". Found are the
// conditions that the daemon detected.
type Input struct {
	Collectors *Collectors
	Uploader   *Uploader
	Storage    *Storage
	Time       *Clock
	Stretch    float64 // how many times remote.upload_interval is between two uploads now, to keep the budget; 0 = 1
}

// Collectors are those that are switched on.
type Collectors struct {
	List  []Collector `json:"list"`
	Found []Active    `json:"-"`
}

// Collector is one source of samples.
type Collector struct {
	Name         string    `json:"name"`
	LastSuccess  time.Time `json:"last_success,omitzero"`
	FailingSince time.Time `json:"failing_since,omitzero"` // zero: it works
	Error        string    `json:"error,omitempty"`
	Failing      []string  `json:"failing,omitempty"` // names of sensors and values, as collection.ignore_sensors has them
	Self         bool      `json:"-"`                 // it has the self-metrics, which come also while every source of the device fails
}

// Uploader is what sends rows to the server.
type Uploader struct {
	Started    time.Time `json:"started"`              // counts as the last upload where that is not known
	LastUpload time.Time `json:"last_upload,omitzero"` // last success, of an earlier run if this one had none
	Error      string    `json:"error,omitempty"`      // of the last attempt
	Cause      Cause     `json:"-"`                    // of that error; zero = none, or not known
	Found      []Active  `json:"-"`
}

// Storage is the database.
type Storage struct {
	Pending       int64     `json:"pending_rows"` // not yet uploaded
	OldestPending time.Time `json:"oldest_pending,omitzero"`
	NewestSent    time.Time `json:"newest_sent,omitzero"` // if that is behind the oldest pending one
	DatabaseBytes int64     `json:"database_bytes"`
	WALBytes      int64     `json:"wal_bytes"`
	Found         []Active  `json:"-"`
}

// Clock is what is known of the device's clock.
type Clock struct {
	Checked time.Time `json:"checked,omitzero"` // zero: not yet, and the skew means nothing
	SkewMS  int64     `json:"skew_ms"`          // positive: the device is ahead
	Source  string    `json:"source,omitempty"`
	Found   []Active  `json:"-"`

	Synchronised bool `json:"-"` // something keeps the device's clock right
}

// Report is the answer to GET /health.
type Report struct {
	Status     Status               `json:"status"`         // the worst of the components
	Since      time.Time            `json:"since,omitzero"` // when the status began
	Time       time.Time            `json:"time"`
	About      About                `json:"daemon"`
	Conditions []Active             `json:"reasons"` // that hold, the worst first
	Components map[string]Component `json:"components"`
}

// About says whose report it is.
type About struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	SessionID string    `json:"session_id"`
	Started   time.Time `json:"started"`
}

// Component is one part of a Report.
type Component struct {
	Status Status    `json:"status"` // the worst of its conditions
	Since  time.Time `json:"since,omitzero"`
	Facts  any       `json:"facts"`
}

// Summary returns the report as one line, as for the status line of systemd.
func (r Report) Summary() string {
	if len(r.Conditions) == 0 {
		return r.Status.String()
	}
	var messages []string
	for _, a := range r.Conditions {
		messages = append(messages, a.Message)
	}
	return r.Status.String() + ": " + strings.Join(messages, ", ")
}
