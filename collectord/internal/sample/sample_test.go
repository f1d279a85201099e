package sample

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

func namesOf(collectors []Collector) []string {
	var list []string
	for _, c := range collectors {
		list = append(list, c.Name())
	}
	return list
}

// only returns the defaults with no collectors but these.
func only(names ...string) *config.Config {
	cfg := config.Default()
	for _, name := range config.CollectorNames() {
		on := slices.Contains(names, name)
		cfg.Collection.Collectors[name] = config.CollectorConfig{Enabled: &on}
	}
	return &cfg
}

// readingTree returns cfg with the kernel's trees at fs.
func readingTree(cfg *config.Config, fs proc.FS) *config.Config {
	cfg.Collection.ProcfsPath, cfg.Collection.SysfsPath = fs.Proc, fs.Sys
	return cfg
}

func TestNew_MakesTheCollectorsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	all, err := New(&cfg, "dev")
	if err != nil {
		t.Fatal(err)
	}
	got, want := append(namesOf(all), "textfile"), config.CollectorNames() // that one has a package of its own
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("collectors %v, the configuration knows %v", got, want)
	}
	some, err := New(only("load", "cpu"), "dev")
	if got := namesOf(some); err != nil || !slices.Equal(got, []string{"cpu", "load"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNew_ReportsAllFaults(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Disk.AllowedDevices, cfg.Network.Include = []string{"("}, []string{")"}
	_, err := New(&cfg, "dev")
	if err == nil || !strings.Contains(err.Error(), "disk.allowed_devices") || !strings.Contains(err.Error(), "network.include") {
		t.Errorf("got %v", err)
	}
}

// Every sample of every collector on a whole tree is in the table, with the
// kind and the labels it has there, and has the labels of the device.
func TestNew_SamplesAreInTheTable(t *testing.T) {
	t.Parallel()
	for _, tree := range boards {
		h := newHarness(t, NewLoad, tree)
		cfg := config.Default()
		cfg.Services = []string{"belaUI.service"}
		cfg.Device.Labels["site"] = "roof"
		collectors, err := New(readingTree(&cfg, h.fs()), "dev")
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for range 2 {
			for _, c := range collectors {
				h.collector = c
				if _, err := h.tick(); err != nil && !errors.Is(err, proc.ErrNotSupported) {
					t.Errorf("%s of %s: %v", c.Name(), tree, err)
				}
				for _, s := range h.batch.Samples {
					checkSample(t, c.Name(), s)
					found[s.Series.Name] = true
				}
			}
		}
		if len(found) < 30 {
			t.Errorf("%s: only %d metrics: %v", tree, len(found), found)
		}
	}
}

func checkSample(t *testing.T, collector string, s store.Sample) {
	t.Helper()
	i := slices.IndexFunc(Table, func(m metrics.Metric) bool { return m.Name == s.Series.Name })
	if i < 0 {
		t.Errorf("%s is not in the table", s.Series.Name)
		return
	}
	m := Table[i]
	tags, err := store.ParseTags(s.Series.Tags)
	if err != nil {
		t.Error(err)
	}
	var labels []string
	for _, tag := range tags {
		if tag != (store.Tag{Name: "site", Value: "roof"}) {
			labels = append(labels, tag.Name)
		}
	}
	want := slices.Sorted(slices.Values(m.Labels))
	if !slices.Equal(labels, want) || len(tags) != len(want)+1 || s.Series.Device != "dev" || m.Collector != collector {
		t.Errorf("%s of %s: labels %v, the table has %v of %s", m.Name, collector, tags, want, m.Collector)
	}
	if (m.Kind == metrics.Text) != (s.Series.Type == store.Text) {
		t.Errorf("%s: a %s with type %v", m.Name, m.Kind, s.Series.Type)
	}
}

func TestGenerated_HasTheShapeOfTheTable(t *testing.T) {
	t.Parallel()
	at := time.Unix(1795450000, 0)
	for _, kind := range kinds {
		g := newGenerated(kind.name, &Registry{Device: "dev", Labels: map[string]string{"site": "roof"}})
		var first, second, again Batch
		for _, tick := range []struct {
			at  time.Time
			out *Batch
		}{{at, &first}, {at.Add(10 * time.Second), &second}, {at, &again}} {
			if err := g.Collect(tick.at, tick.out); err != nil {
				t.Error(err)
			}
		}
		found := map[string]bool{}
		for _, s := range first.Samples {
			checkSample(t, kind.name, s)
			found[s.Series.Name] = true
		}
		for _, m := range Table {
			if m.Collector == kind.name && !found[m.Name] {
				t.Errorf("no sample of %s", m.Name)
			}
		}
		checkGenerated(t, valuesOf(first.Samples), valuesOf(second.Samples), valuesOf(again.Samples))
	}
}

func checkGenerated(t *testing.T, first, second, again values) {
	t.Helper()
	for key, v := range first {
		number, ok := v.(float64)
		if !ok {
			if _, twice := second[key]; twice {
				t.Errorf("%s is stored again though it did not change", key)
			}
			continue
		}
		next := second[key].(float64)
		switch {
		case again[key] != v:
			t.Errorf("%s at one time is %v and %v", key, v, again[key])
		case strings.Contains(key, "_total") && !strings.Contains(key, "_total_bytes") && next < number:
			t.Errorf("counter %s goes from %v to %v", key, number, next)
		case strings.Contains(key, "_percent") && (number < 0 || number > 100):
			t.Errorf("%s = %v", key, number)
		}
	}
}
