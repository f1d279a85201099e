// Package question reads the two counting questions that shipperd asks of /api/v1/query:
//
//	sum(count_over_time(SELECTOR[WINDOWms]))
//	sum by (__name__) (count_over_time(SELECTOR[WINDOWms]) keep_metric_names)
//
// It promises that nothing else of the query language gets through: whoever may only ask how many samples a device has
// can neither see the data of others nor make the server work for minutes.
package question

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"belabox-metrics/docker/receiver/internal/selector"
)

// MaxWindow bounds the window, in milliseconds: ten years.
const MaxWindow = 3650 * 24 * 3600 * 1000

// Count is one such question.
type Count struct {
	Selector string // as selector.Parse takes it
	WindowMS int64  // 1 to MaxWindow
	ByName   bool   // a count for each metric name
}

const (
	allHead, allTail   = "sum(count_over_time(", "))"
	nameHead, nameTail = "sum by (__name__) (count_over_time(", ") keep_metric_names)"
)

var errOther = errors.New("only shipperd's own questions are answered: " + allHead + "{...}[1000ms]" + allTail)

// Parse reads a question.
func Parse(text string) (Count, error) {
	var c Count
	inner, ok := cut(text, allHead, allTail)
	if !ok {
		if inner, ok = cut(text, nameHead, nameTail); !ok {
			return c, errOther
		}
		c.ByName = true
	}
	at := strings.LastIndexByte(inner, '[')
	if at < 0 {
		return c, errOther
	}
	digits, ok := cut(inner[at:], "[", "ms]")
	if !ok || strings.Trim(digits, "0123456789") != "" {
		return c, errOther
	}
	var err error
	if c.WindowMS, err = strconv.ParseInt(digits, 10, 64); err != nil || c.WindowMS < 1 || c.WindowMS > MaxWindow {
		return c, fmt.Errorf("the window is not 1 to %d ms", int64(MaxWindow))
	}
	c.Selector = inner[:at]
	if _, err := selector.Parse(c.Selector); err != nil {
		return c, err
	}
	return c, nil
}

func cut(text, head, tail string) (string, bool) {
	text, begins := strings.CutPrefix(text, head)
	text, ends := strings.CutSuffix(text, tail)
	return text, begins && ends
}

// String returns the question in the query language.
func (c Count) String() string {
	inner := fmt.Sprintf("%s[%dms]", c.Selector, c.WindowMS)
	if c.ByName {
		return nameHead + inner + nameTail
	}
	return allHead + inner + allTail
}
