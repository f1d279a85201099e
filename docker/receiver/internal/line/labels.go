package line

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// NameLabel holds the metric's name, DeviceLabel the device a sample is from.
const (
	NameLabel   = "__name__"
	DeviceLabel = "device_id"
)

// The limits on labels. They are those beyond which VictoriaMetrics v1.150 drops a series without a word
// (-maxLabelsPerTimeseries, -maxLabelNameLen, -maxLabelValueLen); a metric's name is held to the limit of a label's
// name.
const (
	MaxLabels     = 40   // labels of a series, the name among them
	MaxNameBytes  = 256  // bytes of a label's name, and of a metric's name
	MaxValueBytes = 4096 // bytes of a label's value
)

// Label is one label of a series.
type Label struct {
	Name, Value string
}

// Labels are the labels of one series, sorted by name, each name once, no value empty.
type Labels []Label

// Get returns the value of a label, "" where the series has none of that name: the two are the same series.
func (l Labels) Get(name string) string {
	for i := range l {
		if l[i].Name == name {
			return l[i].Value
		}
	}
	return ""
}

// String returns the canonical JSON object of the labels: sorted by name, no spaces, no escape that JSON does not
// demand.
func (l Labels) String() string {
	dst := make([]byte, 0, 256)
	dst = append(dst, '{')
	for i, label := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, label.Name)
		dst = append(dst, ':')
		dst = appendQuoted(dst, label.Value)
	}
	return string(append(dst, '}'))
}

// ParseLabels reads a JSON object of strings and checks it: names as the Prometheus data model has them
// (https://prometheus.io/docs/concepts/data_model/), a metric name, the limits above. Labels with an empty value are
// left out.
func ParseLabels(object []byte) (Labels, error) {
	if !utf8.Valid(object) {
		return nil, errors.New("labels are not valid UTF-8")
	}
	c := cursor{b: object}
	if c.skipSpace(); c.peek() != '{' {
		return nil, errors.New("\"metric\" is not an object")
	}
	labels := make(Labels, 0, 8)
	err := c.object(func(key []byte) error {
		label, err := parseLabel(&c, key)
		if err == nil && len(labels) == MaxLabels {
			err = fmt.Errorf("more than %d labels", MaxLabels)
		}
		labels = append(labels, label)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(labels); i++ {
		if labels[i].Name == labels[i-1].Name {
			return nil, fmt.Errorf("label %q stands twice", labels[i].Name)
		}
	}
	labels = slices.DeleteFunc(labels, func(l Label) bool { return l.Value == "" })
	if labels.Get(NameLabel) == "" {
		return nil, errors.New("no label \"__name__\"")
	}
	return labels, nil
}

// parseLabel reads the value that belongs to key and checks both.
func parseLabel(c *cursor, key []byte) (Label, error) {
	name := unescape(key)
	if len(name) > MaxNameBytes {
		return Label{}, fmt.Errorf("label name is longer than %d bytes: %s", MaxNameBytes, excerpt(name))
	}
	if !validName(name, false) {
		return Label{}, fmt.Errorf("label name %s does not match [a-zA-Z_][a-zA-Z0-9_]*", excerpt(name))
	}
	c.skipSpace()
	if c.peek() != '"' {
		return Label{}, fmt.Errorf("value of label %s is not a string", excerpt(name))
	}
	raw, err := c.str()
	if err != nil {
		return Label{}, err
	}
	value := unescape(raw)
	switch {
	case len(value) > MaxValueBytes:
		return Label{}, fmt.Errorf("value of label %s is longer than %d bytes", excerpt(name), MaxValueBytes)
	case name != NameLabel:
	case len(value) > MaxNameBytes:
		return Label{}, fmt.Errorf("metric name is longer than %d bytes: %s", MaxNameBytes, excerpt(value))
	case value != "" && !validName(value, true):
		return Label{}, fmt.Errorf("metric name %s does not match [a-zA-Z_:][a-zA-Z0-9_:]*", excerpt(value))
	}
	return Label{name, value}, nil
}

// validName checks a label's name, or with colons a metric's name.
func validName(s string, colons bool) bool {
	for i := range len(s) {
		switch ch := s[i]; {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch == '_':
		case ch >= '0' && ch <= '9' && i > 0:
		case ch == ':' && colons:
		default:
			return false
		}
	}
	return s != ""
}

// unescape returns the text of a string that stood between quotes and whose escapes the cursor has checked.
func unescape(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		panic("BUG: the cursor let a bad string pass: " + err.Error())
	}
	return s
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == '"', ch == '\\':
			dst = append(dst, '\\', ch)
		case ch < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		default:
			dst = append(dst, ch)
		}
	}
	return append(dst, '"')
}

// excerpt quotes the beginning of what a client sent, for an answer.
func excerpt(s string) string {
	const most = 64
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q...", s[:most])
}
