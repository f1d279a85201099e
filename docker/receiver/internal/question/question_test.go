package question

import (
	"strings"
	"testing"

	"belabox-metrics/docker/receiver/internal/selector"
)

func TestParse(t *testing.T) {
	t.Parallel()
	f := func(text string, want Count) {
		t.Helper()
		got, err := Parse(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v (%s), %v", text, got, got, err)
		}
	}
	f(`sum(count_over_time({device_id="d"}[60000ms]))`, Count{`{device_id="d"}`, 60000, false})
	f(`sum(count_over_time(m[1ms]))`, Count{`m`, 1, false})
	f(`sum by (__name__) (count_over_time({device_id="d",__name__=~"a|b"}[5ms]) keep_metric_names)`,
		Count{`{device_id="d",__name__=~"a|b"}`, 5, true})
	f(`sum(count_over_time({a="[1ms]))"}[2ms]))`, Count{`{a="[1ms]))"}`, 2, false})
}

// What is more than a count is refused, however it is dressed up.
func TestParse_Refused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "1", "m", `{device_id="d"}`, `sum(m)`,
		`sum(count_over_time({device_id="d"}[60s]))`,
		`sum(count_over_time({device_id="d"}[0ms]))`,
		`sum(count_over_time({device_id="d"}[-1ms]))`,
		`sum(count_over_time({device_id="d"}[ms]))`,
		`sum(count_over_time({device_id="d"}[99999999999999999999ms]))`,
		`sum(count_over_time({device_id="d"}[999999999999999ms]))`,
		`sum(count_over_time({}[1ms]))`,
		`sum(count_over_time({device_id="d"}[1ms:1ms]))`,
		`sum(count_over_time({device_id="d"}[1ms] offset 1d))`,
		`sum(count_over_time({device_id="d"}[1ms])) + sum(count_over_time({device_id="e"}[1ms]))`,
		`sum(count_over_time({device_id="d"} or {device_id="e"}[1ms]))`,
		`sum(count_over_time({device_id="d" or device_id="e"}[1ms]))`,
		`sum(count_over_time(sum({device_id="d"})[1ms]))`,
		`sum by (__name__) (count_over_time({device_id="d"}[1ms]))`,
		`sum by (device_id) (count_over_time({device_id="d"}[1ms]) keep_metric_names)`,
		`sum(count_over_time({device_id="d"}[1ms])) # {a="b"}[1ms]))`,
		"sum(count_over_time({device_id=\"d\"}\n# [1ms]))\n[1ms]))",
		` sum(count_over_time({device_id="d"}[1ms]))`,
	} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%s: got %+v, want an error", text, got)
		}
	}
}

// Whatever is taken is one of the two questions about a selector, and says the same when it is read again.
func FuzzParse(f *testing.F) {
	f.Add(`sum(count_over_time({device_id="d"}[60000ms]))`)
	f.Add(`sum by (__name__) (count_over_time({device_id="d",__name__=~"a|b"}[5ms]) keep_metric_names)`)
	f.Add(`sum(count_over_time({a="}[1ms]))", b='\'', c=` + "`x`" + `}[2ms]))`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if c.WindowMS < 1 || c.WindowMS > MaxWindow {
			t.Errorf("window %d", c.WindowMS)
		}
		if _, err := selector.Parse(c.Selector); err != nil {
			t.Errorf("selector %q: %v", c.Selector, err)
		}
		again, err := Parse(c.String())
		if err != nil || again != c {
			t.Errorf("%q: read again %+v, %v; want %+v", c, again, err, c)
		}
		if !strings.HasPrefix(text, "sum") {
			t.Errorf("%q was taken", text)
		}
	})
}
