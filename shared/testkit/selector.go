package testkit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// selector is a set of label matchers: name{a="b",c!="d",e=~"f",g!~"h"}.
type selector struct {
	text     string
	matchers []matcher
}

type matcher struct {
	label string
	not   bool
	value string
	re    *regexp.Regexp // nil: compare with value
}

func (s selector) matches(metric map[string]string) bool {
	for _, m := range s.matchers {
		got := metric[m.label]
		equal := got == m.value
		if m.re != nil {
			equal = m.re.MatchString(got)
		}
		if equal == m.not {
			return false
		}
	}
	return true
}

// countQuery is sum(count_over_time(selector[range]) [keep_metric_names]) [by (labels)],
// or without the sum: the one kind of query that FakeVM understands.
type countQuery struct {
	sel       selector
	over      time.Duration
	keepNames bool
	aggregate bool // inside sum(...)
	by        []string
}

// scanner reads a query from left to right.
type scanner struct{ rest string }

var (
	identifier  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.]*`)
	rangeLength = regexp.MustCompile(`^[0-9][0-9a-z.]*`)
)

func (s *scanner) skip() { s.rest = strings.TrimLeft(s.rest, " \t\r\n") }

// take skips one of the given words or signs and returns which one it was, "" if
// none comes next.
func (s *scanner) take(words ...string) string {
	s.skip()
	for _, w := range words {
		rest, ok := strings.CutPrefix(s.rest, w)
		if ok && (!identifier.MatchString(w) || !identifier.MatchString(rest)) {
			s.rest = rest
			return w
		}
	}
	return ""
}

func (s *scanner) need(word string) error {
	if s.take(word) == "" {
		return fmt.Errorf("want %q at %q", word, s.rest)
	}
	return nil
}

func (s *scanner) match(re *regexp.Regexp) string {
	s.skip()
	found := re.FindString(s.rest)
	s.rest = s.rest[len(found):]
	return found
}

func (s *scanner) end() error {
	s.skip()
	if s.rest != "" {
		return fmt.Errorf("unparsed data left: %q", s.rest)
	}
	return nil
}

func parseSelector(text string) (selector, error) {
	s := &scanner{text}
	sel, err := s.selector()
	if err == nil {
		err = s.end()
	}
	return sel, err
}

func (s *scanner) selector() (sel selector, err error) {
	s.skip()
	before := s.rest
	name := s.match(identifier)
	if name != "" {
		sel.matchers = append(sel.matchers, matcher{label: "__name__", value: name})
	}
	if s.take("{") == "" {
		if name == "" {
			return sel, fmt.Errorf("want a selector at %q", s.rest)
		}
	} else {
		for s.take("}") == "" {
			m, err := s.matcher()
			if err != nil {
				return sel, err
			}
			sel.matchers = append(sel.matchers, m)
			if s.take(",") == "" {
				if err := s.need("}"); err != nil {
					return sel, err
				}
				break
			}
		}
	}
	sel.text = strings.TrimSpace(before[:len(before)-len(s.rest)])
	return sel, nil
}

func (s *scanner) matcher() (m matcher, err error) {
	m.label = s.match(identifier)
	if m.label == "" {
		return m, fmt.Errorf("want a label at %q", s.rest)
	}
	op := s.take("=~", "!~", "!=", "=")
	if op == "" {
		return m, fmt.Errorf("want =, !=, =~ or !~ at %q", s.rest)
	}
	m.not = op[0] == '!'
	s.skip()
	quoted, err := strconv.QuotedPrefix(s.rest)
	if err != nil {
		return m, fmt.Errorf("want a quoted value at %q", s.rest)
	}
	s.rest = s.rest[len(quoted):]
	if m.value, err = strconv.Unquote(quoted); err != nil {
		return m, err
	}
	if strings.HasSuffix(op, "~") {
		m.re, err = regexp.Compile("^(?:" + m.value + ")$")
	}
	return m, err
}

func parseCountQuery(text string) (q countQuery, err error) {
	s := &scanner{text}
	if q.aggregate = s.take("sum") != ""; q.aggregate {
		if err := s.by(&q); err != nil {
			return q, err
		}
		if err := s.need("("); err != nil {
			return q, err
		}
	}
	if err := s.countOverTime(&q); err != nil {
		return q, err
	}
	if q.aggregate {
		if err := s.need(")"); err != nil {
			return q, err
		}
		if err := s.by(&q); err != nil {
			return q, err
		}
	}
	return q, s.end()
}

func (s *scanner) countOverTime(q *countQuery) (err error) {
	for _, word := range []string{"count_over_time", "("} {
		if err := s.need(word); err != nil {
			return err
		}
	}
	if q.sel, err = s.selector(); err != nil {
		return err
	}
	if err := s.need("["); err != nil {
		return err
	}
	if q.over, err = time.ParseDuration(s.match(rangeLength)); err != nil {
		return err
	}
	for _, word := range []string{"]", ")"} {
		if err := s.need(word); err != nil {
			return err
		}
	}
	q.keepNames = s.take("keep_metric_names") != ""
	return nil
}

// by reads an optional "by (a, b)".
func (s *scanner) by(q *countQuery) error {
	if s.take("by") == "" {
		return nil
	}
	if err := s.need("("); err != nil {
		return err
	}
	for s.take(")") == "" {
		label := s.match(identifier)
		if label == "" {
			return fmt.Errorf("want a label at %q", s.rest)
		}
		q.by = append(q.by, label)
		if s.take(",") == "" {
			return s.need(")")
		}
	}
	return nil
}
