// Package jsonline reads and writes the JSON lines of VictoriaMetrics' /api/v1/import and
// /api/v1/export: one object a line, with the labels of one series and its samples.
//
//	{"metric":{"__name__":"cpu_usage_percent","device_id":"d"},"values":[1.5,2],"timestamps":[1700000000000,1700000001000]}
//
// It takes what VictoriaMetrics v1.150 takes. One wrong value or timestamp makes the whole line
// invalid. A label that is empty or not a string is left out. Other keys are ignored, and names are
// not checked. VictoriaMetrics differs in two places: a bare NaN, which is not JSON, costs that
// sample alone, and it stores bytes that are not UTF-8, which make a line invalid here.
//
// The format:
// https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#json-line-format
package jsonline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The limits beyond which VictoriaMetrics v1.150 drops a line without telling the client.
const (
	MaxLineBytes  = 10 << 20 // bytes of a line (-import.maxLineLen)
	MaxLabels     = 40       // labels of a series with its name (-maxLabelsPerTimeseries)
	MaxNameBytes  = 256      // bytes of a label's name (-maxLabelNameLen)
	MaxValueBytes = 4 << 10  // bytes of a label's value (-maxLabelValueLen)
)

// Line is one series with samples. Timestamps and Values have the same length.
type Line struct {
	Metric     map[string]string // labels; the metric's name is __name__
	Timestamps []int64           // milliseconds since 1970
	Values     []float64         // a number too large for a float64 is an infinity
}

// Error is why a line is invalid.
type Error struct {
	Reason string
	// Samples is how many samples the line has; 1 where that is unknown because the line is not a
	// JSON object.
	Samples int
}

func (e *Error) Error() string { return e.Reason }

// Parse reads one line, with or without its line end, and adds the extra labels to the series. An
// error is an *Error. The Line does not refer to text.
func Parse(text []byte, extra map[string]string) (Line, error) {
	// encoding/json would replace such bytes, and the series would have another name.
	if !utf8.Valid(text) {
		return Line{}, &Error{"line is not valid UTF-8", 1}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil || object == nil {
		return Line{}, &Error{"line is not a JSON object", 1}
	}
	var l Line
	var err, valuesErr error
	l.Timestamps, err = parseArray(object["timestamps"], func(text string) (int64, error) {
		return strconv.ParseInt(text, 10, 64)
	})
	l.Values, valuesErr = parseArray(object["values"], parseFloat)
	samples := max(len(l.Timestamps), len(l.Values))
	switch {
	case err != nil:
		return Line{}, &Error{"timestamps is not an array of integers", samples}
	case valuesErr != nil:
		return Line{}, &Error{"values is not an array of numbers", samples}
	case len(l.Values) != len(l.Timestamps):
		return Line{}, &Error{fmt.Sprintf("line has %d values and %d timestamps", len(l.Values), len(l.Timestamps)), samples}
	case samples == 0:
		return Line{}, &Error{"line has no samples", 0}
	}
	if l.Metric, err = parseLabels(object["metric"], extra); err != nil {
		return Line{}, &Error{err.Error(), samples}
	}
	return l, nil
}

func parseFloat(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // VictoriaMetrics stores 1e400 as +Inf
	}
	return v, err
}

// parseArray reads an array of numbers. text is valid JSON, so a piece between commas that begins
// like a number is one, and the pieces of anything else are faults. After an error the array has
// one element for each piece.
func parseArray[T int64 | float64](text json.RawMessage, parse func(string) (T, error)) (array []T, err error) {
	inner, isArray := bytes.CutPrefix(text, []byte("["))
	if !isArray {
		return nil, errors.New("not an array")
	}
	inner = bytes.TrimSpace(bytes.TrimSuffix(inner, []byte("]")))
	if len(inner) == 0 {
		return nil, nil
	}
	array = make([]T, 0, bytes.Count(inner, []byte(","))+1)
	for element := range bytes.SplitSeq(inner, []byte(",")) {
		number := string(bytes.TrimSpace(element))
		v, fault := parse(number)
		if fault == nil && number[0] != '-' && (number[0] < '0' || number[0] > '9') {
			fault = errors.New("not a number") // such as Infinity in an inner string
		}
		if fault != nil {
			err = fault
		}
		array = append(array, v)
	}
	return array, err
}

// parseLabels reads the metric object, adds the extra labels and checks the limits.
func parseLabels(text json.RawMessage, extra map[string]string) (map[string]string, error) {
	var object map[string]any
	if json.Unmarshal(text, &object) != nil {
		return nil, errors.New("metric is not a JSON object")
	}
	metric := make(map[string]string, len(object)+len(extra))
	for name, value := range object {
		if s, ok := value.(string); ok && s != "" {
			metric[name] = s
		}
	}
	maps.Copy(metric, extra)
	switch {
	case len(metric) == 0:
		return nil, errors.New("metric has no labels")
	case len(metric) > MaxLabels:
		return nil, fmt.Errorf("metric has %d labels, more than %d", len(metric), MaxLabels)
	}
	for name, value := range metric {
		switch {
		case len(name) > MaxNameBytes:
			return nil, fmt.Errorf("label name %.20q... is longer than %d bytes", name, MaxNameBytes)
		case len(value) > MaxValueBytes:
			return nil, fmt.Errorf("value of label %q is longer than %d bytes", name, MaxValueBytes)
		}
	}
	return metric, nil
}

// ExtraLabels reads the labels that the parameters of an import add to each of its series:
// extra_label=name=value.
func ExtraLabels(query url.Values) map[string]string {
	extra := map[string]string{}
	for _, arg := range query["extra_label"] {
		if name, value, ok := strings.Cut(arg, "="); ok {
			extra[name] = value
		}
	}
	return extra
}

// Canonical returns the JSON object of the labels, sorted by name and without spaces: equal series
// have equal text.
func Canonical(metric map[string]string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(metric); err != nil { // strings cannot fail
		panic("BUG: encode labels: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Append appends one line with its line end. metric is a JSON object; timestamps (milliseconds
// since 1970) and values have the same length. An infinity or NaN is written as VictoriaMetrics
// does: "Infinity", "-Infinity", null.
func Append(dst []byte, metric string, timestamps []int64, values []float64) []byte {
	dst = append(dst, `{"metric":`...)
	dst = append(dst, metric...)
	dst = append(dst, `,"values":[`...)
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, v)
	}
	dst = append(dst, `],"timestamps":[`...)
	for i, ts := range timestamps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, ts, 10)
	}
	return append(dst, "]}\n"...)
}

// appendFloat writes the shortest text that reads back as the same float.
func appendFloat(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "null"...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}
