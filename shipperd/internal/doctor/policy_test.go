package doctor

import (
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

func TestDoctor_Retention(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{Retention: 24 * time.Hour})
	p := healthy(t, vm.ImportURL())
	found := p.examine()
	want(t, found, "retention", Fail, "the server keeps 24 h, remote.max_past is 30 days")
	want(t, found, "retention", Fail, "set remote.max_past: 21h")
	p.insert(time.Now().Add(-3*24*time.Hour-time.Minute), 2)
	want(t, p.examine(), "retention", Fail, "the oldest pending sample is 3 days old")
	p.cfg.Remote.MaxPast = 21 * time.Hour
	want(t, p.examine(), "retention", Warn, "sent with the oldest time")
	wantRest(t, p.examine(), "retention")
	p.cfg.Remote.MaxPast = 96 * time.Hour
	vm = startVM(t)
	p.cfg.Remote.URL = vm.ImportURL()
	want(t, p.examine(), "retention", OK, "keeps 31 days")
	p.cfg.Remote.URL = dated(t, 0) // shows no flags
	found = p.examine()
	want(t, found, "retention", Unknown, "does not show its flag -retentionPeriod")
	want(t, found, "deduplication", Unknown, "does not show its flag -dedup.minScrapeInterval")
}

func TestDoctor_Deduplication(t *testing.T) {
	t.Parallel()
	f := func(dedup, interval time.Duration, status Status, text string) {
		t.Helper()
		p := healthy(t, testkit.StartFakeVM(t, testkit.FakeConfig{Dedup: dedup}).ImportURL())
		p.cfg.Collection.Interval = time.Minute
		p.cfg.Collection.Collectors = map[string]config.CollectorConfig{"cpu": {Interval: interval}, "load": {Interval: time.Second, Enabled: new(bool)}}
		want(t, p.examine(), "deduplication", status, text)
	}
	f(0, 10*time.Second, OK, "off")
	f(time.Millisecond, 10*time.Second, OK, "true duplicates")
	f(10*time.Second, 10*time.Second, Warn, "-dedup.minScrapeInterval=1ms")
	f(10*time.Second, 2*time.Second, Fail, "one is sent every 2s")
}

func TestDoctor_Verification(t *testing.T) {
	t.Parallel()
	f := func(flush string, status Status, text string) {
		t.Helper()
		d := &doctor{Input: Input{Config: config.Default()}, flags: map[string]string{flagFlush: flush}}
		want(t, map[string]Check{"verification": d.verification(t.Context())}, "verification", status, text)
	}
	f("", OK, "30 s after")
	f("5s", OK, "15 s after an attempt")
	f("odd", OK, "30 s after")
	f("30s", Warn, "at least 1m5s")
}

func TestDoctor_Backlog(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	p.cfg.Remote.BatchSize, p.cfg.Health.DegradedThreshold, p.cfg.Health.ErrorThreshold = 100, 100, 100
	p.insert(time.Now().Add(-time.Hour), 9000)
	want(t, p.examine(), "backlog", Warn, "9003 samples pending, the oldest for 60 min; sending them takes about 22.0 KiB and 1 s at 1 Mbit/s")
	p.cfg.Remote.CatchUpBytesPerSecond = 1024
	want(t, p.examine(), "backlog", Warn, "21 s at catch_up_bytes_per_second 1024")
}

func TestParseFlagDuration(t *testing.T) {
	t.Parallel()
	f := func(text string, retention bool, want time.Duration, ok bool) {
		t.Helper()
		parse := parseFlagDuration
		if retention {
			parse = parseRetention
		}
		if got, gotOK := parse(text); got != want || gotOK != ok {
			t.Errorf("%q: got %v, %v, want %v, %v", text, got, gotOK, want, ok)
		}
	}
	f("1", true, 31*day, true)
	f("1M", true, 31*day, true)
	f("0.5", true, 31*day/2, true)
	f("1d", true, day, true)
	f("36h", true, 36*time.Hour, true)
	f("2w", true, 14*day, true)
	f("100y", true, 36500*day, true)
	f("99999y", true, 1<<62, true)
	f("", true, 0, false)
	f("1x", true, 0, false)
	f("-1d", true, 0, false)
	f("0s", false, 0, true)
	f("0", false, 0, true)
	f("1ms", false, time.Millisecond, true)
	f("5", false, 0, false)
}
