package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"belabox-metrics/shared/config"
)

// span draws a time in whole milliseconds.
func span(t *rapid.T, name string, low, high time.Duration) time.Duration {
	const ms = time.Millisecond
	return time.Duration(rapid.Int64Range(int64(low/ms), int64(high/ms)).Draw(t, name)) * ms
}

// drawConfig draws a valid configuration.
func drawConfig(t *rapid.T) config.Config {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"lo", "wwan.*", "a|b", "eth[0-9]+", `br-\d+`, "'", `"`, "x: y # z"}), 1, 5)
	text := rapid.StringMatching(`[ -~äö日]{0,20}[!-~]`)
	on := rapid.Bool().Draw(t, "on")
	c := config.Default()
	c.Device.ID = rapid.StringMatching(`([a-zA-Z0-9][a-zA-Z0-9._:-]{0,20})?`).Draw(t, "id")
	c.Device.Labels = rapid.MapOfN(rapid.StringMatching(`[a-zA-Z][a-zA-Z0-9_]{0,10}`), text, 0, 20).Draw(t, "labels")
	c.Collection.Interval = span(t, "interval", 100*time.Millisecond, time.Hour)
	c.Collection.Collectors = map[string]config.CollectorConfig{
		rapid.SampledFrom(config.CollectorNames()).Draw(t, "collector"): {
			Enabled: &on, Interval: span(t, "own interval", 100*time.Millisecond, time.Hour),
		},
	}
	c.Collection.IgnoreSensors = names.Draw(t, "ignore")
	c.Network.Include = names.Draw(t, "include")
	c.Network.Exclude = names.Draw(t, "exclude")
	c.Disk.AllowedDevices = names.Draw(t, "devices")
	c.Storage.Path = "/" + rapid.StringMatching(`[a-z .:'"-]{0,20}[a-z]`).Draw(t, "path")
	c.Storage.Retention = span(t, "retention", 0, 87600*time.Hour)
	c.Storage.MaxSizeMB = rapid.Int64Range(65, 1<<20).Draw(t, "size")
	c.Remote.Enabled = rapid.Bool().Draw(t, "enabled")
	c.Remote.Headers = rapid.MapOfN(rapid.StringMatching(`X-[A-Z]{1,5}`), rapid.StringMatching(`[!-~]{0,20}`), 0, 3).Draw(t, "headers")
	c.Remote.BatchSize = rapid.IntRange(50, 100_000).Draw(t, "batch")
	c.Remote.ChunkSize = rapid.IntRange(1, c.Remote.BatchSize).Draw(t, "chunk")
	c.Remote.Retry.Multiplier = float64(rapid.IntRange(4, 40).Draw(t, "quarters")) / 4
	c.Remote.Verify.Settle = span(t, "settle", 15*time.Second, 10*time.Minute)
	c.Health.ErrorThreshold = rapid.Int64Range(5000, 1_000_000_000).Draw(t, "threshold")
	c.Logging.Level = rapid.SampledFrom([]string{"debug", "info", "warn", "error"}).Draw(t, "level")
	return c
}

// What any YAML writer makes of a valid Config is read as the same Config.
func TestParse_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawConfig(t)
		text, err := yaml.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Parse("", text)
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, text)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\nof\n%s", got, want, text)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(config.DefaultYAML())
	for _, text := range []string{
		"", "\uFEFF---\r\n", "device: {id: a}\n---\n", "remote:\n\turl: x\n", "a: &a [*a]\n", "{}{}", "? [a]\n: b", "<<: {}",
		"network: {include: [5, '*', 'a)(b']}", "remote: {url: 'http://u:p@h', tls: {ca_file: /a}}", "remote:\n  url: \"x\n",
		"storage: {retention: 7d, max_size_mb: 1, durability: 5}", "health: {collectord_listen: ':9101'}", "!!map {a: b}",
		"collection: {collectors: {cpu: {enabled: ~}}}", "device: {labels: {\"a\\nb\": \"c\\nd\"}}", "a:\n.\n-\n", "#\n-\n-\n0",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := config.Parse("f", data)
		if err == nil {
			if faults := cfg.Validate(); len(faults) > 0 {
				t.Fatalf("accepted, yet:\n%v", faults)
			}
			return
		}
		faults := err.(config.Faults)
		lines := strings.Count(string(data), "\n") + 1
		for i, fault := range faults {
			if fault.File != "f" || fault.Line < 1 || fault.Line > lines || fault.Message == "" {
				t.Errorf("fault %+v of a file with %d lines", fault, lines)
			}
			if i > 0 && fault.Line < faults[i-1].Line {
				t.Errorf("line %d after line %d", fault.Line, faults[i-1].Line)
			}
		}
		if got := strings.Count(err.Error(), "\n") + 1; got != len(faults) {
			t.Errorf("%d faults on %d lines:\n%v", len(faults), got, err)
		}
	})
}

func FuzzCompileName(f *testing.F) {
	for _, pattern := range []string{"lo", "a|b", "a)(b", `\Qa`, "(?i)x", "docker*", "^$", "(?m)a"} {
		f.Add(pattern, "docker0\nlo")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		re, err := config.CompileName(pattern)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: error on two lines: %v", pattern, err)
			}
			return
		}
		// A whole-name match is one that spans the name.
		if loc := re.FindStringIndex(name); loc != nil && (loc[0] != 0 || loc[1] != len(name)) {
			t.Errorf("%q matches %q only at %v", pattern, name, loc)
		}
	})
}
