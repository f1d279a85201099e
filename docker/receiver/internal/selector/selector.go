// Package selector reads the series selectors of the Prometheus query language, as match[] of /api/v1/export has them:
//
//	cpu_usage_percent
//	{__name__="cpu_usage_percent",device_id="d"}
//	cpu_usage_percent{core!="all",device_id=~"enc-.*|gw-1"}
//
// It promises the four matchers =, !=, =~ and !~ with the meaning Prometheus gives them: regular expressions match the
// whole value, and a label that a series lacks has the empty value. A selector from a stranger costs a bounded amount
// of memory and time. It knows nothing of functions, ranges, offsets or the "or" of VictoriaMetrics.
//
// The language: https://prometheus.io/docs/prometheus/latest/querying/basics/#instant-vector-selectors
package selector

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Selector picks series by their labels. The zero Selector picks all.
type Selector struct {
	matchers []matcher
}

// matcher is one condition on one label.
type matcher struct {
	name    string
	test    func(value string) bool
	negated bool   // the condition holds where test does not
	equal   string // the value that = demands, "" for the other operators
}

// Matches tells whether a series is picked. get returns the value of one of its labels, "" for a label it lacks.
func (s Selector) Matches(get func(name string) string) bool {
	for i := range s.matchers {
		m := &s.matchers[i]
		if m.test(get(m.name)) == m.negated {
			return false
		}
	}
	return true
}

// Equal returns the value that a label must have in every series that is picked, "" where several would do. A store
// looks up by it and asks Matches about what it finds.
func (s Selector) Equal(name string) string {
	for i := range s.matchers {
		if m := &s.matchers[i]; m.name == name && m.equal != "" {
			return m.equal
		}
	}
	return ""
}

// Parse reads one selector. A selector without any condition is an error: whoever wants all series writes
// {__name__!=""}.
func Parse(text string) (Selector, error) {
	s, err := parse(text)
	if err != nil {
		return Selector{}, fmt.Errorf("selector %s: %w", excerpt(text), err)
	}
	return s, nil
}

func parse(text string) (Selector, error) {
	p := parser{rest: text}
	var s Selector
	p.space()
	if name := p.name(true); name != "" {
		s.matchers = append(s.matchers, equals("__name__", name))
		p.space()
	}
	if p.take("{") {
		for !p.take("}") {
			m, err := p.matcher()
			if err != nil {
				return Selector{}, err
			}
			s.matchers = append(s.matchers, m)
			if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
				return Selector{}, p.expected("\",\" or \"}\"")
			}
		}
	}
	if p.rest != "" {
		return Selector{}, p.expected("the end")
	}
	if len(s.matchers) == 0 {
		return Selector{}, errors.New("is empty; write {__name__!=\"\"} for all series")
	}
	return s, nil
}

// parser holds what is left to read.
type parser struct {
	rest string
}

func (p *parser) expected(what string) error {
	if p.rest == "" {
		return fmt.Errorf("expected %s at its end", what)
	}
	return fmt.Errorf("expected %s before %s", what, excerpt(p.rest))
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take moves over token and the white space around it; false means that something else stands there.
func (p *parser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
		p.space()
	}
	return ok
}

// name moves over a label's name, or with colons a metric's name; "" means that there is none.
func (p *parser) name(colons bool) string {
	end := 0
	for end < len(p.rest) {
		ch := p.rest[end]
		letter := ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch == '_' || ch == ':' && colons
		if !letter && (end == 0 || ch < '0' || ch > '9') {
			break
		}
		end++
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	return name
}

// matcher reads one condition, such as device_id!="d".
func (p *parser) matcher() (matcher, error) {
	name := p.name(false)
	if name == "" {
		return matcher{}, p.expected("a label name")
	}
	// The two-character operators first: = is the beginning of =~.
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if !p.take(op) {
			continue
		}
		value, err := p.quoted()
		if err != nil {
			return matcher{}, err
		}
		m := equals(name, value)
		if strings.HasSuffix(op, "~") {
			if m, err = matches(name, value); err != nil {
				return matcher{}, err
			}
		}
		if op[0] == '!' {
			m.negated, m.equal = true, ""
		}
		return m, nil
	}
	return matcher{}, p.expected("=, !=, =~ or !~")
}

// quoted reads a string: "..." and '...' with the escapes of Go, `...` without any.
func (p *parser) quoted() (string, error) {
	if p.rest == "" || !strings.ContainsRune("\"'`", rune(p.rest[0])) {
		return "", p.expected("a quoted value")
	}
	quote, rest := p.rest[0], p.rest[1:]
	if quote == '`' {
		value, after, ok := strings.Cut(rest, "`")
		if !ok {
			return "", errors.New("closing ` is missing")
		}
		p.rest = after
		return value, nil
	}
	var value strings.Builder
	for rest != "" && rest[0] != quote {
		ch, multibyte, after, err := strconv.UnquoteChar(rest, quote)
		if err != nil {
			return "", fmt.Errorf("bad escape before %s", excerpt(rest))
		}
		// \xff means the byte, not the character.
		if ch < 0x80 || !multibyte {
			value.WriteByte(byte(ch))
		} else {
			value.WriteRune(ch)
		}
		rest = after
	}
	if rest == "" {
		return "", fmt.Errorf("closing %c is missing", quote)
	}
	p.rest = rest[1:]
	return value.String(), nil
}

// excerpt quotes the beginning of what a client sent, for an answer.
func excerpt(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q...", s[:most])
}
