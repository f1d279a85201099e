// Package link judges what shipperd's requests cost on the link: bytes of today and of the month, a
// forecast, and how sparing to be so that remote.monthly_budget_mb lasts. It promises that the
// answer follows from the recorded bytes and the time alone, so it is the same after a restart and
// in every program that reads the file. The bytes are estimates (package meter of shipperd).
package link

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// MaxInterval is the longest time between two uploads that a budget leads to.
const MaxInterval = 5 * time.Minute

// The share of an even day's bytes that is left for each day of the rest of the month decides.
// Below fullShare the backlog is paced, from pacedShare on fully, and then the intervals grow up to
// MaxInterval at spareShare. Each share has one answer, so nothing flaps, and what is left for a
// day settles where the device's use meets it.
const (
	fullShare  = 1.0
	pacedShare = 0.975
	spareShare = 0.9
)

// basisDays are the days that a forecast goes by, beside today.
const basisDays = 7

// Use is what was used and how sparing to be.
type Use struct {
	TodayFrom     time.Time `json:"today_from"` // days begin at midnight UTC, in each zone
	TodaySent     int64     `json:"today_sent_bytes"`
	TodayReceived int64     `json:"today_received_bytes"`
	From          time.Time `json:"month_from"`
	To            time.Time `json:"month_to"`
	Month         int64     `json:"month_bytes"`              // both ways
	Forecast      int64     `json:"forecast_bytes,omitempty"` // of the whole month, 0 = not enough is known
	Budget        int64     `json:"budget_bytes,omitempty"`   // 0 = unlimited
	Left          float64   `json:"left_ratio"`               // what is left for each day, of a day's share of the budget
	Thrift
	before float64 // Stretch at the end of the last month, in the first minutes of this one
}

// Thrift is how sparing to be. The zero value is not at all.
type Thrift struct {
	Pace     float64       `json:"pace"` // of the past, 0 to 1
	Interval time.Duration `json:"-"`    // between two uploads
	Stretch  float64       `json:"stretch"`
}

// Source is the file, in any of its handles.
type Source interface {
	Traffic(ctx context.Context) ([]store.DayTraffic, error)
	Timeline(ctx context.Context) (store.Timeline, error)
}

// Read judges what is recorded in a file.
func Read(ctx context.Context, file Source, c config.RemoteConfig) (Use, error) {
	days, err := file.Traffic(ctx)
	if err != nil {
		return Use{}, err
	}
	t, err := file.Timeline(ctx)
	if err != nil {
		return Use{}, err
	}
	return Of(days, t.Now(clock.Read()), c), nil
}

// Of judges days, at a time. Days that have not come yet count as today: a wrong clock has booked
// them.
func Of(days []store.DayTraffic, now time.Time, c config.RemoteConfig) Use {
	now = now.UTC()
	u := Use{Budget: c.MonthlyBudgetMB * 1_000_000}
	u.From, u.To = month(now, c.BudgetDay)
	today, from := store.DayOf(now), store.DayOf(u.From)
	u.TodayFrom = time.Unix(today*86400, 0).UTC()
	var basis, full int64
	for _, d := range days {
		n := d.Sent + d.Received
		switch {
		case d.Day >= today || d.Day == 0:
			u.TodaySent, u.TodayReceived = u.TodaySent+d.Sent, u.TodayReceived+d.Received
			basis += n
		case d.Day >= today-basisDays:
			basis += n
			full++
		}
		if d.Day >= from || d.Day == 0 {
			u.Month += n
		}
	}
	if measured := time.Duration(full)*24*time.Hour + now.Sub(u.TodayFrom); measured >= time.Hour && basis > 0 {
		u.Forecast = u.Month + int64(float64(basis)*u.To.Sub(now).Hours()/measured.Hours())
	}
	u.Thrift = Thrift{Interval: c.UploadInterval, Stretch: 1}
	if u.Budget > 0 {
		u.economise(now)
		if now.Sub(u.From) < 2*MaxInterval {
			u.before = Of(days, u.From.Add(-1), c).Stretch
		}
	}
	return u
}

// Slack is how many times remote.upload_interval the last upload may be ago without being late, as
// Stretch. When a month begins, the next upload is still due by the interval of the last one.
func (u Use) Slack() float64 { return max(u.Stretch, u.before) }

// month returns the month of a time, which begins with a day of the calendar's.
func month(now time.Time, day int) (from, to time.Time) {
	from = time.Date(now.Year(), now.Month(), max(day, 1), 0, 0, 0, 0, time.UTC)
	if from.After(now) {
		from = from.AddDate(0, -1, 0)
	}
	return from, from.AddDate(0, 1, 0)
}

func (u *Use) economise(now time.Time) {
	used, passed := float64(u.Month)/float64(u.Budget), float64(now.Sub(u.From))/float64(u.To.Sub(u.From))
	u.Left = max(0, (1-used)/(1-passed))
	between := func(from, to float64) float64 { return min(max((from-u.Left)/(from-to), 0), 1) }
	u.Pace = between(fullShare, pacedShare)
	if longest := max(MaxInterval, u.Interval); u.Interval > 0 {
		u.Stretch = math.Pow(float64(longest)/float64(u.Interval), between(pacedShare, spareShare))
		u.Interval = time.Duration(float64(u.Interval) * u.Stretch)
	}
}

// Lasts reports whether the budget will do: false when it is used up, or will be although shipperd
// is as sparing as it can be.
func (u Use) Lasts() bool {
	return u.Budget == 0 || u.Month < u.Budget && (u.Left > spareShare || u.Forecast <= u.Budget)
}

// Mode says in words how sparing shipperd is; "" without a budget.
func (u Use) Mode() string {
	switch {
	case u.Budget == 0:
		return ""
	case u.Month >= u.Budget:
		return "used up, as little traffic as possible"
	case u.Stretch > 1:
		return "longer intervals"
	case u.Pace > 0:
		return "the backlog is paced"
	}
	return "enough is left"
}

// Line returns one line about the link, for people: MB have 1000000 bytes, as in tariffs.
func (u Use) Line() string {
	if u.Month == 0 {
		return "nothing counted yet"
	}
	text := fmt.Sprintf("about %s MB today (sent %s, received %s), %s", MB(u.TodaySent+u.TodayReceived), MB(u.TodaySent), MB(u.TodayReceived), MB(u.Month))
	if u.Budget > 0 {
		text += " of " + MB(u.Budget)
	}
	text += " MB since " + u.From.Format(time.DateOnly)
	if u.Forecast > 0 {
		text += ", forecast " + MB(u.Forecast) + " MB"
	}
	if mode := u.Mode(); mode != "" {
		text += "; " + mode
	}
	if u.Stretch > 1 {
		text += ", one upload every " + human.Duration(u.Interval.Round(time.Second))
	}
	return text
}

// MB formats bytes as megabytes of 1000000, with as many digits as say something.
func MB(n int64) string {
	mb := float64(n) / 1e6
	digits := 0
	for limit := 100.0; digits < 2 && mb < limit; limit /= 10 {
		digits++
	}
	return strconv.FormatFloat(mb, 'f', digits, 64)
}

// Interface returns the interface that carried the last upload, which shipperd has left in the
// file, or "" where that is not known.
func Interface(stats []store.Stat) string {
	if names := metrics.LinkInterface.LabelsIn(stats); len(names) > 0 {
		return names[0]
	}
	return ""
}

// Unsampled returns how to have the interface that carries the uploads sampled, in a line of the
// configuration; "" where it is, or where there is none.
func Unsampled(c config.NetworkConfig, name string) string {
	if name == "" || c.Samples(name) {
		return ""
	}
	var patterns []string
	for _, p := range append(slices.Clone(c.Include), regexp.QuoteMeta(name)) {
		patterns = append(patterns, "'"+strings.ReplaceAll(p, "'", "''")+"'")
	}
	return fmt.Sprintf("%s carries the uploads and is not sampled. To sample it, set `network: {include: [%s]}` and restart collectord.", name, strings.Join(patterns, ", "))
}
