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
		err := c.query(ctx, "sum(count_over_time("+part.String()+window(fromMS, toMS)+"))", toMS, false, func(_ string, n int64) { total += n })
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// CountByName is Count for each metric name by itself. Names without a sample
// are not in the map.
func (c *Client) CountByName(ctx context.Context, sel Selector, fromMS, toMS int64) (map[string]int64, error) {
	counts := map[string]int64{}
	for _, part := range sel.within(fromMS, toMS) {
		err := c.query(ctx, "sum by (__name__) (count_over_time("+part.String()+window(fromMS, toMS)+") keep_metric_names)", toMS, true,
			func(name string, n int64) { counts[name] += n })
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// window: [w] at time t is what lies after t-w up to t.
func window(fromMS, toMS int64) string { return fmt.Sprintf("[%dms]", toMS-fromMS+1) }

// query runs an instant query that counts, and calls add for each result.
// nocache keeps the server from answering for an earlier time than the one
// queried, which it does for the last 30 s (-search.latencyOffset).
func (c *Client) query(ctx context.Context, promql string, atMS int64, zip bool, add func(name string, n int64)) error {
	x, err := c.read(ctx, "query", c.queryURL, url.Values{"query": {promql}, "time": {seconds(atMS)}, "nocache": {"1"}}, zip)
	if err != nil {
		return err
	}
	defer x.end()
	body, fail := x.readReply()
	if fail != nil {
		return fail
	}
	if err := parseCounts(body, add); err != nil {
		return x.distrust("the answer to a query: %w", err)
	}
	// Only servers that answer queries in the form of Prometheus get here.
	x.noteTime(Reading, true)
	return nil
}

// parseCounts reads the answer to an instant query.
// https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
func parseCounts(body []byte, add func(name string, n int64)) error {
	var in struct {
		Status    string
		IsPartial bool
		Data      struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]json.RawMessage // Unix seconds, the value as text
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	switch {
	case in.Status != "success":
		return fmt.Errorf("status %q", in.Status)
	case in.IsPartial:
		return fmt.Errorf("only a part of the cluster has answered")
	case in.Data.ResultType != "vector":
		return fmt.Errorf("%q is not a vector", in.Data.ResultType)
	}
	for _, r := range in.Data.Result {
		var text string
		if err := json.Unmarshal(r.Value[1], &text); err != nil {
			return fmt.Errorf("value %q: %w", r.Value[1], err)
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 || n != math.Trunc(n) || n > 1<<53 {
			return fmt.Errorf("%q is not a count", text)
		}
		add(r.Metric["__name__"], int64(n))
	}
	return nil
}
