package victoria

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
)

// Count returns how many samples the server has of the series that sel picks,
// from fromMS to toMS, both inclusive, to the millisecond. A sample that is
// stored twice counts twice, unless the server deduplicates. Samples of the last
// seconds may not be visible yet.
//
// The error is an *Error, and ErrNotSupported if the server has no queries, like the project's
// receiver.
func (c *Client) Count(ctx context.Context, sel Selector, fromMS, toMS int64) (total int64, err error) {
	for _, part := range sel.within(fromMS, toMS) {
		// [w] at time t is what lies after t-w up to t.
		n, err := c.query(ctx, fmt.Sprintf("sum(count_over_time(%s[%dms]))", part, toMS-fromMS+1), toMS)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// query runs an instant query that counts. nocache keeps the server from answering for an earlier
// time than the one queried, which it does for the last 30 s (-search.latencyOffset).
func (c *Client) query(ctx context.Context, promql string, atMS int64) (int64, error) {
	x, err := c.read(ctx, "query", c.queryURL, url.Values{"query": {promql}, "time": {seconds(atMS)}, "nocache": {"1"}}, false)
	if err != nil {
		return 0, err
	}
	defer x.end()
	body, fail := x.readReply()
	if fail != nil {
		return 0, fail
	}
	total, err := parseCount(body)
	if err != nil {
		return 0, x.distrust("the answer to a query: %w", err)
	}
	// Only servers that answer queries in the form of Prometheus get here.
	x.noteTime(Reading, true)
	return total, nil
}

// parseCount reads the answer to an instant query.
// https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
func parseCount(body []byte) (total int64, err error) {
	var in struct {
		Status    string
		IsPartial bool
		Data      struct {
			ResultType string
			Result     []struct {
				Value [2]json.RawMessage // Unix seconds, the value as text
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return 0, err
	}
	switch {
	case in.Status != "success":
		return 0, fmt.Errorf("status %q", in.Status)
	case in.IsPartial:
		return 0, fmt.Errorf("only a part of the cluster has answered")
	case in.Data.ResultType != "vector":
		return 0, fmt.Errorf("%q is not a vector", in.Data.ResultType)
	}
	for _, r := range in.Data.Result {
		var text string
		if err := json.Unmarshal(r.Value[1], &text); err != nil {
			return 0, fmt.Errorf("value %q: %w", r.Value[1], err)
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 || n != math.Trunc(n) || n > 1<<53 {
			return 0, fmt.Errorf("%q is not a count", text)
		}
		total += int64(n)
	}
	return total, nil
}
