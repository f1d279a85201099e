package audit

import (
	"time"

	"belabox-metrics/shared/store"
)

// Kind is a way in which file and server differ.
type Kind string

const (
	Missing          Kind = "missing"            // proven delivered, and not there
	StoredTwice      Kind = "stored_twice"       // further copies of a sample
	Unknown          Kind = "unknown"            // there, and not in the file
	PendingStored    Kind = "pending_stored"     // there, and the file says it was never sent
	DeadLetterStored Kind = "dead_letter_stored" // there, and a dead letter
)

// Kinds lists the kinds in the order in which they are shown.
func Kinds() []Kind { return []Kind{Missing, StoredTwice, Unknown, PendingStored, DeadLetterStored} }

// Report is what came of a comparison. Each row of the span is in one of the
// counts or in one of the differences Missing and PendingStored.
type Report struct {
	From    time.Time `json:"from"` // of what was compared, zero without rows
	To      time.Time `json:"to"`
	Devices []string  `json:"devices"`
	Windows int       `json:"windows"` // parts in which it was done

	Proven         int64 `json:"proven"`          // delivered, and there once
	Moved          int64 `json:"moved"`           // of them, under another timestamp
	Unsettled      int64 `json:"unsettled"`       // in a chunk whose fate is open
	UnsettledThere int64 `json:"unsettled_there"` // of them, there already
	Pending        int64 `json:"pending"`         // not sent, and not there
	Unsendable     int64 `json:"unsendable"`      // texts, which are never sent
	TooOld         int64 `json:"too_old"`         // delivered and not there, but older than the server need keep
	Gone           int64 `json:"gone"`            // left the file while it was compared

	Differences []*Difference `json:"differences"` // none = file and server agree

	Ledger store.Ledger `json:"-"`
}

// Difference is all of one kind.
type Difference struct {
	Kind    Kind      `json:"kind"`
	Samples int64     `json:"samples"`
	Metrics []*Metric `json:"metrics"` // the first that were met
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

// Different returns the number of samples that are not as they should be.
func (r *Report) Different() (n int64) {
	for _, d := range r.Differences {
		n += d.Samples
	}
	return n
}

// span widens what was compared.
func (r *Report) span(fromMS, toMS int64) {
	if from := time.UnixMilli(fromMS).UTC(); r.From.IsZero() || from.Before(r.From) {
		r.From = from
	}
	if to := time.UnixMilli(toMS).UTC(); to.After(r.To) {
		r.To = to
	}
}

// count takes a row whose state fits what the server has; it returns false for
// one that does not fit.
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

// add takes samples of one metric and time into the differences.
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
