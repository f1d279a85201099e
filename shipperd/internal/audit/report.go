package audit

import (
	"time"

	"belabox-metrics/shared/store"
)

// Kind is a kind of difference between file and server.
type Kind string

const (
	Missing          Kind = "missing"            // delivered, and not at the server
	StoredTwice      Kind = "stored_twice"       // duplicates
	Unknown          Kind = "unknown"            // at the server, and not in the file
	PendingStored    Kind = "pending_stored"     // at the server, and pending in the file
	DeadLetterStored Kind = "dead_letter_stored" // at the server, and a dead letter
)

// Kinds lists the kinds in the order in which they are shown.
func Kinds() []Kind { return []Kind{Missing, StoredTwice, Unknown, PendingStored, DeadLetterStored} }

// Report is the result of a comparison. Each row of the span is in one of the counts or in one of
// the differences Missing and PendingStored.
type Report struct {
	From    time.Time `json:"from"` // of what was compared, zero without rows
	To      time.Time `json:"to"`
	Devices []string  `json:"devices"`
	Windows int       `json:"windows"` // parts in which it was done

	Proven         int64 `json:"proven"`          // delivered, and at the server exactly once
	Moved          int64 `json:"moved"`           // of them, with another timestamp
	Unsettled      int64 `json:"unsettled"`       // in a chunk in flight
	UnsettledThere int64 `json:"unsettled_there"` // of them, at the server already
	Pending        int64 `json:"pending"`         // not sent, and not at the server
	Unsendable     int64 `json:"unsendable"`      // strings, which are never sent
	TooOld         int64 `json:"too_old"`         // delivered and not at the server, but older than MaxPast
	Gone           int64 `json:"gone"`            // deleted from the file meanwhile

	Differences []*Difference `json:"differences"` // none = file and server agree

	Ledger store.Ledger `json:"-"`
}

// Difference is all of one kind.
type Difference struct {
	Kind    Kind      `json:"kind"`
	Samples int64     `json:"samples"`
	Metrics []*Metric `json:"metrics"` // the first that were found
	// Others are samples of further metrics.
	Others int64 `json:"others"`
}

// Metric is the part of a difference that one metric has.
type Metric struct {
	Name     string  `json:"name"` // at the server
	Samples  int64   `json:"samples"`
	Examples []int64 `json:"examples_ms"` // timestamps at the server, the first that were met
}

const (
	maxMetrics  = 10
	maxExamples = 3
)

// Different returns the number of samples that differ.
func (r *Report) Different() (n int64) {
	for _, d := range r.Differences {
		n += d.Samples
	}
	return n
}

// span extends From and To.
func (r *Report) span(fromMS, toMS int64) {
	if from := time.UnixMilli(fromMS).UTC(); r.From.IsZero() || from.Before(r.From) {
		r.From = from
	}
	if to := time.UnixMilli(toMS).UTC(); to.After(r.To) {
		r.To = to
	}
}

// count counts a row whose state fits the server; it returns false for one that does not.
func (r *Report) count(s state, there bool) bool {
	switch {
	case s == open:
		r.Unsettled++
		if there {
			r.UnsettledThere++
		}
	case s == uploaded && there:
		r.Proven++
	case s == pending && !there:
		r.Pending++
	default:
		return false
	}
	return true
}

// add adds samples of one metric and timestamp to the differences.
func (r *Report) add(kind Kind, metric string, ms, samples int64) {
	var d *Difference
	for _, have := range r.Differences {
		if have.Kind == kind {
			d = have
		}
	}
	if d == nil {
		d = &Difference{Kind: kind}
		r.Differences = append(r.Differences, d)
	}
	d.Samples += samples
	for _, m := range d.Metrics {
		if m.Name == metric {
			m.add(ms, samples)
			return
		}
	}
	if len(d.Metrics) == maxMetrics {
		d.Others += samples
		return
	}
	m := &Metric{Name: metric}
	m.add(ms, samples)
	d.Metrics = append(d.Metrics, m)
}

func (m *Metric) add(ms, samples int64) {
	m.Samples += samples
	if len(m.Examples) < maxExamples {
		m.Examples = append(m.Examples, ms)
	}
}
