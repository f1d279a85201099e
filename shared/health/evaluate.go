package health

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Evaluate applies the rules to what is known at the time now. It is a pure function: times that only a memory could
// give (Since of what has no beginning in the facts) stay zero; a Monitor fills them in.
func Evaluate(in Input, limits Limits, now time.Time) Report {
	report := Report{Time: stamp(now), Reasons: []Reason{}, Components: map[string]Component{}}
	f := facts{Input: in, Limits: limits, now: now}
	add := func(name string, data any, faults []Reason) {
		reasons := ruled(name, f)
		for _, fault := range faults {
			fault.Component = name
			reasons = append(reasons, fault)
		}
		c := Component{Facts: data}
		for i, r := range reasons {
			reasons[i].Since = stamp(r.Since)
			reasons[i].Message = strings.ReplaceAll(r.Message, "\n", "; ") // errors that were joined: it is a line
			c.Status = max(c.Status, r.Severity)
		}
		report.Components[name] = c
		report.Reasons = append(report.Reasons, reasons...)
		report.Status = max(report.Status, c.Status)
	}
	if c := in.Collectors; c != nil {
		add("collectors", c.stamped(), c.Faults)
	}
	if c := in.Uploader; c != nil {
		add("uploader", c.stamped(), c.Faults)
	}
	if c := in.Storage; c != nil {
		add("storage", c.stamped(), c.Faults)
	}
	if c := in.Time; c != nil {
		add("time", c.stamped(), c.Faults)
	}
	slices.SortStableFunc(report.Reasons, func(a, b Reason) int { return cmp.Compare(b.Severity, a.Severity) })
	return report
}

// ruled returns the reason that the table gives for a component, if any.
func ruled(component string, f facts) []Reason {
	for _, r := range rules {
		if r.Component != component {
			continue
		}
		if message, since := r.check(f); message != "" {
			return []Reason{{Component: component, Code: r.Code, Severity: r.Severity, Message: message, Since: since}}
		}
	}
	return nil
}

// stamp brings a time to the form of the report: UTC, milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (c Collectors) stamped() Collectors {
	c.List = append([]Collector{}, c.List...) // never null in JSON
	for i := range c.List {
		c.List[i].LastSuccess = stamp(c.List[i].LastSuccess)
		c.List[i].FailingSince = stamp(c.List[i].FailingSince)
	}
	return c
}

func (u Uploader) stamped() Uploader {
	u.Started, u.LastUpload = stamp(u.Started), stamp(u.LastUpload)
	return u
}

func (s Storage) stamped() Storage {
	s.OldestPending = stamp(s.OldestPending)
	return s
}

func (c Clock) stamped() Clock {
	c.Checked = stamp(c.Checked)
	return c
}
