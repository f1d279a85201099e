package config_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

// parse returns the configuration of text, which must be sound.
func parse(t *testing.T, text string) config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parse:\n%v\nof:\n%s", err, text)
	}
	return cfg
}

// faultsOf returns the faults of text, which must have some.
func faultsOf(t *testing.T, text string) config.Faults {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	faults, ok := errors.AsType[config.Faults](err)
	if !ok || len(faults) == 0 {
		t.Fatalf("got error %v (%T), want faults in:\n%s", err, err, text)
	}
	if !reflect.DeepEqual(cfg, config.Config{}) {
		t.Errorf("a faulty file gave a configuration: %+v", cfg)
	}
	return faults
}

// places returns "line key" of each fault.
func places(faults config.Faults) []string {
	var out []string
	for _, f := range faults {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s", f.Line, f.Key)))
	}
	return out
}

// leaf is one key of the file that is not a section.
type leaf struct {
	path string
	typ  reflect.Type
}

// leaves walks the types: the keys there are, in the order of the structs.
func leaves(section string, t reflect.Type) []leaf {
	var out []leaf
	for f := range t.Fields() {
		path := strings.TrimPrefix(section+"."+f.Tag.Get("yaml"), ".")
		if f.Type.Kind() == reflect.Struct {
			out = append(out, leaves(path, f.Type)...)
		} else {
			out = append(out, leaf{path, f.Type})
		}
	}
	return out
}

func allLeaves() []leaf { return leaves("", reflect.TypeFor[config.Config]()) }

// nested writes a key under its sections, one line each, and returns the text
// and its number of lines.
func nested(path, value string) (text string, lines int) {
	parts := strings.Split(path, ".")
	var b strings.Builder
	for i, part := range parts {
		fmt.Fprintf(&b, "%s%s:", strings.Repeat("  ", i), part)
		if i < len(parts)-1 {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, " %s\n", value)
	return b.String(), len(parts)
}

func TestConfig_KeysAreTheContract(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`
		device.id device.labels
		collection.interval collection.procfs_path collection.sysfs_path collection.rootfs_path
		collection.collectors collection.ignore_sensors
		collection.textfile.directory collection.textfile.max_series collection.textfile.max_age
		collection.node_exporter.enabled collection.node_exporter.exclude collection.node_exporter.job collection.node_exporter.instance
		network.include network.exclude network.max_interfaces
		disk.allowed_devices
		services
		storage.path storage.wal_checkpoint_interval storage.wal_checkpoint_size_mb storage.retention
		storage.max_size_mb storage.durability
		remote.enabled remote.url remote.auth_token_file remote.basic_auth.username
		remote.basic_auth.password_file remote.headers remote.upload_interval remote.batch_size
		remote.chunk_size remote.max_chunk_bytes remote.order remote.catch_up_bytes_per_second
		remote.monthly_budget_mb remote.budget_day remote.timeout
		remote.max_past remote.max_future
		remote.retry.enabled remote.retry.max_attempts remote.retry.initial_backoff
		remote.retry.max_backoff remote.retry.multiplier remote.retry.jitter_percent
		remote.verify.enabled remote.verify.url remote.verify.delay remote.verify.settle
		remote.verify.max_resends
		remote.tls.ca_file remote.tls.cert_file remote.tls.key_file
		health.collectord_listen health.shipperd_listen health.auth_file health.allowed_hosts
		health.degraded_threshold health.error_threshold
		monitoring.clock_skew_check_interval monitoring.clock_skew_warn_threshold_ms
		monitoring.clock_skew_url
		logging.level logging.format`)
	var got []string
	for _, l := range allLeaves() {
		got = append(got, l.path)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys:\ngot  %q\nwant %q", got, want)
	}
}

func TestCollector_FillsInTheDefaults(t *testing.T) {
	t.Parallel()
	cfg := parse(t, `
collection:
  interval: 5s
  collectors:
    wireless: {enabled: false}
    thermal: {enabled: true, interval: 1m}
    hwmon:
`)
	for _, tc := range []struct {
		name     string
		enabled  bool
		interval time.Duration
	}{
		{"cpu", true, 5 * time.Second},
		{"wireless", false, 5 * time.Second},
		{"thermal", true, time.Minute},
		{"hwmon", true, 5 * time.Second},
	} {
		enabled, interval := cfg.Collection.Collector(tc.name)
		if enabled != tc.enabled || interval != tc.interval {
			t.Errorf("%s: got %v every %v, want %v every %v", tc.name, enabled, interval, tc.enabled, tc.interval)
		}
	}
}

func TestCollectorNames(t *testing.T) {
	t.Parallel()
	names := config.CollectorNames()
	names[0] = "changed by the caller"
	for i, name := range config.CollectorNames() {
		text, _ := nested("collection.collectors."+name+".enabled", "false")
		if enabled, _ := func() (bool, time.Duration) { c := parse(t, text).Collection; return c.Collector(name) }(); enabled {
			t.Errorf("collector %d %q cannot be switched off", i, name)
		}
	}
}
