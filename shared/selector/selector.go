// Package selector reads the series selectors of the query language, as match[] of /api/v1/export
// has them:
//
//	cpu_usage_percent
//	{__name__="cpu_usage_percent",device_id="d"}
//	cpu_usage_percent{core!="all",device_id=~"enc-.*|gw-1"}
//	{device_id="a" or device_id="b"}
//
// VictoriaMetrics' own parser reads them. Regular expressions match the whole value, and a label
// that a series lacks has the empty value.
package selector

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metricsql"
)

// maxBytes bounds the text of a selector, which may list the names of a device's series.
const maxBytes = 256 << 10

// maxInstructions bounds a compiled regular expression.
const maxInstructions = 10_000

// Selector picks series by their labels.
type Selector struct {
	anyOf [][]matcher // series that fulfil all conditions of one of these
}

// matcher is one condition on one label.
type matcher struct {
	label   string
	value   string
	values  map[string]bool // not nil: the label has one of these
	pattern *regexp.Regexp  // not nil: the label matches it
	negated bool
}

// quoted matches strings, which may hold any character.
var quoted = regexp.MustCompile("\"(?:\\\\.|[^\"\\\\])*\"|'(?:\\\\.|[^'\\\\])*'|`[^`]*`")

// Parse reads one selector. A selector without any condition is an error: {__name__!=""} picks all
// series.
func Parse(text string) (Selector, error) {
	fail := func(err error) (Selector, error) {
		return Selector{}, fmt.Errorf("parse selector %.64q: %.200s", text, err.Error()) // the parser repeats the text
	}
	if len(text) > maxBytes {
		return fail(fmt.Errorf("longer than %d bytes", maxBytes))
	}
	// WITH templates and nested expressions could make a short text expensive. A selector needs no
	// parenthesis.
	if strings.Contains(quoted.ReplaceAllString(text, ""), "(") {
		return fail(errors.New("not a series selector"))
	}
	expr, err := metricsql.Parse(text)
	if err != nil {
		return fail(err)
	}
	metric, ok := expr.(*metricsql.MetricExpr)
	if !ok {
		return fail(errors.New("not a series selector"))
	}
	var s Selector
	for _, filters := range metric.LabelFilterss {
		var all []matcher
		for _, f := range filters {
			m := matcher{label: f.Label, value: f.Value, negated: f.IsNegative}
			if f.IsRegexp {
				if err := m.matchPattern(f.Value); err != nil {
					return fail(err)
				}
			}
			all = append(all, m)
		}
		if len(all) == 0 {
			return fail(errors.New("empty selector; use {__name__!=\"\"} for all series"))
		}
		s.anyOf = append(s.anyOf, all)
	}
	if len(s.anyOf) == 0 {
		return fail(errors.New("empty selector; use {__name__!=\"\"} for all series"))
	}
	return s, nil
}

// matchPattern makes m match a regular expression. A list of plain names such as eth0|eth1 becomes
// a set: readers ask for hundreds of names that way, and an automaton would walk through them all.
func (m *matcher) matchPattern(pattern string) error {
	names := strings.Split(pattern, "|")
	if slices.ContainsFunc(names, func(name string) bool { return regexp.QuoteMeta(name) != name }) {
		// Compiled alone first: for its size, as a short text can ask for millions of instructions,
		// and because a pattern such as a)|(b must not reach across the anchors.
		tree, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return err
		}
		if program, err := syntax.Compile(tree.Simplify()); err != nil || len(program.Inst) > maxInstructions {
			return errors.New("regular expression is too large")
		}
		m.pattern, err = regexp.Compile("^(?s:" + pattern + ")$")
		return err
	}
	m.values = make(map[string]bool, len(names))
	for _, name := range names {
		m.values[name] = true
	}
	return nil
}

// Matches reports whether the series is selected.
func (s Selector) Matches(metric map[string]string) bool {
	for _, all := range s.anyOf {
		if matchAll(all, metric) {
			return true
		}
	}
	return false
}

func matchAll(all []matcher, metric map[string]string) bool {
	for i := range all {
		m := &all[i]
		value := metric[m.label]
		equal := value == m.value
		switch {
		case m.values != nil:
			equal = m.values[value]
		case m.pattern != nil:
			equal = m.pattern.MatchString(value)
		}
		if equal == m.negated {
			return false
		}
	}
	return true
}

// Equal returns the value that the label has in every series that is picked, "" where several would
// do. A store looks up by it and asks Matches about what it finds.
func (s Selector) Equal(label string) string {
	if len(s.anyOf) != 1 {
		return ""
	}
	for _, m := range s.anyOf[0] {
		if m.label == label && m.values == nil && m.pattern == nil && !m.negated {
			return m.value
		}
	}
	return ""
}
