package link

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
)

func remote(budgetMB int64, day int) config.RemoteConfig {
	return config.RemoteConfig{MonthlyBudgetMB: budgetMB, BudgetDay: day, UploadInterval: 30 * time.Second}
}

func date(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func dayOf(text string) int64 { return store.DayOf(date(text + " 00:00")) }

func TestMonth(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		now      string
		day      int
		from, to string
	}{
		{"2026-11-29 12:00", 1, "2026-11-01", "2026-12-01"},
		{"2026-11-01 00:00", 1, "2026-11-01", "2026-12-01"},
		{"2026-02-28 23:59", 28, "2026-02-28", "2026-03-28"},
		{"2026-02-27 23:59", 28, "2026-01-28", "2026-02-28"},
		{"2024-02-29 10:00", 28, "2024-02-28", "2024-03-28"},
		{"2026-01-05 10:00", 15, "2025-12-15", "2026-01-15"},
		{"2026-03-31 10:00", 0, "2026-03-01", "2026-04-01"},
	} {
		from, to := month(date(tc.now), tc.day)
		if !from.Equal(date(tc.from+" 00:00")) || !to.Equal(date(tc.to+" 00:00")) {
			t.Errorf("%s, day %d: %v to %v, want %s to %s", tc.now, tc.day, from, to, tc.from, tc.to)
		}
	}
}

// Days are those of UTC: neither the zone nor summer time moves a byte.
func TestOf_Zones(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	days := []store.DayTraffic{{Day: dayOf("2026-03-28"), Sent: 1}, {Day: dayOf("2026-03-29"), Sent: 2}, {Day: dayOf("2026-03-30"), Sent: 4}}
	for _, tc := range []struct {
		local string
		today int64 // days that are still to come count as today
	}{{"2026-03-29 00:59", 7}, {"2026-03-29 01:01", 6}, {"2026-03-29 03:30", 6}, {"2026-03-30 01:59", 6}, {"2026-03-30 02:00", 4}} {
		now, err := time.ParseInLocation("2006-01-02 15:04", tc.local, berlin)
		if err != nil {
			t.Fatal(err)
		}
		u := Of(days, now, remote(0, 1))
		if u.TodaySent != tc.today || u.Month != 7 {
			t.Errorf("%s: %d today, %d in the month; want %d and 7", tc.local, u.TodaySent, u.Month, tc.today)
		}
		if u.Pace > 0 || u.Stretch != 1 || u.Mode() != "" || !u.Lasts() {
			t.Errorf("without a budget: %+v", u)
		}
	}
}

func TestOf_TodayMonthForecast(t *testing.T) {
	t.Parallel()
	var days []store.DayTraffic
	for d := dayOf("2026-10-20"); d <= dayOf("2026-11-10"); d++ {
		days = append(days, store.DayTraffic{Day: d, Sent: 600_000, Received: 400_000})
	}
	days[len(days)-1] = store.DayTraffic{Day: dayOf("2026-11-10"), Sent: 300_000, Received: 200_000}
	u := Of(days, date("2026-11-10 12:00"), remote(50, 1))
	if u.TodaySent != 300_000 || u.TodayReceived != 200_000 || u.Month != 9_500_000 || u.Forecast != 30_000_000 || u.Budget != 50_000_000 {
		t.Errorf("got %+v, want 30 MB for the month", u)
	}
	if u.Pace > 0 || u.Stretch != 1 || u.Mode() != "enough is left" || !u.Lasts() {
		t.Errorf("got %+v, %q, want nothing to be sparing for", u, u.Mode())
	}
	if u := Of(days, date("2026-11-10 12:00"), remote(50, 9)); u.Month != 1_500_000 {
		t.Errorf("from the 9th on: %d", u.Month)
	}
	if u := Of(nil, date("2026-11-10 12:00"), remote(50, 1)); u.Forecast != 0 || u.Month != 0 || !u.Lasts() {
		t.Errorf("nothing is known: %+v", u)
	}
	// A wrong clock's days, and one that is not known, count: the budget is not overdrawn by them.
	odd := []store.DayTraffic{{Day: 0, Sent: 1}, {Day: dayOf("2026-11-10"), Sent: 2}, {Day: 40_000, Sent: 4}}
	if u := Of(odd, date("2026-11-10 12:00"), remote(50, 1)); u.TodaySent != 7 || u.Month != 7 {
		t.Errorf("of wrong days: %+v", u)
	}
}

func TestOf_Steps(t *testing.T) {
	t.Parallel()
	now := date("2026-11-16 00:00") // the middle of 30 days
	at := func(usedMB float64, interval time.Duration) Use {
		c := remote(100, 1)
		c.UploadInterval = interval
		return Of([]store.DayTraffic{{Day: dayOf("2026-11-08"), Sent: int64(usedMB * 1e6)}}, now, c)
	}
	for _, tc := range []struct {
		used     float64
		pace     float64
		interval time.Duration
		mode     string
	}{
		{50, 0, 30 * time.Second, "enough is left"},
		{50.5, 0.4, 30 * time.Second, "the backlog is paced"},
		{51.25, 1, 30 * time.Second, "the backlog is paced"},
		{53.125, 1, 95 * time.Second, "longer intervals"},
		{55, 1, 5 * time.Minute, "longer intervals"},
		{99, 1, 5 * time.Minute, "longer intervals"},
		{100, 1, 5 * time.Minute, "used up, as little traffic as possible"},
	} {
		u := at(tc.used, 30*time.Second)
		if math.Abs(u.Pace-tc.pace) > 0.001 || (u.Interval-tc.interval).Abs() > time.Second || u.Mode() != tc.mode {
			t.Errorf("%v MB: pace %v, interval %v, %q; want %v, %v, %q", tc.used, u.Pace, u.Interval, u.Mode(), tc.pace, tc.interval, tc.mode)
		}
	}
	if u := at(100, 10*time.Minute); u.Interval != 10*time.Minute || u.Stretch != 1 {
		t.Errorf("an interval that is longer already became %v", u.Interval)
	}
	if !at(54, time.Minute).Lasts() || at(100, time.Minute).Lasts() {
		t.Error("it lasts while there is a step left, and not when it is used up")
	}
	spent := at(60, time.Minute) // in earlier days, and 9 MB a day since
	if spent.Forecast = 195_000_000; spent.Lasts() {
		t.Error("as sparing as possible and the forecast above the budget: it does not last")
	}
}

// In the first minutes of a month the last upload is as old as the last month's interval allows.
func TestUse_Slack(t *testing.T) {
	t.Parallel()
	days := []store.DayTraffic{{Day: dayOf("2026-11-20"), Sent: 120_000_000}}
	for now, want := range map[string]float64{
		"2026-11-30 23:59": 10, "2026-12-01 00:00": 10, "2026-12-01 00:09": 10, "2026-12-01 00:10": 1,
	} {
		if u := Of(days, date(now), remote(100, 1)); u.Slack() != want || now > "2026-12" && u.Stretch != 1 {
			t.Errorf("%s: %v times, intervals %v times as long; want %v", now, u.Slack(), u.Stretch, want)
		}
	}
	if u := Of(days, date("2026-12-01 00:01"), remote(0, 1)); u.Slack() != 1 {
		t.Errorf("without a budget: %v times", u.Slack())
	}
}

// More used never means less sparing, and the backlog is paced before an interval grows.
func TestOf_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := date("2026-11-01 00:00").Add(time.Duration(rapid.IntRange(1, 30*24*60-1).Draw(t, "minutes")) * time.Minute)
		a := rapid.Int64Range(0, 120_000_000).Draw(t, "used")
		b := a + rapid.Int64Range(0, 10_000_000).Draw(t, "more")
		of := func(n int64) Use {
			return Of([]store.DayTraffic{{Day: dayOf("2026-11-01"), Sent: n}}, now, remote(100, 1))
		}
		x, y := of(a), of(b)
		if y.Pace < x.Pace || y.Interval < x.Interval || x.Interval < 30*time.Second || y.Interval > MaxInterval || x.Pace < 0 || y.Pace > 1 {
			t.Fatalf("%d bytes: %+v; %d bytes: %+v", a, x, b, y)
		}
		if x.Stretch > 1 && x.Pace < 1 {
			t.Fatalf("longer intervals before the backlog is paced: %+v", x)
		}
	})
}

// A device whose uploads cost three times the budget at its own interval and half of it at five
// minutes: the month ends within the budget, and the interval does not flap. In the last hours a
// single upload is a large part of what is left.
func TestOf_MonthOfADevice(t *testing.T) {
	t.Parallel()
	c := remote(50, 1)
	cost := func(interval time.Duration) float64 { // bytes a second
		even := 50e6 / (30 * 86400)
		return even * (0.3 + 2.7*30/interval.Seconds())
	}
	days := map[int64]float64{}
	var last time.Duration
	turns, rising := 0, true
	for now := date("2026-11-01 00:00"); now.Before(date("2026-12-01 00:00")); {
		var list []store.DayTraffic
		for d, n := range days {
			list = append(list, store.DayTraffic{Day: d, Sent: int64(n)})
		}
		u := Of(list, now, c)
		if up := u.Interval > last; last > 0 && now.Before(date("2026-11-30 22:00")) && up != rising && (u.Interval-last).Abs() > 5*time.Second {
			turns, rising = turns+1, up
		}
		last = u.Interval
		days[store.DayOf(now)] += cost(u.Interval) * u.Interval.Seconds()
		now = now.Add(u.Interval)
	}
	var sum, most float64
	for _, n := range days {
		sum, most = sum+n, max(most, n)
	}
	if sum > 50.1e6 || sum < 48e6 {
		t.Errorf("%.1f MB in the month, want nearly 50", sum/1e6)
	}
	if turns > 2 {
		t.Errorf("the interval has jumped %d times", turns)
	}
	t.Logf("%.2f MB, at most %.2f a day", sum/1e6, most/1e6)
}

func TestLine(t *testing.T) {
	t.Parallel()
	days := []store.DayTraffic{{Day: dayOf("2026-11-15"), Sent: 40_000_000, Received: 14_500_000}, {Day: dayOf("2026-11-16"), Sent: 900_000, Received: 100_000}}
	for budget, want := range map[int64]string{
		0:   "about 1.00 MB today (sent 0.90, received 0.10), 55.5 MB since 2026-11-01, forecast 592 MB",
		100: "about 1.00 MB today (sent 0.90, received 0.10), 55.5 of 100 MB since 2026-11-01, forecast 592 MB; longer intervals, one upload every 1 min 16 s",
	} {
		got := Of(days, date("2026-11-16 12:00"), remote(budget, 1)).Line()
		if budget == 0 && got != want || !strings.HasPrefix(got, strings.Split(want, ";")[0]) {
			t.Errorf("budget %d: got %q, want %q", budget, got, want)
		}
	}
}

func TestUnsampled(t *testing.T) {
	t.Parallel()
	c := config.Default().Network
	for name, want := range map[string]string{
		"":          "",
		"eth0":      "",
		"wwan0":     "wwan0 carries the uploads and is not sampled. To sample it, set `network: {include: ['wwan0']}` and restart collectord.",
		"wwan0.100": "`network: {include: ['wwan0\\.100']}`",
	} {
		if got := Unsampled(c, name); got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	c.Include = []string{"usb.*", "it's"}
	if got := Unsampled(c, "wwan0"); !strings.Contains(got, "`network: {include: ['usb.*', 'it''s', 'wwan0']}`") {
		t.Errorf("got %q, want the other patterns, too", got)
	}
	// The line does what it says.
	cfg, err := config.Parse("test.yaml", []byte(`network: {include: ['usb.*', 'it''s', 'wwan0\.1']}`))
	if err != nil || !cfg.Network.Samples("wwan0.1") || !cfg.Network.Samples("usb3") || cfg.Network.Samples("wwan1") {
		t.Errorf("got %+v, %v", cfg.Network, err)
	}
}

func TestInterface(t *testing.T) {
	t.Parallel()
	stats := []store.Stat{
		{Name: "link.interface", Tags: `{"inter`, Value: 1},
		{Name: "link.interface", Tags: `{"interface":"wwan0"}`, Value: 1},
	}
	if name := Interface(stats); name != "wwan0" {
		t.Errorf("got %q, want wwan0", name)
	}
	if name := Interface(stats[:1]); name != "" {
		t.Errorf("without any: %q", name)
	}
}
