package e2e

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// own is one daemon with the table of its own numbers.
type ownTable struct {
	daemon string
	table  []*metrics.Metric
	port   string
}

// seriesOf returns the names under which the server has a metric.
func seriesOf(m *metrics.Metric) []string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Kind == metrics.Histogram {
		return []string{name + "_bucket", name + "_sum", name + "_count"}
	}
	return []string{name}
}

var (
	pageLine  = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	pageLabel = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// readPage reads a page of metrics into series and values.
func readPage(t testing.TB, text string) map[string]float64 {
	t.Helper()
	page := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := pageLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("/metrics has the line %q", line)
		}
		labels := map[string]string{"__name__": m[1]}
		for _, l := range pageLabel.FindAllStringSubmatch(m[2], -1) {
			labels[l[1]] = l[2]
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("/metrics has the line %q: %v", line, err)
		}
		page[testkit.SeriesKey(labels)] = value
	}
	return page
}

func scrape(t testing.TB, base string) map[string]float64 {
	t.Helper()
	code, text := get(t, base+"/metrics")
	if code != 200 {
		t.Fatalf("%s/metrics: %d %s", base, code, text)
	}
	return readPage(t, text)
}

// total adds up the series of a name.
func total(page map[string]float64, name string) (sum float64) {
	for series, value := range page {
		if strings.HasPrefix(series, name+"{") {
			sum += value
		}
	}
	return sum
}

// fillPending stores numbers, each beside a text that takes 4 KiB of the budget.
func (r *rig) fillPending(from time.Time, ticks int) {
	r.t.Helper()
	ctx := context.Background()
	in, err := store.OpenInserter(ctx, store.Options{Path: r.db, Daemon: "collectord", Version: "e2e"}, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	number := store.NewSeries(r.device, "filled.number", store.Number)
	text := store.NewSeries(r.device, "filled.text", store.Text)
	long := strings.Repeat("x", 4<<10)
	for tick := range ticks {
		_, err := in.Insert(ctx, from.Add(time.Duration(tick)*time.Second), []store.Sample{
			{Series: number, Value: float64(tick)}, {Series: text, Text: long},
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if err := in.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// mustGrow are the totals that the story of TestOwnMetrics makes grow.
var mustGrow = map[string][]string{
	"collectord": {
		"collector_metrics_collected_total", "collector_collection_duration_seconds_count", "storage_wal_bytes_reclaimed",
		"storage_database_size_bytes", "storage_metrics_dropped_total",
	},
	"shipperd": {
		"uploader_metrics_uploaded_total", "uploader_upload_failures_total", "uploader_upload_duration_seconds_count",
		"uploader_partial_success_total", "uploader_bytes_sent_total", "uploader_bytes_received_total",
		"uploader_metrics_verified_total", "uploader_metrics_requeued_total", "uploader_metrics_rejected_total",
		"time_skew_ms",
	},
}

// TestOwnMetrics: each of the daemons' own numbers is on the page of the right
// daemon, reaches the server with the value of that page, and its totals go on
// over a stop and over a kill.
func TestOwnMetrics(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	front := startFaultyServer(t, vm.URL())
	r := newRig(t, front.URL+"/api/v1/import", nil)
	r.set("storage", "max_size_mb: 16\nwal_checkpoint_size_mb: 1")
	r.set("remote", "monthly_budget_mb: 100000\nretry:\n  max_attempts: 1\n  initial_backoff: 100ms\n  max_backoff: 100ms")
	r.set("monitoring", "clock_skew_url: "+startClock(t, time.Hour))
	r.fillPending(time.Now().Add(-3*time.Hour), 7000)
	yesterday := time.Now().Unix()/86400 - 1 // by which a forecast goes, also in the first hour of a day
	r.exec(fmt.Sprintf("INSERT INTO traffic (day, sent, received) VALUES (%d, 1000, 1000)", yesterday))

	daemons := []*ownTable{{"collectord", metrics.Collectord, ""}, {"shipperd", metrics.Shipperd, ""}}
	procs := map[string]*testkit.Proc{}
	start := func(d *ownTable) {
		procs[d.daemon] = r.start(map[string]string{"collectord": r.bins.Collectord, "shipperd": r.bins.Shipperd}[d.daemon])
		d.port = healthAddress(procs[d.daemon], d.daemon)
	}
	// Everything happens once. There is more than the budget allows, and while
	// nobody ships collectord drops it.
	start(daemons[0])
	testkit.Eventually(t, testkit.WaitLimit, "collectord to drop samples", func() bool {
		return total(scrape(t, daemons[0].port), "storage_metrics_dropped_total") > 0
	})
	start(daemons[1])
	testkit.Eventually(t, testkit.WaitLimit, "all numbers to be there, and those to grow that must", func() error {
		for _, d := range daemons {
			page := scrape(t, d.port)
			for _, name := range mustGrow[d.daemon] {
				if total(page, name) == 0 {
					return fmt.Errorf("%s: no %s above 0", d.daemon, name)
				}
			}
			if missing := missingNames(d.table, page); len(missing) > 0 {
				return fmt.Errorf("%s: no %v", d.daemon, missing)
			}
		}
		return nil
	})
	before := map[string]map[string]float64{}
	for _, d := range daemons {
		before[d.daemon] = scrape(t, d.port)
		if unknown := unknownNames(d.table, before[d.daemon]); len(unknown) > 0 {
			t.Errorf("%s tells %v, which are not in its table", d.daemon, unknown)
		}
		r.stopDaemon(procs[d.daemon])
	}

	// The first tick of a run has the agent's numbers in it: those of shipperd as
	// it left them, for it starts after that.
	rows := r.count("SELECT count(*) FROM metric_rows WHERE name = 'time.skew_ms'")
	start(daemons[0])
	testkit.Eventually(t, testkit.WaitLimit, "the agent's numbers in the file", func() bool {
		return r.count("SELECT count(*) FROM metric_rows WHERE name = 'time.skew_ms'") > rows
	})
	start(daemons[1])
	var after map[string]map[string]float64
	testkit.Eventually(t, testkit.WaitLimit, "the server to have each of them", func() error {
		after = map[string]map[string]float64{}
		for _, d := range daemons {
			after[d.daemon] = scrape(t, d.port)
		}
		return r.compareOwn(vm, daemons, before, after)
	})
	for _, histogram := range []string{"collector_collection_duration_seconds", "uploader_upload_duration_seconds"} {
		got, err := vm.Query(fmt.Sprintf("histogram_quantile(0.5, sum(%s_bucket{device_id=%q}) by (le))", histogram, r.device), time.Now())
		if err != nil || len(got) != 1 || got[0].Value <= 0 || got[0].Value > 30 {
			t.Errorf("the median of %s: got %v, %v", histogram, got, err)
		}
	}

	// A kill costs what was counted since the last save, not the totals.
	for _, d := range daemons {
		procs[d.daemon].Kill()
	}
	for _, d := range daemons {
		start(d)
		page := scrape(t, d.port)
		for _, name := range mustGrow[d.daemon] {
			if now, then := total(page, name), total(before[d.daemon], name); strings.HasSuffix(name, "_total") && now < then {
				t.Errorf("%s after a kill: %v, want at least the %v of the last stop", name, now, then)
			}
		}
		r.stopDaemon(procs[d.daemon])
	}
}

// comesAndGoes is the metric that a success ends: any upload of this test can fail, or be the first
// that does not.
var comesAndGoes = &metrics.UploadFailing

func missingNames(table []*metrics.Metric, page map[string]float64) (missing []string) {
	for _, m := range table {
		if m == comesAndGoes {
			continue
		}
		for _, name := range seriesOf(m) {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(page)), func(s string) bool { return strings.HasPrefix(s, name+"{") }) {
				missing = append(missing, name)
			}
		}
	}
	return missing
}

func unknownNames(table []*metrics.Metric, page map[string]float64) (unknown []string) {
	var known []string
	for _, m := range table {
		known = append(known, seriesOf(m)...)
	}
	for series := range page {
		name, _, _ := strings.Cut(series, "{")
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// compareOwn asks the server for every series that the pages had before the
// restart. A total must lie between the pages of before and after, a gauge must
// be one that can be.
func (r *rig) compareOwn(vm *testkit.VM, daemons []*ownTable, before, after map[string]map[string]float64) error {
	for _, d := range daemons {
		for _, m := range d.table {
			if m == comesAndGoes {
				continue
			}
			for _, name := range seriesOf(m) {
				got, err := vm.Query(fmt.Sprintf("%s{device_id=%q}", name, r.device), time.Now())
				if err != nil {
					return err
				}
				have := map[string]float64{}
				for _, s := range got {
					delete(s.Metric, "device_id")
					have[testkit.SeriesKey(s.Metric)] = s.Value
				}
				for series, low := range before[d.daemon] {
					if !strings.HasPrefix(series, name+"{") {
						continue
					}
					value, ok := have[series]
					if !ok {
						return fmt.Errorf("the server has no %s", series)
					}
					const digits = 1e-11 // the server keeps 12 to 15
					if high := after[d.daemon][series]; m.Kind != metrics.Gauge && (value < low*(1-digits) || value > high*(1+digits)) {
						return fmt.Errorf("the server has %s = %v, want between %v and %v", series, value, low, high)
					}
					if err := plausible(m, value); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// plausible checks a gauge of this test by what it can be.
func plausible(m *metrics.Metric, value float64) error {
	limits, ok := map[*metrics.Metric][2]float64{
		&metrics.DatabaseSize:       {1 << 20, 64 << 20},
		&metrics.WALSize:            {0, 64 << 20},
		&metrics.CheckpointDuration: {0, 10_000},
		&metrics.Pending:            {0, 5000},
		&metrics.OldestPending:      {0, 4 * 3600},
		&metrics.Skew:               {3_599_000, 3_601_000},
		&metrics.ClockSynchronised:  {0, 1},
		&metrics.LinkMonth:          {1, 1 << 30},
		&metrics.LinkForecast:       {1, 1 << 50},
		&metrics.LinkBudgetUsed:     {0, 1},
		&metrics.LinkInterval:       {0.1, 300},
		&metrics.LinkInterface:      {1, 1},
	}[m]
	switch {
	case m.Kind != metrics.Gauge:
		return nil
	case !ok:
		return fmt.Errorf("%s: this test does not say what it can be", m.Name)
	case value < limits[0] || value > limits[1]:
		return fmt.Errorf("%s = %v, want between %v and %v", m.Name, value, limits[0], limits[1])
	}
	return nil
}
