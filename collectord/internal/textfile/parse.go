package textfile

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"belabox-metrics/shared/store"
)

// What a server keeps of a series; see the same limits in shipperd/internal/chunk.
const (
	maxLabels     = 30 // the name among them
	maxNameBytes  = 256
	maxValueBytes = 4096
	maxLineBytes  = 64 << 10
)

// entry is a line with a sample.
type entry struct {
	name   string
	labels []store.Tag // none is empty
	value  float64
	dated  bool
	ms     int64 // milliseconds since 1970, if dated
	line   int
}

// lineError is what is wrong with a file, and where.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// room is how much of a file is taken.
type room struct {
	labels  int // of a sample
	bytes   int
	samples int
}

var endOfFile = []byte("# EOF")

// isOpenMetrics reports whether a text ends as that format demands. Its timestamps are seconds.
func isOpenMetrics(text []byte) bool {
	text = bytes.TrimSuffix(text, []byte("\n"))
	return bytes.HasSuffix(text, endOfFile) && (len(text) == len(endOfFile) || text[len(text)-len(endOfFile)-1] == '\n')
}

// complete reports whether the last line of a text has its end.
func complete(text []byte) bool {
	return len(text) == 0 || text[len(text)-1] == '\n' || isOpenMetrics(text)
}

// parse reads a text in the Prometheus text format or in OpenMetrics. A line that is wrong makes
// the whole text wrong. What the lines mean together does not matter here: a histogram is its
// samples.
//
// https://prometheus.io/docs/instrumenting/exposition_formats/
// https://prometheus.io/docs/specs/om/open_metrics_spec/
func parse(text []byte, r room) (entries []entry, err error) {
	p := parser{openMetrics: isOpenMetrics(text), most: r.labels}
	ended := false
	for number := 1; len(text) > 0; number++ {
		p.rest, text, _ = bytes.Cut(text, []byte("\n"))
		p.fault, p.e = "", entry{line: number}
		switch {
		case len(p.rest) > maxLineBytes:
			p.fail("more than %d bytes", maxLineBytes)
		case ended:
			p.fail("text behind # EOF")
		case p.openMetrics && bytes.Equal(p.rest, endOfFile):
			ended = true
		case !p.sample():
		case len(entries) == r.samples:
			p.fail("more than %d samples in all files: this one is left out", maxAllSamples)
		default:
			entries = append(entries, p.e)
		}
		if p.fault != "" {
			return nil, &lineError{number, p.fault}
		}
	}
	return entries, nil
}

// parser is at some place in a line.
type parser struct {
	openMetrics bool
	most        int    // labels of a sample
	rest        []byte // of the line
	e           entry
	fault       string // the first one; "" = none
}

// fail notes what is wrong, and returns false.
func (p *parser) fail(format string, args ...any) bool {
	if p.fault == "" {
		p.fault = fmt.Sprintf(format, args...)
	}
	return false
}

// sample reads a line; false = it has no sample, or it is wrong.
func (p *parser) sample() bool {
	p.space()
	switch {
	case len(p.rest) == 0:
		return false
	case p.take('#'):
		return p.comment()
	case p.rest[0] == '{':
		return p.fail("names in quotes are not supported: a name has letters, digits, _ and :")
	}
	if p.e.name = p.word(true); p.e.name == "" {
		return p.fail("want the name of a metric, got %.40q", p.rest)
	}
	if len(p.e.name) > maxNameBytes {
		return p.fail("the name has %d bytes, at most %d are stored", len(p.e.name), maxNameBytes)
	}
	spaced := p.space()
	if p.take('{') {
		if !p.labels() {
			return false
		}
		p.space()
	} else if !spaced {
		return p.fail("want a space or { behind the name, got %.40q", p.rest)
	}
	if !p.value() {
		return false
	}
	if len(p.rest) > 0 && p.rest[0] != '#' && !p.timestamp() {
		return false
	}
	if len(p.rest) > 0 && p.rest[0] != '#' { // an exemplar
		return p.fail("want the end of the line, got %.40q", p.rest)
	}
	return true
}

// types are those of both formats.
var types = []string{
	"counter", "gauge", "histogram", "summary", "untyped",
	"unknown", "info", "stateset", "gaugehistogram",
}

// comment reads what follows a #. Only samples are stored, so a description is looked at no further
// than to find that the text is in this format at all. It returns false: there is no sample.
func (p *parser) comment() bool {
	p.space()
	keyword := p.token()
	if keyword != "HELP" && keyword != "TYPE" && keyword != "UNIT" || len(p.rest) == 0 {
		return false
	}
	if p.word(true) == "" || len(p.rest) > 0 && !p.space() {
		return p.fail("want the name of a metric behind # %s, got %.40q", keyword, p.rest)
	}
	if keyword == "TYPE" {
		if typ := p.token(); !slices.Contains(types, typ) {
			return p.fail("unknown type %.40q; there are %s", typ, strings.Join(types, ", "))
		}
	}
	return false
}

// labels reads up to the closing brace.
func (p *parser) labels() bool {
	var names []string
	for {
		p.space()
		if p.take('}') {
			break
		}
		name := p.word(false)
		switch {
		case name == "":
			return p.fail("want the name of a label, got %.40q", p.rest)
		case strings.HasPrefix(name, "__"):
			return p.fail("label %.40q: names that begin with __ are reserved", name)
		case len(name) > maxNameBytes:
			return p.fail("label %.40q... has %d bytes, at most %d are stored", name, len(name), maxNameBytes)
		case slices.Contains(names, name):
			return p.fail("label %.40q is there twice", name)
		case len(names) == p.most:
			return p.fail("more than %d labels; with device_id and device.labels at most %d are stored", p.most, maxLabels-1)
		}
		names = append(names, name)
		p.space()
		if !p.take('=') {
			return p.fail("want = behind label %.40q, got %.40q", name, p.rest)
		}
		p.space()
		if !p.take('"') {
			return p.fail("want a value in quotes for label %.40q, got %.40q", name, p.rest)
		}
		value, ok := p.quoted()
		switch {
		case !ok:
			return p.fail("the value of label %.40q has no closing quote, or another escape than \\\\, \\\" and \\n", name)
		case !utf8.ValidString(value):
			return p.fail("the value of label %.40q is not UTF-8", name)
		case len(value) > maxValueBytes:
			return p.fail("the value of label %.40q has %d bytes, at most %d are stored", name, len(value), maxValueBytes)
		case value != "": // a label without a value is none
			p.e.labels = append(p.e.labels, store.Tag{Name: name, Value: value})
		}
		p.space()
		if !p.take(',') && (len(p.rest) == 0 || p.rest[0] != '}') {
			return p.fail("want , or } behind label %.40q, got %.40q", name, p.rest)
		}
	}
	return true
}

// quoted reads a string up to its closing quote.
func (p *parser) quoted() (string, bool) {
	var b []byte
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '"':
			text := string(append(b, p.rest[:i]...))
			p.rest = p.rest[i+1:]
			return text, true
		case '\\':
			if i+1 == len(p.rest) {
				return "", false
			}
			b = append(b, p.rest[:i]...)
			switch p.rest[i+1] {
			case '\\', '"':
				b = append(b, p.rest[i+1])
			case 'n':
				b = append(b, '\n')
			default:
				return "", false
			}
			p.rest, i = p.rest[i+2:], -1
		}
	}
	return "", false
}

func (p *parser) value() bool {
	text := p.token()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "pP_") { // Go's own spellings
		return p.fail("want a value, got %.40q", text)
	}
	p.e.value = v
	return true
}

func (p *parser) timestamp() bool {
	text, unit := p.token(), "milliseconds"
	ms, err := strconv.ParseInt(text, 10, 64)
	if p.openMetrics {
		var seconds float64
		unit = "seconds"
		seconds, err = strconv.ParseFloat(text, 64)
		ms = int64(math.Round(max(-1, min(seconds, store.MaxTimestampMS)) * 1000))
	}
	if err != nil || ms <= 0 || ms > store.MaxTimestampMS || strings.ContainsAny(text, "pP_") {
		return p.fail("want a timestamp in %s between 1970 and September 2039, got %.40q", unit, text)
	}
	p.e.dated, p.e.ms = true, ms
	return true
}

// word reads a name, "" if there is none.
func (p *parser) word(colons bool) string {
	n := 0
	for n < len(p.rest) {
		c := p.rest[n]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' && colons
		if !letter && (n == 0 || c < '0' || c > '9') {
			break
		}
		n++
	}
	name := string(p.rest[:n])
	p.rest = p.rest[n:]
	return name
}

// token reads up to the next space, and the spaces behind it.
func (p *parser) token() string {
	n := bytes.IndexAny(p.rest, " \t")
	if n < 0 {
		n = len(p.rest)
	}
	text := string(p.rest[:n])
	p.rest = p.rest[n:]
	p.space()
	return text
}

// space reads spaces and tabs, and reports whether there were any.
func (p *parser) space() bool {
	n := len(p.rest)
	p.rest = bytes.TrimLeft(p.rest, " \t")
	return len(p.rest) < n
}

// take reads a character if it is the next one.
func (p *parser) take(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}
