package page

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // rows are marked as shipperd would have done

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// scene is a device in some state, with its page.
type scene struct {
	Name   string
	Daemon string        // whose page; "" = shipperd
	Age    time.Duration // how long it has been sampling; 0 = never
	Filler int           // further series of each tick
	Cores  int           // 0 = 8
	Nets   int           // interfaces; 0 = 2
	Disks  int           // 0 = 2
	Zones  int           // thermal zones; 0 = 5. The last one of more is hot.
	Mounts int           // file systems; 0 = 2. The last one of more is full.
	Suffix string        // of the names of further interfaces and disks
	Board  bool          // has undervoltage, throttling, a GPU, an eMMC, services
	Tags   map[string]string
	Own    func(t time.Duration, age time.Duration) map[string]float64 // its own numbers, t after the start
	Unsent time.Duration                                               // the end of the samples that is still pending
	Rows   []string                                                    // SQL for what shipperd wrote beside that
	Input  func(now time.Time, storage health.Storage) health.Input
}

const device = "belabox-rk3588-07"

// wave is a quiet curve with some noise, the same in each run.
func wave(seed int, at, period time.Duration, low, high float64) float64 {
	x := float64(at) / float64(period)
	s := float64(seed)
	noise := math.Sin(x*37.1+s*5.3)*math.Sin(x*91.7+s) + 0.6*math.Sin(x*211.3+2*s)
	v := 0.5 + 0.28*math.Sin(2*math.Pi*x+s) + 0.12*math.Sin(4.7*math.Pi*x+2.1*s) + 0.07*noise
	return low + (high-low)*min(1, max(0, v))
}

// source is a series with its curve.
type source struct {
	series *store.Series
	value  func(at time.Duration) float64
}

func sources(s scene) (all []source) {
	add := func(name string, value func(time.Duration) float64, tags ...store.Tag) {
		for n, v := range s.Tags {
			tags = append(tags, store.Tag{Name: n, Value: v})
		}
		all = append(all, source{store.NewSeries(device, name, store.Number, tags...), value})
	}
	curve := func(seed int, period time.Duration, low, high float64) func(time.Duration) float64 {
		return func(at time.Duration) float64 { return wave(seed, at, period, low, high) }
	}
	tag := func(name, value string) store.Tag { return store.Tag{Name: name, Value: value} }
	add("cpu.usage_percent", curve(1, 23*time.Minute, 22, 61), tag("core", "all"))
	for i := range cmp.Or(s.Cores, 8) {
		add("cpu.usage_percent", curve(i+2, 17*time.Minute, 8, 88), tag("core", fmt.Sprint(i)))
	}
	add("memory.total_bytes", func(time.Duration) float64 { return 8_216_000_000 })
	add("memory.used_bytes", curve(3, 2*time.Hour, 2.1e9, 3.4e9))
	add("memory.swap_used_bytes", curve(4, 3*time.Hour, 0, 2e8))
	zones := []string{"soc-thermal", "bigcore0-thermal", "littlecore-thermal", "gpu-thermal", "npu-thermal"}
	for i := len(zones); i < s.Zones-1; i++ {
		zones = append(zones, "ddr-thermal")
	}
	if s.Zones > len(zones) {
		add("thermal.zone_celsius", curve(1, 41*time.Minute, 98, 99), tag("type", "modem-thermal"), tag("zone", "thermal_zone99"))
	}
	for i, zone := range zones {
		add("thermal.zone_celsius", curve(i, 41*time.Minute, 46+2*float64(i%3), 63+3*float64(i%2)), tag("type", zone), tag("zone", fmt.Sprintf("thermal_zone%d", i)))
	}
	add("hwmon.temp_celsius", curve(9, time.Hour, 38, 45), tag("chip", "nvme"), tag("sensor", "Composite"))
	add("load.average_1m", curve(5, 19*time.Minute, 1.2, 4.6))
	add("load.average_5m", curve(5, 31*time.Minute, 1.6, 3.9))
	add("load.average_15m", curve(5, 55*time.Minute, 2, 3.3))
	nets, disks := []string{"eth0", "wwan0"}, []string{"mmcblk0", "nvme0n1"}
	for i := len(nets); i < s.Nets; i++ {
		nets = append(nets, fmt.Sprintf("wwan%d%s", i-1, s.Suffix))
	}
	for i := len(disks); i < s.Disks; i++ {
		disks = append(disks, fmt.Sprintf("sd%c%s", 'a'+i-2, s.Suffix))
	}
	for i, name := range nets {
		add("network.receive_bytes_per_second", curve(i+3, 13*time.Minute, 2e4, 1.4e5), tag("interface", name))
		add("network.transmit_bytes_per_second", curve(i+6, 29*time.Minute, 4e5, 7.6e5/float64(i+1)), tag("interface", name))
	}
	for i, name := range disks {
		add("disk.read_bytes_per_second", curve(i+7, 11*time.Minute, 0, 9e4), tag("device", name))
		add("disk.written_bytes_per_second", curve(i+8, 21*time.Minute, 2e4, float64(i%7*2+1)*3e5), tag("device", name))
		add("disk.busy_percent", curve(i+1, 21*time.Minute, 0, 14), tag("device", name))
	}
	add("filesystem.available_bytes", func(at time.Duration) float64 { return 2.1e10 - 3e3*at.Seconds() }, tag("mountpoint", "/"), tag("fstype", "ext4"))
	add("filesystem.available_bytes", curve(2, 5*time.Hour, 3.1e11, 3.3e11), tag("mountpoint", "/data"), tag("fstype", "ext4"))
	add("filesystem.size_bytes", func(time.Duration) float64 { return 3.1e10 }, tag("mountpoint", "/"), tag("fstype", "ext4"))
	add("filesystem.size_bytes", func(time.Duration) float64 { return 1e12 }, tag("mountpoint", "/data"), tag("fstype", "ext4"))
	for i := 3; i <= s.Mounts; i++ {
		free := 9e11
		if i == s.Mounts {
			free = 1e10
		}
		add("filesystem.available_bytes", curve(i, 5*time.Hour, free, free+1e9), tag("mountpoint", fmt.Sprintf("/mnt/disk%d", i)), tag("fstype", "ext4"))
		add("filesystem.size_bytes", func(time.Duration) float64 { return 1e12 }, tag("mountpoint", fmt.Sprintf("/mnt/disk%d", i)), tag("fstype", "ext4"))
	}
	if s.Board {
		on := func(times ...time.Duration) func(time.Duration) float64 { // 20 s each
			return func(at time.Duration) float64 {
				for _, began := range times {
					if at >= began && at < began+20*time.Second {
						return 1
					}
				}
				return 0
			}
		}
		value := func(v float64) func(time.Duration) float64 { return func(time.Duration) float64 { return v } }
		add("devfreq.load_percent", curve(3, 7*time.Minute, 10, 72), tag("device", "fb000000.gpu"), tag("type", "gpu"))
		add("devfreq.load_percent", curve(4, 9*time.Minute, 30, 95), tag("device", "fdab0000.npu"), tag("type", "npu"))
		add("mpp.load_percent", curve(5, 9*time.Minute, 60, 140), tag("engine", "fdbd0000.rkvenc-core"))
		low := on(s.Age-40*time.Minute, s.Age-20*time.Minute, s.Age-10*time.Minute)
		add("hwmon.alarm", low, tag("chip", "rpi_volt"), tag("sensor", "in0"), tag("alarm", "in_lcrit"))
		add("hwmon.alarm", value(1), tag("chip", "nct6775"), tag("sensor", "fan3"), tag("alarm", "fan"))
		add("throttling.active", low, tag("reason", "undervoltage"))
		add("throttling.active", on(s.Age-20*time.Second), tag("reason", "throttled"))
		add("throttling.active", value(0), tag("reason", "soft_temperature_limit"))
		add("emmc.life_used_percent", value(10), tag("device", "mmcblk0"), tag("memory", "a"))
		add("emmc.life_used_percent", value(90), tag("device", "mmcblk0"), tag("memory", "b"))
		add("emmc.pre_eol", value(2), tag("device", "mmcblk0"))
		add("watchdog.boot_status", value(32), tag("watchdog", "watchdog0"))
		add("services.up", value(1), tag("service", "belaUI.service"))
		add("services.up", value(0), tag("service", "srtla"+s.Suffix+".service"))
		add("network.default_route", value(1), tag("interface", "wwan0"), tag("family", "ipv4"))
		add("network.default_route", value(1), tag("interface", "eth0"), tag("family", "ipv6"))
	}
	for i := range s.Filler {
		add(fmt.Sprintf("filler.%d", i/4), curve(i, time.Hour, 0, 1), tag("part", fmt.Sprint(i%4)))
	}
	return all
}

// steady are the own numbers of a device that delivers.
func steady(at, _ time.Duration) map[string]float64 {
	s := at.Seconds()
	return map[string]float64{
		"uploader.bytes_sent_total": 52 * s, "uploader.bytes_received_total": 9 * s,
		"collector.metrics_collected_total": 4.8 * s, "storage.bytes_written_total": 610 * s,
		"storage.metrics_pending_upload": wave(1, at, 9*time.Minute, 40, 180), "storage.oldest_pending_seconds": wave(2, at, 9*time.Minute, 4, 34),
		"storage.database_size_bytes": 4e6 + 90*s, "storage.wal_size_bytes": wave(3, at, time.Hour, 1e5, 9e6),
	}
}

// fill makes the database of a scene, as the daemons would have, up to now.
func (s scene) fill(t testing.TB, path string, now time.Time) {
	t.Helper()
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord", Version: "1.2.0", Now: func() time.Time { return now.Add(-s.Age) }}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	all := sources(s)
	own := map[string]*store.Series{}
	start := now.Add(-s.Age).Truncate(10 * time.Second)
	batch := make([]store.Sample, 0, len(all)+16)
	for at := 10 * time.Second; at <= s.Age; at += 10 * time.Second {
		batch = batch[:0]
		for _, src := range all {
			batch = append(batch, store.Sample{Series: src.series, Value: src.value(at)})
		}
		if tick := start.Add(at); s.Own != nil && tick.Truncate(time.Minute).Equal(tick) {
			for name, value := range s.Own(at, s.Age) {
				if own[name] == nil {
					own[name] = store.NewSeries(device, name, store.Number)
				}
				batch = append(batch, store.Sample{Series: own[name], Value: value})
			}
		}
		if _, err := in.Insert(t.Context(), start.Add(at), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.settle(t, path, now)
}

// settle marks what was delivered, as one verified chunk, and writes what shipperd
// left beside it.
func (s scene) settle(t testing.TB, path string, now time.Time) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	ms := now.UnixMilli()
	exec("UPDATE sessions SET ended_ms = NULL, clean = 0") // collectord's goes on
	if s.Age > 0 {
		sent := int64(store.PackKey(now.Add(-s.Unsent).UnixMilli(), 1))
		exec("UPDATE metrics SET uploaded = 1 WHERE dedup_key < ?", sent)
		exec("UPDATE outbox SET low_water = ?", sent)
		// What was verified and pruned before this day.
		exec("INSERT INTO ledger (account, samples) SELECT 'verified_pruned', 1481004 - count(*) FROM metrics WHERE uploaded = 1")
		exec("UPDATE ledger SET samples = samples + (SELECT samples FROM ledger WHERE account = 'verified_pruned') WHERE account = 'inserted'")
		exec(`INSERT INTO upload_checkpoints (batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash, created_ms, accepted_ms, settled_ms)
			VALUES ('b', 0, 'verified', 1, 2, x'', 2, 300, x'', ?1, ?1, ?2)`, ms-s.Unsent.Milliseconds()-3000, ms-s.Unsent.Milliseconds()-1000)
	}
	if s.Age == 0 {
		return
	}
	exec(`INSERT INTO sessions (uuid, daemon, version, boot_id, started_ms, ended_ms, clean) VALUES
		('a', 'shipperd', '1.1.0', '', ?1 - 400000000, ?1 - 300000000, 1), ('b', 'shipperd', '1.1.0', '', ?1 - 290000000, NULL, 0), ('c', 'shipperd', '1.2.0', '', ?1 - 90000000, NULL, 0)`, ms)
	for _, query := range s.Rows {
		exec(query)
	}
}

// stat is SQL for a number that shipperd saved.
func stat(name, tags string, value float64) string {
	return fmt.Sprintf(`INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('shipperd', '%s', '%s', 'counter', %g, unixepoch() * 1000)`, name, tags, value)
}

var delivered = []string{
	stat("uploader.metrics_uploaded_total", "{}", 1_482_113), stat("uploader.metrics_verified_total", "{}", 1_481_004),
	stat("link.interface", `{"interface":"wwan0"}`, 1),
	"INSERT INTO traffic VALUES (unixepoch() / 86400, 2400000, 480000), (unixepoch() / 86400 - 1, 4000000, 900000)",
	stat("uploader.metrics_requeued_total", "{}", 312), stat("uploader.upload_failures_total", "{}", 41),
}

// served is a scene's page on a port.
type served struct {
	url  string
	page *Page
	stop func() // ends the server
}

// serve makes the database and runs the page until the test ends.
func (s scene) serve(t testing.TB) served {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.db")
	now := time.Now()
	s.fill(t, path, now)
	return s.serveFile(t, path)
}

func (s scene) serveFile(t testing.TB, path string) served {
	t.Helper()
	cfg := config.Default()
	cfg.Storage.Path = path
	cfg.Device.ID = device
	cfg.Remote.URL = "https://op:no@metrics.example/api/v1/import?token=no"
	inUse, err := os.OpenFile(path+".open.lock", os.O_RDWR|os.O_CREATE, 0o640) // as by the daemon: else readers see a copy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inUse.Close() })
	if err := syscall.Flock(int(inUse.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	reader, err := store.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	for _, name := range []string{"collectord", "shipperd"} {
		held, err := lock.Acquire(path + "." + name + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = held.Release() })
	}
	source := func(ctx context.Context) health.Input {
		now := time.Now()
		st := health.Storage{DatabaseBytes: store.FileSize(path), WALBytes: store.WALSize(path)}
		if b, err := reader.Backlog(ctx); err == nil {
			st.Pending = b.Rows
			if b.Rows > 0 {
				st.OldestPending = time.UnixMilli(b.OldestMS)
			}
		}
		return s.Input(now, st)
	}
	daemon := s.Daemon
	if daemon == "" {
		daemon = "shipperd"
	}
	monitor := health.NewMonitor(health.About{Name: daemon, Version: "1.2.0", SessionID: "x", Started: time.Now().Add(-25 * time.Hour)},
		health.LimitsOf(cfg), source, nil)
	log, err := logx.New(testLog{t}, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	server, err := health.Listen("127.0.0.1:0", health.Config{
		Key: "k", Progress: health.NewProgress(time.Hour, nil), Monitor: monitor, Log: log,
		CPU: func() time.Duration { return 0 }, // that of the test is none of the page's
	})
	if err != nil {
		t.Fatal(err)
	}
	// The board's events are those of today: of the calendar of a place where it is noon.
	began := time.Now().UTC()
	noon := time.FixedZone("noon", 12*3600-int(began.Sub(began.Truncate(24*time.Hour)).Seconds()))
	p := New(Config{Config: cfg, Device: device, Monitor: monitor, Now: func() time.Time { return time.Now().In(noon) }})
	p.queryLimit = testkit.WaitLimit // the host may be busy
	p.Register(server)
	server.Handle("/metrics", http.NotFoundHandler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return served{"http://" + server.Addr(), p, stop}
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func compared(now time.Time) *health.Clock {
	return &health.Clock{Checked: now.Add(-40 * time.Second), SkewMS: 31, Source: "http://metrics.example/health"}
}

// The healthy device's day is a file of a million rows; with the race detector, which
// makes filling it ten times slower, of fewer.
var healthyFiller, healthyRows = func() (series, rows int) {
	if testkit.Race {
		return 0, 300_000
	}
	return 77, 1_000_000
}()

// scenes are the states that people meet.
var scenes = []scene{
	{
		Name: "healthy", Age: 25 * time.Hour, Filler: healthyFiller, Own: steady, Unsent: 20 * time.Second, Rows: delivered,
		Input: func(now time.Time, st health.Storage) health.Input {
			return health.Input{Uploader: &health.Uploader{Started: now.Add(-25 * time.Hour), LastUpload: now.Add(-12 * time.Second)}, Storage: &st, Time: compared(now)}
		},
	},
	{
		Name: "board", Age: 70 * time.Minute, Own: steady, Unsent: 20 * time.Second, Rows: delivered, Board: true,
		Input: func(now time.Time, st health.Storage) health.Input {
			return health.Input{Uploader: &health.Uploader{Started: now.Add(-25 * time.Hour), LastUpload: now.Add(-12 * time.Second)}, Storage: &st, Time: compared(now)}
		},
	},
	{
		Name: "degraded", Age: 2 * time.Hour, Own: steady, Unsent: 4 * time.Minute, Rows: delivered,
		Input: func(now time.Time, st health.Storage) health.Input {
			return health.Input{
				Uploader: &health.Uploader{Started: now.Add(-25 * time.Hour), LastUpload: now.Add(-4 * time.Minute), Error: "POST https://metrics.example/api/v1/import: dial tcp 203.0.113.9:443: connect: connection refused", Cause: health.CauseRefused.Of("metrics.example")},
				Storage:  &st, Time: &health.Clock{Checked: now.Add(-time.Minute), SkewMS: -7214, Source: "http://metrics.example/health"},
			}
		},
	},
	{
		Name: "catching-up", Age: 3 * time.Hour, Unsent: 50 * time.Minute, Rows: delivered,
		Own: func(at, age time.Duration) map[string]float64 {
			m := steady(at, age)
			if left := age - at; left < 50*time.Minute { // an outage that ends now
				m["storage.metrics_pending_upload"] = 3.43 * (50*time.Minute - left).Seconds()
				m["storage.oldest_pending_seconds"] = (50*time.Minute - left).Seconds()
			}
			return m
		},
		Input: func(now time.Time, st health.Storage) health.Input {
			return health.Input{Uploader: &health.Uploader{Started: now.Add(-25 * time.Hour), LastUpload: now}, Storage: &st, Time: compared(now)}
		},
	},
	{
		Name: "empty", Daemon: "collectord",
		Input: func(now time.Time, st health.Storage) health.Input {
			return health.Input{Collectors: &health.Collectors{}, Storage: &st, Time: &health.Clock{Found: []health.Active{
				health.ClockUnchecked.Active(time.Time{}),
			}}}
		},
	},
	{
		Name: "dead-letter", Daemon: "collectord", Age: 2 * time.Hour, Own: steady, Unsent: 15 * time.Second,
		Rows: append([]string{
			stat("uploader.metrics_rejected_total", `{"reason":"bad_request"}`, 214), stat("uploader.metrics_rejected_total", `{"reason":"never_seen"}`, 6),
			stat("storage.metrics_dropped_total", `{"reason":"size"}`, 18),
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 220)
			 INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_type, reason, created_ms)
			 SELECT 'd', i, 'x', '{}', 1, 0, iif(i <= 6, 'never_seen', 'bad_request'), i FROM n`,
			"INSERT INTO ledger (account, samples) VALUES ('dropped:size', 18)",
			"UPDATE ledger SET samples = samples + 220 + 18 WHERE account = 'inserted'",
		}, delivered...),
		Input: func(now time.Time, st health.Storage) health.Input {
			list := []health.Collector{{Name: "cpu", LastSuccess: now}, {Name: "disk", LastSuccess: now}, {Name: "memory", LastSuccess: now}, {Name: "network", LastSuccess: now}}
			list = append(list, health.Collector{Name: "thermal", FailingSince: now.Add(-17 * time.Minute), Error: "1 failed, the first: thermal_zone3/npu-thermal: read /sys/class/thermal/thermal_zone3/temp: resource temporarily unavailable"})
			return health.Input{Collectors: &health.Collectors{List: list}, Storage: &st, Time: compared(now)}
		},
	},
}

func sceneNamed(t *testing.T, name string) scene {
	t.Helper()
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no scene %s", name)
	}
	return scenes[i]
}
