package victoria

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"belabox-metrics/shared/store"
)

// lineParser reads exported lines. It keeps its slices between them.
type lineParser struct {
	labels     []store.Tag // sorted by name
	timestamps []int64

	metric []byte // the text of labels
}

var errMalformed = errors.New("malformed")

// parse reads one line: an object with metric, values and timestamps, all of
// them, and as many values as timestamps. A line that lacks its end is an error.
func (p *lineParser) parse(text []byte) error {
	c := cursor{text}
	var have [3]bool
	values := 0
	p.timestamps = p.timestamps[:0]
	once := func(i int) error {
		if have[i] {
			return errors.New("a field appears twice")
		}
		have[i] = true
		return nil
	}
	err := c.object(func(key string) (err error) {
		switch key {
		case "metric":
			if err = once(0); err == nil {
				err = p.readLabels(&c)
			}
		case "values":
			if err = once(1); err == nil {
				values, err = c.count()
			}
		case "timestamps":
			if err = once(2); err == nil {
				p.timestamps, err = c.integers(p.timestamps)
			}
		default:
			_, err = c.value()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case len(c.rest) > 0:
		return fmt.Errorf("%w: something follows the object", errMalformed)
	case have != [3]bool{true, true, true}:
		return errors.New("metric, values or timestamps is missing")
	case values != len(p.timestamps):
		return fmt.Errorf("%d values, %d timestamps", values, len(p.timestamps))
	}
	return nil
}

// readLabels reads the metric object. Lines of one series often follow each
// other.
func (p *lineParser) readLabels(c *cursor) error {
	text, err := c.value()
	if err != nil || bytes.Equal(text, p.metric) {
		return err
	}
	var labels map[string]string
	if err := json.Unmarshal(text, &labels); err != nil {
		return fmt.Errorf("metric: %w", err)
	}
	if labels == nil {
		return errors.New("metric is null")
	}
	p.metric = append(p.metric[:0], text...)
	p.labels = p.labels[:0]
	for name, value := range labels {
		p.labels = append(p.labels, store.Tag{Name: name, Value: value})
	}
	slices.SortFunc(p.labels, func(a, b store.Tag) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// cursor walks over JSON. It checks only what it needs to find the end of each element, because
// its purpose is to detect a truncated text.
type cursor struct{ rest []byte }

// take moves over ch and the white space around it.
func (c *cursor) take(ch byte) bool {
	c.space()
	if len(c.rest) == 0 || c.rest[0] != ch {
		return false
	}
	c.rest = c.rest[1:]
	c.space()
	return true
}

func (c *cursor) space() {
	for len(c.rest) > 0 && (c.rest[0] == ' ' || c.rest[0] == '\t' || c.rest[0] == '\r' || c.rest[0] == '\n') {
		c.rest = c.rest[1:]
	}
}

// object calls member for each key, with the cursor before its value.
func (c *cursor) object(member func(key string) error) error {
	if !c.take('{') {
		return fmt.Errorf("%w: no object", errMalformed)
	}
	if c.take('}') {
		return nil
	}
	for {
		key, err := c.value()
		if err != nil || key[0] != '"' || !c.take(':') {
			return fmt.Errorf("%w: no key", errMalformed)
		}
		if err := member(string(key[1 : len(key)-1])); err != nil {
			return err
		}
		switch {
		case c.take('}'):
			return nil
		case !c.take(','):
			return fmt.Errorf("%w: no end of the object", errMalformed)
		}
	}
}

// array calls element with the cursor before each element.
func (c *cursor) array(element func() error) error {
	if !c.take('[') {
		return fmt.Errorf("%w: no array", errMalformed)
	}
	if c.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch {
		case c.take(']'):
			return nil
		case !c.take(','):
			return fmt.Errorf("%w: no end of the array", errMalformed)
		}
	}
}

// count returns the number of elements of an array.
func (c *cursor) count() (n int, err error) {
	err = c.array(func() error {
		n++
		_, err := c.value()
		return err
	})
	return n, err
}

// integers appends the elements of an array.
func (c *cursor) integers(dst []int64) ([]int64, error) {
	err := c.array(func() error {
		text, err := c.value()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return fmt.Errorf("timestamp %q", text)
		}
		dst = append(dst, n)
		return nil
	})
	return dst, err
}

// value moves over any value and returns its text.
func (c *cursor) value() ([]byte, error) {
	start := c.rest
	if len(start) == 0 {
		return nil, fmt.Errorf("%w: it ends early", errMalformed)
	}
	end := 0
	switch start[0] {
	case '"':
		end = stringEnd(start)
	case '{', '[':
		end = nestEnd(start)
	default:
		for end < len(start) && strings.IndexByte(`,]}: "[{`+"\t\r\n", start[end]) < 0 {
			end++
		}
	}
	if end <= 0 {
		return nil, fmt.Errorf("%w: no value", errMalformed)
	}
	c.rest = start[end:]
	return start[:end], nil
}

// stringEnd returns where a string ends, -1 if it does not.
func stringEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// nestEnd returns where an object or array ends, -1 if it does not.
func nestEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			end := stringEnd(text[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
