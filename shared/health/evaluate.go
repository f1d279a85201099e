package health

import (
	"cmp"
	"slices"
	"time"
)

// Evaluate applies the rules to what is known at the time now. It is a pure function: times that
// only a memory could give (Since of what has no beginning in the facts) stay zero; a Monitor fills
// them in.
func Evaluate(in Input, limits Limits, now time.Time) Report {
	limits.stretch(in.Stretch)
	report := Report{Time: stamp(now), Conditions: []Active{}, Components: map[string]Component{}}
	f := facts{Input: in, Limits: limits, now: now}
	add := func(name string, data any, found []Active) {
		c := Component{Facts: data}
		for _, a := range slices.Concat(f.ruled(name), found) {
			a.Since = stamp(a.Since)
			c.Status = max(c.Status, a.Severity)
			report.Conditions = append(report.Conditions, a)
		}
		report.Components[name] = c
		report.Status = max(report.Status, c.Status)
	}
	if c := in.Collectors; c != nil {
		add("collectors", c.stamped(), c.Found)
	}
	if c := in.Uploader; c != nil {
		add("uploader", c.stamped(), c.Found)
	}
	if c := in.Storage; c != nil {
		add("storage", c.stamped(), c.Found)
	}
	if c := in.Time; c != nil {
		add("time", c.stamped(), c.Found)
	}
	slices.SortStableFunc(report.Conditions, func(a, b Active) int { return cmp.Compare(b.Severity, a.Severity) })
	return report
}

// ruled returns the first condition of a component whose rule holds, if any.
func (f facts) ruled(component string) []Active {
	for _, c := range table {
		if c.rule == nil || c.Component != component {
			continue
		}
		args, since := c.rule(f)
		if args == nil {
			continue
		}
		a := c.Active(since, args...)
		if component == "uploader" {
			a.Remedy = cmp.Or(f.cause().Remedy, a.Remedy)
		}
		return []Active{a}
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
	s.OldestPending, s.NewestSent = stamp(s.OldestPending), stamp(s.NewestSent)
	return s
}

func (c Clock) stamped() Clock {
	c.Checked = stamp(c.Checked)
	return c
}
