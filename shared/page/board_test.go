package page

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// pageOf is a page over a file with a tick each ten seconds up to now.
func pageOf(t testing.TB, now time.Time, length time.Duration, tick func(at time.Time) []store.Sample) *Page {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord", Version: "1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for at := now.Add(-length).Truncate(10 * time.Second); !at.After(now); at = at.Add(10 * time.Second) {
		if batch := tick(at); len(batch) > 0 {
			if _, err := in.Insert(t.Context(), at, batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.Path, cfg.Device.ID = path, device
	monitor := health.NewMonitor(health.About{Name: "collectord"}, health.LimitsOf(cfg), func(context.Context) health.Input { return health.Input{} }, nil)
	p := New(Config{Config: cfg, Monitor: monitor, Now: func() time.Time { return now }})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func number(name string, value float64, tags ...string) store.Sample {
	var all []store.Tag
	for i := 0; i < len(tags); i += 2 {
		all = append(all, store.Tag{Name: tags[i], Value: tags[i+1]})
	}
	return store.Sample{Series: store.NewSeries(device, name, store.Number, all...), Value: value}
}

func readBoard(t *testing.T, p *Page) board {
	t.Helper()
	p.file.enter(t.Context())
	defer p.file.leave()
	r, err := p.file.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.readBoard(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBoard_CountsTheDay: what began today is counted once, however often and in however many
// portions the day is read.
func TestBoard_CountsTheDay(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 3, 4, 22, 0, 0, 0, time.Local)
	midnight := time.Date(2027, 3, 4, 0, 0, 0, 0, time.Local)
	began := []time.Duration{-time.Hour, 0, time.Minute, 3 * time.Hour, 21 * time.Hour} // the first one yesterday
	p := pageOf(t, now, 24*time.Hour, func(at time.Time) []store.Sample {
		if d := at.Sub(midnight); d > 10*time.Hour && d < 11*time.Hour {
			return nil // off
		}
		on := 0.0
		for _, b := range began {
			if d := at.Sub(midnight.Add(b)); d >= 0 && d < 30*time.Second {
				on = 1
			}
		}
		// It was on before the power was cut, and is after.
		if d := at.Sub(midnight); d == 10*time.Hour || d == 11*time.Hour {
			on = 1
		}
		return []store.Sample{
			number(throttlingActive, on, "reason", undervoltage), number(hwmonAlarm, on, "chip", "rpi_volt", "sensor", "in0", "alarm", undervoltageAlarm),
			number(hwmonAlarm, 1, "chip", "nct6775", "sensor", "fan3", "alarm", "fan"), number(throttlingActive, 0, "reason", "throttled"),
		}
	})
	b := readBoard(t, p)
	if len(b.Limits) != 1 || !b.Limits[0].Counting {
		t.Errorf("a first look: got %+v, want that the count goes on", b.Limits)
	}
	looks := 1
	for ; !p.tally.done; looks++ {
		b = readBoard(t, p)
	}
	want := limit{Reason: undervoltage, Events: 6, Last: midnight.Add(21 * time.Hour).UTC()}
	if looks < 3 || len(b.Limits) != 1 || b.Limits[0] != want {
		t.Errorf("got %+v after %d looks, want %+v after some", b.Limits, looks, want)
	}
	if again := readBoard(t, p); fmt.Sprint(again) != fmt.Sprint(b) {
		t.Errorf("another look: got %+v, want %+v", again, b)
	}
	tomorrow := midnight.Add(24*time.Hour + time.Minute)
	p.moment = func() clock.Moment { return clock.Moment{Wall: tomorrow} }
	if b := readBoard(t, p); len(b.Limits) != 0 {
		t.Errorf("the next day: got %+v, want none", b.Limits)
	}
}

func TestBoard_Newest(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	f := func(want board, samples ...store.Sample) {
		t.Helper()
		p := pageOf(t, now, 5*time.Minute, func(at time.Time) []store.Sample {
			if now.Sub(at) < 100*time.Second && now.Sub(at) != time.Minute { // as what is read once a minute
				return []store.Sample{number("other", 1)}
			}
			return samples
		})
		got := readBoard(t, p)
		got.Limits = nil
		if fmt.Sprintf("%+v", shown(got)) != fmt.Sprintf("%+v", shown(want)) {
			t.Errorf("got %+v, want %+v", shown(got), shown(want))
		}
	}
	ninety := 90.0
	f(board{}, number("cpu.usage_percent", 1))
	f(board{EMMC: []emmc{{"mmcblk0", &ninety, 2}, {"mmcblk1", nil, 1}}}, number(emmcLifeUsed, 90, "device", "mmcblk0", "memory", "a"),
		number(emmcLifeUsed, 10, "device", "mmcblk0", "memory", "b"), number(emmcPreEOL, 2, "device", "mmcblk0"), number(emmcPreEOL, 1, "device", "mmcblk1"))
	f(board{ServicesDown: []string{"a.service", "z.service"}}, number(servicesUp, 0, "service", "z.service"), number(servicesUp, 1, "service", "b"), number(servicesUp, 0, "service", "a.service"))
	f(board{WatchdogReset: true}, number(watchdogBoot, 33, "watchdog", "watchdog0"), number(watchdogBoot, 0, "watchdog", "watchdog1"))
	f(board{}, number(watchdogBoot, 1, "watchdog", "watchdog0"))
	f(board{DefaultRoute: "wwan0"}, number(defaultRoute, 1, "interface", "eth0", "family", "ipv6"), number(defaultRoute, 1, "interface", "wwan0", "family", "ipv4"),
		number(defaultRoute, 0, "interface", "wwan1", "family", "ipv4"))
	f(board{}, number(emmcLifeUsed, math.Inf(1), "device", "mmcblk0"))
}

// shown has the values instead of pointers.
func shown(b board) []string {
	out := []string{fmt.Sprint(b.ServicesDown, b.WatchdogReset, b.DefaultRoute)}
	for _, e := range b.EMMC {
		life := -1.0
		if e.LifeUsed != nil {
			life = *e.LifeUsed
		}
		out = append(out, fmt.Sprint(e.Device, life, e.PreEOL))
	}
	return out
}

func TestBusiest(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := pageOf(t, now, 2*time.Hour, func(at time.Time) (all []store.Sample) {
		for i := range 20 {
			all = append(all, number("rx", float64(i), "interface", fmt.Sprintf("if%d", i)), number("tx", 100, "interface", fmt.Sprintf("if%d", i)))
		}
		if now.Sub(at) > 90*time.Minute { // gone
			return append(all, number("rx", 1e9, "interface", "old"))
		}
		if now.Sub(at) < 6*time.Minute { // a tenth of the hour
			all = append(all, number("rx", 1090, "interface", "new"))
		}
		return append(all, number("rx", -5, "site", "x"))
	})
	url := serveMux(t, p)
	b := getJSON[busiest](t, url+"/api/busiest?name=rx&name=tx&by=interface&range=1h")
	var values []string
	for _, r := range b.Busiest {
		values = append(values, r.Value)
	}
	fresh := slices.Index(values, "new")
	if len(values) != 22 || !slices.Equal(values[:2], []string{"if19", "if18"}) || fresh < 0 || values[20] != "if0" || values[21] != "" {
		t.Fatalf("got %q, want the largest sum first, without what is gone", values)
	}
	if first := b.Busiest[0]; len(first.IDs) != 2 || math.Abs(first.Mean-119) > 1e-6 {
		t.Errorf("got %+v, want the mean of both its series", first)
	}
	if m := b.Busiest[fresh].Mean; m < 80 || m > 130 {
		t.Errorf("new has %v, want about a tenth of 1090", m)
	}
	c := getJSON[drawn](t, fmt.Sprintf("%s/api/series?id=%d&id=%d&id=999999", url, b.Busiest[0].IDs[0], b.Busiest[0].IDs[1]))
	if len(c.Series) != 2 || c.Series[0].Tags["interface"] != "if19" || c.Series[1].Tags["interface"] != "if19" {
		t.Errorf("by id: got %+v", c.Series)
	}
	both := getJSON[drawn](t, fmt.Sprintf("%s/api/series?name=rx&id=%d&id=%d", url, b.Busiest[0].IDs[0], b.Busiest[0].IDs[1]))
	if len(both.Series) != 23 { // 22 of rx and one of tx
		t.Errorf("by name and id: got %d series, want each once", len(both.Series))
	}
	for _, query := range []string{"busiest", "busiest?name=rx", "busiest?by=interface", "busiest?name=rx&by=interface&range=1y", "series?id=x", "series?id=1" + strings.Repeat("&id=1", 200)} {
		if resp, body := get(t, url+"/api/"+query, ""); resp.StatusCode != 400 {
			t.Errorf("%.40s: got %d %s, want 400", query, resp.StatusCode, body)
		}
	}
}
