package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/config"
)

// TestPackagedFile: what the packages install changes nothing as it comes, and every
// key that it suggests is valid.
func TestPackagedFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "systemd", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, string(text)); !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("got %+v, want the defaults", got)
	}
	suggested := strings.Split(string(text), "\n")
	for i, line := range suggested {
		key, ok := strings.CutPrefix(line, "  # ")
		if !ok {
			continue
		}
		suggested[i] = "  " + key
		if got := parse(t, strings.Join(suggested, "\n")); reflect.DeepEqual(got, config.Default()) {
			t.Errorf("line %d changes nothing: %q", i+1, line)
		}
	}
	if got := len(suggested); got > 60 {
		t.Errorf("%d lines: it is to be a short file, which hardly ever changes", got)
	}
}

func TestDefault_IsValid(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	if faults := cfg.Validate(); len(faults) > 0 {
		t.Errorf("the defaults have faults:\n%v", faults)
	}
}

func TestDefault_SharesNothing(t *testing.T) {
	t.Parallel()
	text := func() string {
		b, err := yaml.Marshal(config.Default())
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + string(config.DefaultYAML())
	}
	before, a := text(), config.Default()
	a.Device.Labels["site"] = "a"
	a.Remote.Headers["X-A"] = "a"
	a.Collection.Collectors["cpu"] = config.CollectorConfig{}
	a.Network.Exclude[0] = "a"
	a.Disk.AllowedDevices[0] = "a"
	config.DefaultYAML()[0] = 'x'
	if got := text(); got != before {
		t.Errorf("a change of one copy changed the defaults: got %s, want %s", got, before)
	}
}

// documented is a key of default.yaml.
type documented struct {
	node  *yaml.Node
	value *yaml.Node
}

// walk collects the keys of a mapping by path, sections included.
func walk(section string, n *yaml.Node, into map[string]documented) {
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(section+"."+key.Value, ".")
		into[path] = documented{key, value}
		if value.Kind == yaml.MappingNode {
			walk(path, value, into)
		}
	}
}

func defaultKeys(t *testing.T) map[string]documented {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(config.DefaultYAML(), &doc); err != nil {
		t.Fatal(err)
	}
	keys := map[string]documented{}
	walk("", doc.Content[0], keys)
	return keys
}

func TestDefaultYAML_HasEveryKeyAndNoOther(t *testing.T) {
	t.Parallel()
	keys := defaultKeys(t)
	for _, l := range allLeaves() {
		if _, ok := keys[l.path]; !ok {
			t.Errorf("default.yaml lacks %s", l.path)
		}
		for path := range keys { // what is left over below is no section either
			if path == l.path || strings.HasPrefix(l.path, path+".") {
				delete(keys, path)
			}
		}
	}
	for path := range keys {
		t.Errorf("default.yaml has %s, which no field reads", path)
	}
}

func TestDefaultYAML_ExplainsEveryKey(t *testing.T) {
	t.Parallel()
	keys := defaultKeys(t)
	for _, l := range allLeaves() {
		if comment := keys[l.path].node.HeadComment; len(comment) < 10 {
			t.Errorf("%s has no comment above it: %q", l.path, comment)
		}
	}
	for i, line := range strings.Split(string(config.DefaultYAML()), "\n") {
		if len(line) > 90 {
			t.Errorf("line %d is longer than 90 bytes", i+1)
		}
		if strings.IndexFunc(line, func(r rune) bool { return r > '~' }) >= 0 {
			t.Errorf("line %d is not ASCII, which a serial console may not show", i+1)
		}
	}
}

func TestDefaultYAML_NamesEveryCollector(t *testing.T) {
	t.Parallel()
	comment := defaultKeys(t)["collection.collectors"].node.HeadComment
	for _, name := range config.CollectorNames() {
		if !strings.Contains(comment, name+",") && !strings.Contains(comment, name+".") {
			t.Errorf("the comment of collection.collectors lacks %s", name)
		}
	}
}

// Examples stand in the comment above their key, five spaces behind the "#".
func examples(comment string) []string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(comment, "\n") {
		text, ok := strings.CutPrefix(line, "#     ")
		switch {
		case ok && inside:
			out[len(out)-1] += "\n" + text
		case ok:
			out = append(out, text)
		}
		inside = ok
	}
	return out
}

func TestDefaultYAML_ExamplesLoad(t *testing.T) {
	t.Parallel()
	needs := map[string]string{ // what an example takes for granted
		"remote.tls.ca_file": "remote:\n  url: https://h/api/v1/import\n",
	}
	tried := 0
	for path, key := range defaultKeys(t) {
		for _, example := range examples(key.node.HeadComment) {
			tried++
			parts := strings.Split(path, ".")
			var b strings.Builder
			sections := parts[:len(parts)-1]
			if prefix, ok := needs[path]; ok {
				b.WriteString(prefix)
				sections = sections[1:]
			} else if len(sections) > 0 {
				b.WriteString(sections[0] + ":\n")
				sections = sections[1:]
			}
			for i, section := range sections {
				b.WriteString(strings.Repeat("  ", i+1) + section + ":\n")
			}
			indent := strings.Repeat("  ", len(parts)-1)
			b.WriteString(indent + strings.ReplaceAll(example, "\n", "\n"+indent) + "\n")
			if cfg := parse(t, b.String()); reflect.DeepEqual(cfg, config.Default()) {
				t.Errorf("the example of %s changes nothing:\n%s", path, b.String())
			}
		}
	}
	if tried < 12 {
		t.Errorf("got %d examples, want those of default.yaml: has their form changed?", tried)
	}
}

func TestDefault_Interfaces(t *testing.T) {
	t.Parallel()
	exclude := config.Default().Network.Exclude
	for name, want := range map[string]bool{
		"lo": true, "docker0": true, "veth12ab": true, "br-0a1b": true, "virbr0": true, "virbr0-nic": true,
		"wlan0mon": true, "wwan0": true, "wwp0s20u4": true, "usb0": true,
		"eth0": false, "enp3s0": false, "end0": false, "wlan0": false, "wlp2s0": false, "br0": false,
		"bond0": false, "wg0": false, "tailscale0": false, "lo1": false, "can0": false,
	} {
		if got := matches(t, exclude, name); got != want {
			t.Errorf("%s excluded: got %v, want %v", name, got, want)
		}
	}
}

// TestDefault_Values are those that were promised to users.
func TestDefault_Values(t *testing.T) {
	t.Parallel()
	c := config.Default()
	for key, v := range map[string]struct{ got, want any }{
		"collection.interval":                     {c.Collection.Interval, 10 * time.Second},
		"network.max_interfaces":                  {c.Network.MaxInterfaces, 32},
		"storage.wal_checkpoint_interval":         {c.Storage.WALCheckpointInterval, time.Hour},
		"storage.wal_checkpoint_size_mb":          {c.Storage.WALCheckpointSizeMB, int64(64)},
		"remote.upload_interval":                  {c.Remote.UploadInterval, time.Minute},
		"remote.batch_size":                       {c.Remote.BatchSize, 2500},
		"remote.chunk_size":                       {c.Remote.ChunkSize, 50},
		"remote.max_chunk_bytes":                  {c.Remote.MaxChunkBytes, int64(256 << 10)},
		"remote.retry.enabled":                    {c.Remote.Retry.Enabled, true},
		"remote.retry.max_attempts":               {c.Remote.Retry.MaxAttempts, 3},
		"remote.retry.initial_backoff":            {c.Remote.Retry.InitialBackoff, time.Second},
		"remote.retry.max_backoff":                {c.Remote.Retry.MaxBackoff, time.Minute},
		"remote.retry.jitter_percent":             {c.Remote.Retry.JitterPercent, 20},
		"health.collectord_listen":                {c.Health.CollectordListen, "127.0.0.1:9100"},
		"health.degraded_threshold":               {c.Health.DegradedThreshold, int64(5000)},
		"health.error_threshold":                  {c.Health.ErrorThreshold, int64(10000)},
		"monitoring.clock_skew_check_interval":    {c.Monitoring.ClockSkewCheckInterval, 5 * time.Minute},
		"monitoring.clock_skew_warn_threshold_ms": {c.Monitoring.ClockSkewWarnThresholdMS, int64(2000)},
		"logging.level":                           {c.Logging.Level, "info"},
		"logging.format":                          {c.Logging.Format, "json"},
	} {
		if v.got != v.want {
			t.Errorf("%s: got %v (%T), want %v (%T)", key, v.got, v.got, v.want, v.want)
		}
	}
}

func TestDefault_Devices(t *testing.T) {
	t.Parallel()
	allowed := config.Default().Disk.AllowedDevices
	for name, want := range map[string]bool{
		"sda": true, "sdaa": true, "hda": true, "vda": true, "xvda": true, "nvme0n1": true, "nvme10n2": true,
		"mmcblk0": true, "mmcblk12": true,
		"sda1": false, "vda1": false, "xvda1": false, "nvme0n1p1": false, "nvme0c0n1": false, "mmcblk0p1": false,
		"mmcblk0boot0": false, "mmcblk0rpmb": false, "loop0": false, "ram0": false, "zram0": false,
		"dm-0": false, "md0": false, "md127": false, "sr0": false, "mtdblock0": false,
	} {
		if got := matches(t, allowed, name); got != want {
			t.Errorf("%s allowed: got %v, want %v", name, got, want)
		}
	}
}

func matches(t *testing.T, patterns []string, name string) bool {
	t.Helper()
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		re, err := config.CompileName(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return re.MatchString(name)
	})
}
