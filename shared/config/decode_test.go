package config_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

// wrongType returns a value that no key of type typ takes.
func wrongType(typ reflect.Type) string {
	if typ.Kind() == reflect.Map {
		return "[a]"
	}
	return "{a: b}"
}

func TestParse_EveryKeyRefusesAWrongType(t *testing.T) {
	t.Parallel()
	for _, l := range allLeaves() {
		for _, value := range []string{wrongType(l.typ), "!!str x", "&a x"} {
			text, line := nested(l.path, value)
			faults := faultsOf(t, text)
			want := []string{fmt.Sprintf("%d %s", line, l.path)}
			if got := places(faults); !slices.Equal(got, want) {
				t.Errorf("%s: %s: got\n%v\nwant %q", l.path, value, faults, want)
			}
		}
	}
}

// One file with a fault in every key there is: none hides another.
func TestParse_AllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	var want []string
	line := 0
	var open []string
	for _, l := range allLeaves() {
		parts := strings.Split(l.path, ".")
		for i, section := range parts[:len(parts)-1] {
			if i < len(open) && open[i] == section {
				continue
			}
			open = append(open[:i:i], section)
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), section)
			line++
		}
		open = open[:len(parts)-1]
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", len(parts)-1), parts[len(parts)-1], wrongType(l.typ))
		line++
		want = append(want, fmt.Sprintf("%d %s", line, l.path))
	}
	faults := faultsOf(t, b.String())
	if got := places(faults); !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%s\nin\n%s", faults, strings.Join(want, "\n"), b.String())
	}
	if lines := strings.Count(faults.Error(), "\n") + 1; lines != len(want) {
		t.Errorf("got %d lines, want %d", lines, len(want))
	}
}

func TestParse_FaultsOfEveryKindAtOnce(t *testing.T) {
	t.Parallel()
	faults := faultsOf(t, `# a comment
device:
  id: "no spaces"
  labels: {site: 7, device_id: x, "a b": c, ok: fine}
colection:
  interval: 10s
network:
  exclude:
    - 'lo'
    - '('
    - 5
    - docker*
  max_interfaces: many
storage:
  path: metrics.db
  retention: 7d
  retention: 24h
  durability: 10
remote:
  url: http://user:hunter2@host/api/v1/import
  chunk_size: 5000
  retry: {max_attempts: 0, multiplier: .inf}
  retry_max: 1
health:
  shipperd_listen: 127.0.0.1:9100
  health: yes
logging: json
---
more: 1
`)
	want := []string{
		"3 device.id",
		"4 device.labels.device_id",
		"4 device.labels.site",
		`4 device.labels["a b"]`,
		"5 colection",
		"10 network.exclude[1]",
		"11 network.exclude[2]",
		"12 network.exclude[3]",
		"13 network.max_interfaces",
		"15 storage.path",
		"16 storage.retention", // the value
		"17 storage.retention", // doubled
		"18 storage.durability",
		"20 remote.url",
		"21 remote.chunk_size",
		"22 remote.retry.max_attempts",
		"22 remote.retry.multiplier",
		"23 remote.retry_max",
		"25 health.shipperd_listen",
		"26 health.health",
		"27 logging",
		"28",
	}
	if got := places(faults); !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%s", faults, strings.Join(want, "\n"))
	}
}

func TestParse_Scalars(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ key, value, message string }{
		{"device.id", "12", "want text, got a number: put it in quotes"},
		{"device.id", "1.5", "want text, got a number: put it in quotes"},
		{"device.id", "true", "want text, got true or false: put it in quotes"},
		{"device.id", "2024-01-02", "want text, got a date: put it in quotes"},
		{"device.id", "", "has no value: delete the key to take the default"},
		{"device.id", "~", "has no value: delete the key to take the default"},
		{"device.id", "[a]", "want one value, got a list"},
		{"remote.enabled", "yes", `want true or false, got "yes"`},
		{"remote.enabled", `"true"`, `want true or false, got "true"`},
		{"remote.enabled", "1", "want true or false, got 1"},
		{"remote.batch_size", "1e3", "want a whole number, got 1e3"},
		{"remote.batch_size", "2500.0", "want a whole number, got 2500.0"},
		{"remote.batch_size", `"50"`, `want a whole number, got "50"`},
		{"remote.batch_size", "0x10", "want a whole number, got 0x10"},
		{"remote.batch_size", "010", "want a whole number, got 010"},
		{"remote.batch_size", "1_000", "want a whole number, got 1_000"},
		{"remote.batch_size", "64MB", `want a whole number, got "64MB"`},
		{"remote.batch_size", "99999999999999999999", "number out of range: 99999999999999999999"},
		{"remote.batch_size", "18446744073709551615", "number out of range: 18446744073709551615"},
		{"remote.batch_size", strings.Repeat("9", 100), "number out of range: " + strings.Repeat("9", 60) + "…"},
		{"remote.retry.multiplier", "two", `want a number such as 1.5, got "two"`},
		{"remote.retry.multiplier", ".nan", "want a number such as 1.5, got .nan"},
		{"remote.retry.multiplier", "1e1", "want a number such as 1.5, got 1e1"},
		{"remote.retry.multiplier", strings.Repeat("9", 400), `want a number such as 1.5, got "` + strings.Repeat("9", 60) + `…"`},
		{"remote.timeout", "30", "30 has no unit: write 30s, 30m or 30h"},
		{"remote.timeout", "1.5", "1.5 has no unit: write 1.5s, 1.5m or 1.5h"},
		{"remote.timeout", `"30"`, "30 has no unit: write 30s, 30m or 30h"},
		{"remote.timeout", "7d", "7d: the largest unit is the hour, write 168h"},
		{"remote.timeout", "2w", "2w: the largest unit is the hour, write 336h"},
		{"remote.timeout", "soon", `want a time such as 500ms, 10s, 5m or 24h, got "soon"`},
		{"remote.timeout", "10 s", `want a time such as 500ms, 10s, 5m or 24h, got "10 s"`},
		{"remote.timeout", "true", `want a time such as 500ms, 10s, 5m or 24h, got "true"`},
		{"remote.timeout", `"a\nb"`, `want a time such as 500ms, 10s, 5m or 24h, got "a\nb"`},
		{"remote.timeout", "99999999h", `want a time such as 500ms, 10s, 5m or 24h, got "99999999h"`},
		{"remote.timeout", "{}", "want one value, got keys with values"},
		{"network.exclude", "lo", "want a list, got text"},
		{"network.exclude", "", "has no value: write [] for an empty list, or delete the key to take the default"},
		{"device.labels", "site", `want lines of "key: value", got text`},
		{"collection.collectors.cpu.enabled", "", "has no value: delete the key to take the default"},
		{"collection.collectors.cpu.enabled", "on", `want true or false, got "on"`},
		{"collection.collectors.cpu", "false", `want lines of "key: value", got true or false`},
	} {
		text, line := nested(tc.key, tc.value)
		want := fmt.Sprintf("test.yaml:%d: %s: %s", line, tc.key, tc.message)
		if got := faultsOf(t, text).Error(); got != want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", tc.key, tc.value, got, want)
		}
	}
}

func TestParse_ScalarsThatAreFine(t *testing.T) {
	t.Parallel()
	cfg := parse(t, `
device: {id: 'n0', labels: {a: "7", b: no, c: 'true', d: <<}}
collection: {interval: "1m30s", collectors: {cpu: {enabled: TRUE}}}
network: {include: [], exclude: []}
storage: {durability: 0, retention: 0s}
remote: {enabled: False, retry: {multiplier: 1.5}, catch_up_bytes_per_second: 0, batch_size: +100}
`)
	want := config.Default()
	want.Device.ID = "n0"
	want.Device.Labels = map[string]string{"a": "7", "b": "no", "c": "true", "d": "<<"}
	want.Collection.Interval = 90 * time.Second
	on := true
	want.Collection.Collectors["cpu"] = config.CollectorConfig{Enabled: &on}
	want.Network.Exclude = []string{}
	want.Storage.Durability, want.Storage.Retention = 0, 0
	want.Remote.Enabled = false
	want.Remote.Retry.Multiplier = 1.5
	want.Remote.BatchSize = 100
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestParse_Keys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"doubled":         {"device:\n  id: a\n  id: a\n", "3: device.id: already set on line 2"},
		"doubled section": {"device:\n  id: a\nlogging:\ndevice:\n", "4: device: already set on line 1"},
		"doubled label":   {"device:\n  labels:\n    a: x\n    'a': y\n", "4: device.labels.a: already set on line 3"},
		"merge":           {"device:\n  <<: {id: a}\n", "2: device: a key is plain text; merges (<<), anchors (&), aliases (*) and tags (!) are not supported"},
		"list as key":     {"? [a]\n: b\n", "1: a key is plain text; merges (<<), anchors (&), aliases (*) and tags (!) are not supported"},
		"tagged key":      {"device:\n  !!str id: a\n", "2: device: a key is plain text; merges (<<), anchors (&), aliases (*) and tags (!) are not supported"},
		"number as key":   {"1: a\n", "1: 1: unknown key"},
		"key with a line": {"\"a\\nb\": 1\n", `1: ["a\nb"]: unknown key`},
		"empty key":       {"? \n: 1\n", `1: [""]: unknown key`},
		"anchor":          {"device: &x\n  id: a\n", "1: device: anchors and aliases (& and *) are not supported: write the value out"},
		"tag":             {"remote:\n  enabled: !!bool true\n", "2: remote.enabled: YAML tags (!) are not supported"},
		"root is a list":  {"- a\n- b\n", `1: want lines of "key: value", got a list`},
		"root is text":    {"# x\nhello\n", `2: want lines of "key: value", got text`},
	} {
		if got, want := faultsOf(t, tc.text).Error(), "test.yaml:"+tc.want; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestParse_DidYouMean(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"remote.tmeout":                       "remote.timeout",
		"remote.uploadInterval":               "remote.upload_interval",
		"remote.upload-interval":              "remote.upload_interval",
		"remote.auth_token":                   "remote.auth_token_file",
		"remote.basic_auth.password":          "remote.basic_auth.password_file",
		"remote.delay":                        "remote.verify.delay",
		"remote.ca_file":                      "remote.tls.ca_file",
		"remote.retri":                        "remote.retry",
		"health.health":                       "",
		"retention":                           "storage.retention",
		"retry":                               "remote.retry",
		"storag":                              "storage",
		"device.ip":                           "device.id",
		"network.max_interface":               "network.max_interfaces",
		"collection.collectors.cpu.intervall": "collection.collectors.cpu.interval",
		"enabled":                             "", // there are several
		"remote.xyzzy":                        "",
		"日本":                                  "",
	} {
		text, line := nested(key, "1")
		shown := key
		if key == "日本" {
			shown = `["日本"]`
		}
		message := fmt.Sprintf("test.yaml:%d: %s: unknown key", line, shown)
		if want != "" {
			message += "; did you mean " + want + "?"
		}
		if got := faultsOf(t, text).Error(); got != message {
			t.Errorf("got  %s\nwant %s", got, message)
		}
	}
}
