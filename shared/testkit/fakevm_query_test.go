package testkit

import "testing"

func TestParseCountQuery_Faults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`sum`, `sum(count_over_time(a[1m])`, `count_over_time(a[1x])`, `count_over_time(a)`, `rate(a[1m])`,
		`sum(count_over_time({[1m]))`, `sumcount_over_time(a[1m])`, `count_over_time(a[1m]))`,
	} {
		if q, err := parseCountQuery(text); err == nil {
			t.Errorf("parseCountQuery(%q) = %+v, want an error", text, q)
		}
	}
}
