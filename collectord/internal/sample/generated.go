package sample

import (
	"hash/fnv"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// generated replaces a collector on systems that are not Linux: it generates
// samples for the metrics of that collector, so that everything behind it
// can be developed and tried there. The numbers depend on nothing but the
// series and the time; they are not about the machine.
type generated struct {
	name   string
	series []generatedSeries
	sent   bool // the strings
}

type generatedSeries struct {
	*Series
	metric *metrics.Metric
	seed   float64 // 0 to 1, another one for each series
}

// generatedLabels are the label values that series are made for, by the label
// names of their metric.
var generatedLabels = map[string][][]string{
	"":                  {{}},
	"core":              {{"0"}, {"1"}, {"2"}, {"3"}},
	"device":            {{"sda"}},
	"interface":         {{"eth0"}, {"eth1"}},
	"zone,type":         {{"thermal_zone0", "soc-thermal"}, {"thermal_zone1", "gpu-thermal"}},
	"chip,sensor":       {{"nvme", "Composite"}},
	"chip,sensor,alarm": {{"nvme", "Composite", "temp"}},
	"device,type":       {{"cooling_device0", "pwm-fan"}},
	"engine":            {{"fdbd0000.rkvenc-core"}},
	"reason":            {{"undervoltage"}, {"throttled"}},
	"supply":            {{"BAT0"}},
	"device,memory":     {{"mmcblk0", "a"}, {"mmcblk0", "b"}},
	"watchdog":          {{"watchdog0"}},
	"interface,family":  {{"eth0", "ipv4"}},
	"service":           {{"belaUI.service"}},
	"mountpoint,fstype": {{"/", "ext4"}},
}

func newGenerated(name string, reg *Registry) *generated {
	g := &generated{name: name}
	for i := range Table {
		m := &Table[i]
		if m.Collector != name {
			continue
		}
		values := generatedLabels[strings.Join(m.Labels, ",")]
		if m.Name == "cpu.usage_percent" {
			values = slices.Concat([][]string{{"all"}}, values)
		}
		for _, v := range values {
			s := reg.Series(m.Name, v...)
			h := fnv.New32a()
			_, _ = h.Write([]byte(s.Name + s.Tags)) // a hash does not fail
			g.series = append(g.series, generatedSeries{s, m, float64(h.Sum32()) / math.MaxUint32})
		}
	}
	return g
}

// Name implements Collector.
func (g *generated) Name() string { return g.name }

// Collect implements Collector. It never fails.
func (g *generated) Collect(at time.Time, out *Batch) error {
	for i := range g.series {
		s := &g.series[i]
		if s.Type == store.Number {
			out.Add(s.Series, s.value(at))
		} else if !g.sent {
			out.AddText(s.Series, "generated on "+runtime.GOOS)
		}
	}
	g.sent = true
	return nil
}

// value is a slow wave for a gauge and a straight line for a counter.
func (s *generatedSeries) value(at time.Time) float64 {
	seconds := float64(at.UnixMilli()) / 1000
	if s.metric.Kind == metrics.Counter {
		return math.Floor((1 + 999*s.seed) * seconds)
	}
	middle, swing := 10.0, 5.0
	switch s.metric.Unit {
	case "percent":
		middle, swing = 50, 45
	case "celsius":
		middle, swing = 55, 10
	case "bytes":
		middle, swing = 4<<30, 1<<30
	case "hertz":
		middle, swing = 1.8e9, 6e8
	}
	const period = 600 // seconds
	v := middle + swing*math.Sin(2*math.Pi*(seconds/period+s.seed))
	return max(s.possible.Min, min(s.possible.Max, quotient(v)))
}
