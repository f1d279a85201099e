package victoria_test

import (
	"maps"
	"testing"

	"belabox-metrics/shipperd/internal/victoria"
)

// TestFlags_VictoriaMetrics reads the flags of a real server, which also accepts the probe.
func TestFlags_VictoriaMetrics(t *testing.T) {
	t.Parallel()
	_, c := start(t, "-retentionPeriod=2d")
	p, err := c.Probe(t.Context())
	if err != nil || p.Stage != victoria.StageDone || p.Status != 204 || p.Date.IsZero() {
		t.Errorf("got %+v, %v", p, err)
	}
	got, err := c.Flags(t.Context(), "retentionPeriod", "dedup.minScrapeInterval")
	if want := map[string]string{"retentionPeriod": "2d", "dedup.minScrapeInterval": "0s"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
