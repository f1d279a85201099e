package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

// values of one key, each of them alone in a file.
type values struct {
	key        string
	good, poor []string
}

var ranges = []values{
	{
		"device.id",
		[]string{"a", "box-1", "A.b_c:d-9", `"1"`, strings.Repeat("x", 128), `""`},
		[]string{"-box", "a b", "a/b", "zürich", `"a\n"`, strings.Repeat("x", 129)},
	},
	{
		"device.labels",
		[]string{"{a: x}", "{_A9: ü}", manyLabels(20), "{a: " + strings.Repeat("x", 4096) + "}"},
		[]string{manyLabels(21)},
	},
	{"device.labels.a", []string{"x", `"7"`}, []string{`""`, `"a\nb"`, strings.Repeat("x", 4097)}},
	{"device.labels.device_id", nil, []string{"x"}},
	{"device.labels.__name__", nil, []string{"x"}},
	{"device.labels.9a", nil, []string{"x"}},
	{"device.labels." + strings.Repeat("n", 257), nil, []string{"x"}},
	{"collection.interval", []string{"100ms", "1s", "1h"}, []string{"0", "99ms", "61m", "-1s", "1000100us"}},
	{"collection.procfs_path", []string{"/host/proc", "/"}, []string{`""`, "proc", "./proc", `"/a\0b"`}},
	{"collection.sysfs_path", []string{"/host/sys"}, []string{`""`, "sys"}},
	{"collection.rootfs_path", []string{`""`, "/host/root"}, []string{"host", `"/a\0b"`}},
	{"collection.collectors.gpu", nil, []string{"{enabled: true}"}},
	{"collection.collectors.cpu.interval", []string{"0", "100ms", "1h"}, []string{"10ms", "2h", "150500us"}},
	{"collection.ignore_sensors", []string{"[]", "['npu-thermal', 'nvme/.*']"}, nil},
	{"collection.ignore_sensors[0]", nil, []string{"'('", "'npu*'", `""`}},
	{"collection.textfile.directory", []string{`""`, "/run/x"}, []string{"x", `"/a\0b"`}},
	{"collection.textfile.max_series", []string{"1", "20000"}, []string{"0", "20001"}},
	{"collection.textfile.max_age", []string{"0", "10m"}, []string{"-1s", "87601h"}},
	{"network.include", []string{"[]", "['.*']"}, nil},
	{"network.include[0]", nil, []string{`"["`, `""`}},
	{"network.exclude[0]", nil, []string{"'*'", "'eth*'", `"a\nb"`}},
	{"network.max_interfaces", []string{"1", "4096"}, []string{"0", "-1", "4097"}},
	{"disk.allowed_devices", []string{"['md[0-9]+']"}, []string{"[]"}},
	{"disk.allowed_devices[0]", nil, []string{"'(?<'", "a)(b"}},
	{"services", []string{"[]", "[belaUI.service, 'srtla*']", `['getty@tty?', 'a\x2db.scope']`, "[" + strings.Repeat("s", 255) + "]"}, nil},
	{"services[0]", nil, []string{`""`, "'srtla.*'", "'/system.slice'", "'[a-z]*'", "a b", strings.Repeat("s", 256)}},
	{"storage.path", []string{"/m.db", "/a b/m.db"}, []string{`""`, "m.db", "/var/lib/", "/a?b", "/a#b", "/a%20b"}},
	{"storage.wal_checkpoint_interval", []string{"1m", "24h"}, []string{"0", "59s", "25h"}},
	{"storage.wal_checkpoint_size_mb", []string{"1", "511"}, []string{"0", "-64", "1025"}},
	{"storage.retention", []string{"0", "87600h"}, []string{"-1s", "87601h"}},
	{"storage.max_size_mb", []string{"65", "1048576"}, []string{"0", "15", "1048577"}},
	{"storage.durability", []string{"0", "1h"}, []string{"-1s", "61m"}},
	{"remote.url", []string{
		"https://vm.example/api/v1/import", "http://[::1]:8428/api/v1/import", "http://h/insert/0/prometheus/api/v1/import",
		"http://h:8428/x/api/v1/import?extra_label=a=b",
	}, []string{
		`""`, "localhost:8428", "/api/v1/import", "ftp://h/api/v1/import", "http:///api/v1/import", "http://h", "http://h/",
		"http://h:99999/api/v1/import", "http://h:x/api/v1/import", "http://h/api/v1/write", "http://h/api/v1/import/",
		"'http://h/api/v1/import#a'", "http://u@h/api/v1/import", "http://u:p@h/api/v1/import", "http://:8428/api/v1/import",
		"http://h/api/v1/import?authKey=x", "http://h/api/v1/import?access_token=x", "http://h/api/v1/import?a=%zz",
	}},
	{"remote.auth_token_file", []string{`""`, "/etc/token"}, []string{"token", "~/token"}},
	{"remote.basic_auth.username", []string{`""`}, []string{"a:b", `"a\nb"`, "half"}},
	{"remote.basic_auth.password_file", []string{`""`}, []string{"relative", "/half"}},
	{"remote.headers.X-Site", []string{"a", `""`}, []string{`"a\nb"`, `" a"`, `"a\r"`}},
	{"remote.headers.Authorization", nil, []string{"x"}},
	{"remote.headers.proxy-authorization", nil, []string{"x"}},
	{"remote.headers.cookie", nil, []string{"x"}},
	{"remote.headers.content-type", nil, []string{"x"}},
	{"remote.headers.HOST", nil, []string{"x"}},
	{"remote.upload_interval", []string{"1s", "24h"}, []string{"0", "999ms", "25h"}},
	{"remote.batch_size", []string{"50", "100000"}, []string{"0", "100001"}},
	{"remote.chunk_size", []string{"1", "2500"}, []string{"0", "-1", "2501", "100001"}},
	{"remote.max_chunk_bytes", []string{"4096", "4194304"}, []string{"0", "4095", "4194305"}},
	{"remote.order", []string{"oldest_first", "newest_first"}, []string{"newest", `""`}},
	{"remote.catch_up_bytes_per_second", []string{"0", "1024", "9223372036854775807"}, []string{"1", "1023", "-1"}},
	{"remote.monthly_budget_mb", []string{"0", "1", "100000000"}, []string{"-1", "100000001"}},
	{"remote.budget_day", []string{"1", "28"}, []string{"0", "29"}},
	{"remote.timeout", []string{"1s", "10m"}, []string{"0", "999ms", "11m"}},
	{"remote.max_past", []string{"1m", "876000h"}, []string{"0", "59s", "876001h"}},
	{"remote.max_future", []string{"1m", "876000h"}, []string{"0", "59s", "876001h"}},
	{"remote.retry.max_attempts", []string{"1", "100"}, []string{"0", "101"}},
	{"remote.retry.initial_backoff", []string{"100ms", "1m"}, []string{"0", "99ms", "61s", "2h"}},
	{"remote.retry.max_backoff", []string{"1s", "24h"}, []string{"0", "999ms", "25h"}},
	{"remote.retry.multiplier", []string{"1", "1.5", "10"}, []string{"0", "0.99", "10.1", "-2"}},
	{"remote.retry.jitter_percent", []string{"0", "100"}, []string{"-1", "101"}},
	{
		"remote.verify.url",
		[]string{`""`, "http://h:8481/select/0/prometheus/api/v1/export"},
		[]string{"http://h/", "http://h/api/v1/query", "h", "http://u:p@h/api/v1/export"},
	},
	{"remote.verify.delay", []string{"15s", "1h"}, []string{"0", "14s", "61m"}},
	{"remote.verify.settle", []string{"15s", "10m"}, []string{"0", "14s", "11m"}},
	{"remote.verify.max_resends", []string{"0", "1000"}, []string{"-1", "1001"}},
	{"remote.tls.ca_file", []string{`""`}, []string{"ca.pem", "/ca.pem"}},
	{"remote.tls.cert_file", []string{`""`}, []string{"cert.pem", "/cert.pem"}},
	{"remote.tls.key_file", []string{`""`}, []string{"key.pem", "/key.pem"}},
	{
		"health.collectord_listen",
		[]string{"':9000'", "'[::1]:9100'", "127.0.0.1:0", "localhost:9100", "box.lan:9100", "'[fe80::1%eth0]:9100'", "127.0.0.2:9101"},
		[]string{`""`, "'9100'", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "::1:9100", "a b:9100", "-x:9100", "127.0.0.1:9101"},
	},
	{
		"health.shipperd_listen",
		[]string{"0.0.0.0:9101", "localhost:9101"},
		[]string{"x", "127.0.0.1:9100", "localhost:9100", "':9100'", "0.0.0.0:9100", "'[::]:9100'"},
	},
	{"health.auth_file", []string{`""`, "/run/login"}, []string{"login", "user:password"}},
	{"health.allowed_hosts", []string{"[]", "[box.example, BOX_2, '10.0.0.7', a.]"}, nil},
	{"health.allowed_hosts[0]", nil, []string{"box:9100", "'*.example'", `""`, "http://box", "a b", "'[::1]'"}},
	{"health.degraded_threshold", []string{"1", "10000"}, []string{"0", "-1", "10001", "1000000001"}},
	{"health.error_threshold", []string{"5000", "1000000000"}, []string{"0", "4999", "1000000001"}},
	{"monitoring.clock_skew_check_interval", []string{"10s", "24h"}, []string{"0", "9s", "25h"}},
	{"monitoring.clock_skew_warn_threshold_ms", []string{"1", "3600000"}, []string{"0", "3600001"}},
	{
		"monitoring.clock_skew_url",
		[]string{`""`, "https://time.example/", "http://127.0.0.1:8428/health"},
		[]string{"time.example", "http://u:p@h/", "http://127.0.0.1:8428/api/v1/import", "http://127.0.0.1:8428/api/v1/import?a=b"},
	},
	{"collection.node_exporter.exclude[0]", []string{"hwmon", "thermal_zone"}, []string{"textfile", `""`}},
	{"collection.node_exporter.job", []string{`""`, "node"}, []string{strings.Repeat("x", 4097), `"a\tb"`}},
	{"collection.node_exporter.instance", []string{"a:9100"}, []string{`"a\u0000"`}},
	{"logging.level", []string{"debug", "info", "warn", "error"}, []string{"INFO", "trace", `""`}},
	{"logging.format", []string{"json", "console"}, []string{"text", `""`}},
}

func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "l%d: x, ", i)
	}
	return "{" + b.String() + "}"
}

func TestParse_Ranges(t *testing.T) {
	t.Parallel()
	for _, r := range ranges {
		path, item := strings.CutSuffix(r.key, "[0]")
		file := func(value string) (string, int) {
			if item {
				value = "[" + value + "]"
			}
			return nested(path, value)
		}
		for _, value := range r.good {
			text, _ := file(value)
			parse(t, text)
		}
		for _, value := range r.poor {
			text, line := file(value)
			faults := faultsOf(t, text)
			want := []string{fmt.Sprintf("%d %s", line, r.key)}
			if got := places(faults); !slices.Equal(got, want) {
				t.Errorf("%s: %.80s: got\n%v\nwant one fault at %q", r.key, value, faults, want)
			}
		}
	}
}

// Keys that take any value of their type have no entry with a poor one.
func TestParse_RangesCoverEveryKey(t *testing.T) {
	t.Parallel()
	for _, l := range allLeaves() {
		if strings.HasSuffix(l.path, ".enabled") {
			continue
		}
		covered := slices.ContainsFunc(ranges, func(r values) bool {
			return len(r.poor) > 0 && (r.key == l.path || strings.HasPrefix(r.key, l.path+".") || strings.HasPrefix(r.key, l.path+"["))
		})
		if !covered {
			t.Errorf("no value of %s is tried and refused", l.path)
		}
	}
}

func TestParse_Clashes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"token beside basic auth": {
			"remote:\n  auth_token_file: /t\n  basic_auth: {username: u, password_file: /p}\n",
			"2: remote.auth_token_file: auth_token_file and basic_auth exclude each other: delete one",
		},
		"only a user": {
			"remote:\n  basic_auth:\n    username: u\n",
			"3: remote.basic_auth.username: username and password_file belong together: set both or none",
		},
		"only a password": {
			"remote:\n  basic_auth:\n    password_file: /p\n",
			"3: remote.basic_auth.password_file: username and password_file belong together: set both or none",
		},
		"certificate without key": {
			"remote:\n  url: https://h/api/v1/import\n  tls:\n    cert_file: /c\n",
			"4: remote.tls.cert_file: cert_file and key_file belong together: set both or none",
		},
		"TLS without https": {
			"remote:\n  tls:\n    cert_file: \"\"\n    ca_file: /ca\n",
			"4: remote.tls.ca_file: has no effect: remote.url is not https",
		},
		"chunk above batch": {
			"remote:\n  batch_size: 20\n",
			"2: remote.batch_size: want chunk_size at most batch_size, got 50 and 20",
		},
		"small budget": {
			"storage:\n  max_size_mb: 64\n",
			"2: storage.max_size_mb: the budget of 64 MiB holds the WAL too: want max_size_mb above wal_checkpoint_size_mb, which is 64",
		},
		"backoff": {
			"remote:\n  retry:\n    initial_backoff: 2m\n",
			"3: remote.retry.initial_backoff: want max_backoff at least initial_backoff, got 1m and 2m",
		},
		"thresholds": {
			"health:\n  error_threshold: 100\n",
			"2: health.error_threshold: want degraded_threshold at most error_threshold, got 5000 and 100",
		},
		"one port for both": {
			"health:\n  collectord_listen: 0.0.0.0:80\n  shipperd_listen: 127.0.0.1:80\n",
			"3: health.shipperd_listen: both daemons would listen on port 80: give each its own",
		},
		"nothing to derive the read-back from": {
			"remote:\n  url: http://h/ingest\n",
			"2: remote.url: does not end in /api/v1/import: correct it, or set remote.verify.url too, which cannot be derived from it",
		},
		"clock from the import address": {
			"monitoring:\n  clock_skew_url: http://h/api/v1/import\nremote:\n  url: http://h/api/v1/import?a=b\n",
			"2: monitoring.clock_skew_url: is the import address: want one that only answers, such as /health",
		},
	} {
		if got, want := faultsOf(t, tc.text).Error(), "test.yaml:"+tc.want; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// TestParse_ClockSkewURL: its own address, on whatever server; not that of the import,
// however it is written.
func TestParse_ClockSkewURL(t *testing.T) {
	t.Parallel()
	for _, clock := range []string{"''", "http://h:8428/health", "https://time.example/", "http://h:8428/api/v1/export"} {
		cfg := parse(t, "remote: {url: 'http://h:8428/api/v1/import'}\nmonitoring: {clock_skew_url: "+clock+"}\n")
		if cfg.Monitoring.ClockSkewURL == cfg.Remote.URL {
			t.Errorf("%s became the import address", clock)
		}
	}
	for _, clock := range []string{"http://h:8428/api/v1/import", "http://h:8428/api/v1/import?x=1"} {
		faults := faultsOf(t, "remote: {url: 'http://h:8428/api/v1/import'}\nmonitoring: {clock_skew_url: '"+clock+"'}\n")
		if got := places(faults); len(got) != 1 || got[0] != "2 monitoring.clock_skew_url" {
			t.Errorf("%s: got faults %v", clock, faults)
		}
	}
}

func TestParse_CombinationsThatAreFine(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"token":               "remote: {auth_token_file: /run/credentials/belabox-shipperd.service/token}\n",
		"basic auth":          "remote: {basic_auth: {username: u, password_file: /p}}\n",
		"client certificate":  "remote: {url: 'https://h/api/v1/import', tls: {ca_file: /a, cert_file: /c, key_file: /k}}\n",
		"TLS for reading":     "remote: {verify: {url: 'https://h/api/v1/export'}, tls: {ca_file: /a}}\n",
		"own path, read back": "remote: {url: 'http://h/ingest', verify: {url: 'http://h/api/v1/export'}}\n",
		"own path, unread":    "remote: {url: 'http://h/ingest', verify: {enabled: false}}\n",
		"only collecting":     "remote: {enabled: false, url: ''}\n",
		"free ports for both": "health: {collectord_listen: '127.0.0.1:0', shipperd_listen: '127.0.0.1:0'}\n",
		"one port, two hosts": "health: {collectord_listen: '127.0.0.1:80', shipperd_listen: '127.0.0.2:80'}\n",
		"one port, two names": "health: {collectord_listen: 'a:80', shipperd_listen: 'b:80'}\n",
		"equal thresholds":    "health: {degraded_threshold: 7, error_threshold: 7}\n",
		"clock of the server": "monitoring: {clock_skew_url: 'http://h/health'}\nremote: {url: 'http://h/api/v1/import'}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parse(t, text)
		})
	}
}

// A rule between two keys is silent when one of them is wrong already: it would
// judge a default that nobody asked for.
func TestParse_NoFaultFollowsFromAnother(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"remote:\n  batch_size: many\n  chunk_size: 5000\n",
		"remote:\n  batch_size: 0\n  chunk_size: 5000\n",
		"remote:\n  url: https//h\n  tls: {ca_file: /ca}\n",
		"storage:\n  wal_checkpoint_size_mb: 5000\n  max_size_mb: 512\n",
		"remote:\n  retry: {max_backoff: 10, initial_backoff: 5m}\n",
		"health:\n  degraded_threshold: x\n  error_threshold: 10\n",
		"health:\n  collectord_listen: x\n  shipperd_listen: 127.0.0.1:9100\n",
	} {
		if faults := faultsOf(t, text); len(faults) != 1 {
			t.Errorf("got\n%v\nwant one fault of\n%s", faults, text)
		}
	}
}

func TestParse_Headers(t *testing.T) {
	t.Parallel()
	faults := faultsOf(t, "remote:\n  headers:\n    'X Site': a\n    X-A: b\n    x-a: c\n    'X:': d\n")
	want := []string{`3 remote.headers["X Site"]`, "5 remote.headers.x-a", `6 remote.headers["X:"]`}
	if got := places(faults); !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant %q", faults, want)
	}
	cfg := parse(t, "remote:\n  headers: {X-Site: studio, X-Empty: ''}\n")
	if got := cfg.Remote.Headers["X-Site"]; got != "studio" || len(cfg.Remote.Headers) != 2 {
		t.Errorf("got headers %v", cfg.Remote.Headers)
	}
}

// Whatever is wrong with it: what stands near a secret never stands in a fault.
func TestParse_FaultsKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, text := range []string{
		"remote:\n  url: http://user:hunter2@h/api/v1/import\n",
		"remote:\n  url: http://user:hun%zzhunter2@h/api/v1/import\n",
		"remote:\n  url: http://user:hunter2/x@h/api/v1/import\n",
		"remote:\n  url: http://h:hunter2/api/v1/import\n",
		"remote:\n  url: http://h/api/v1/import?token=hunter2\n",
		"remote:\n  url: http://h/api/v1/import#hunter2\n",
		"remote:\n  url: http://h/hunter2\n",
		"remote:\n  url: 'http://h/ hunter2 \\x7f'\n  verify:\n    url: hunter2\n",
		"monitoring:\n  clock_skew_url: http://hunter2:x@h/\n",
		"remote:\n  auth_token_file: hunter2\n",
		"remote:\n  auth_token_file: [hunter2]\n",
		"remote:\n  auth_token: hunter2\n",
		"remote:\n  basic_auth: hunter2\n",
		"remote:\n  basic_auth: {username: 'a:hunter2', password: hunter2, password_file: hunter2}\n",
		"remote:\n  headers: {Authorization: Bearer hunter2, Cookie: hunter2, X-Key: ' hunter2'}\n",
		"remote:\n  tls: {key_file: hunter2}\n",
		"remote: hunter2\n",
		"hunter2\n",
	} {
		if got := faultsOf(t, text).Error(); strings.Contains(got, secret) {
			t.Errorf("a secret in a fault:\n%s", got)
		}
	}
}

func TestValidate_WithoutAFile(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Storage.Path = "metrics.db"
	cfg.Remote.ChunkSize = 5000
	cfg.Health.ShipperdListen = cfg.Health.CollectordListen
	cfg.Collection.Interval = time.Millisecond
	cfg.Device.Labels = nil
	want := strings.Join([]string{
		"collection.interval: want 100ms to 1h, got 1ms",
		"health.shipperd_listen: both daemons would listen on port 9100: give each its own",
		"remote.chunk_size: want chunk_size at most batch_size, got 5000 and 2500",
		"storage.path: want an absolute path, beginning with /",
	}, "\n")
	if got := cfg.Validate().Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if faults := new(config.Config).Validate(); len(faults) < 20 {
		t.Errorf("an empty Config has only these faults:\n%v", faults)
	}
}

func TestCompileName(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"lo", "lo", true},
		{"lo", "lo1", false},
		{"lo", "xlo", false},
		{"a|b", "a", true},
		{"a|b", "ab", false},
		{"a|b", "xb", false},
		{"(?i)ETH.", "eth0", true},
		{"eth[0-9]*", "eth", true},
		{`eth\d*`, "eth12", true},
		{"^eth0$", "eth0", true},
		{"eth.", "eth0\n", false},
		{`br-.*`, "br-1", true},
	} {
		re, err := config.CompileName(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		if got := re.MatchString(tc.name); got != tc.want {
			t.Errorf("%q matches %q: got %v, want %v", tc.pattern, tc.name, got, tc.want)
		}
	}
	for _, pattern := range []string{"", "(", "a)(b", "*", "docker*", "br-*", `\Qa`, "a\nb", "(?=a)"} {
		if _, err := config.CompileName(pattern); err == nil {
			t.Errorf("%q: got no error", pattern)
		}
	}
}
