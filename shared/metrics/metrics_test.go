package metrics

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"belabox-metrics/shared/store"
)

var (
	sent     = Metric{Name: "uploader.sent_total", Kind: Counter, Help: "Samples sent."}
	rejected = Metric{Name: "uploader.rejected_total", Kind: Counter, Labels: []string{"reason"}, Help: "Samples refused,\nby reason."}
	pending  = Metric{Name: "storage.pending", Kind: Gauge, Help: `Rows in C:\wait.`}
	took     = Metric{Name: "uploader.duration_seconds", Kind: Histogram, Unit: "seconds", Help: "Time of an upload."}
)

func value(t *testing.T, s *Set, name string, tags ...store.Tag) float64 {
	t.Helper()
	for _, p := range s.Points() {
		if key(p.Name, p.Tags) == key(name, tags) {
			return p.Value
		}
	}
	t.Fatalf("no point %s%v in %v", name, tags, s.Points())
	return 0
}

func TestCounter_ConcurrentIncrements(t *testing.T) {
	t.Parallel()
	var s Set
	c := s.Counter(&sent)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Inc()
			}
		})
	}
	wg.Wait()
	c.Add(0.5)
	if got := value(t, &s, "uploader.sent_total"); got != 8000.5 {
		t.Errorf("got %v, want 8000.5", got)
	}
}

func TestGauge_IsReadWhenShown(t *testing.T) {
	t.Parallel()
	var s Set
	n := 3.0
	s.Func(&pending, func(emit func(float64, ...string)) { emit(n) })
	n = 7
	if got := value(t, &s, "storage.pending"); got != 7 {
		t.Errorf("got %v, want 7", got)
	}
}

func TestHistogram_Recordings(t *testing.T) {
	t.Parallel()
	var s Set
	h := s.Histogram(&took, 0.1, 1, 10)
	for _, v := range []float64{0.05, 0.1, 0.2, 1, 5, 100} {
		h.Observe(v)
	}
	for le, want := range map[string]float64{"0.1": 2, "1": 4, "10": 5, "+Inf": 6} {
		if got := value(t, &s, "uploader.duration_seconds_bucket", store.Tag{Name: "le", Value: le}); got != want {
			t.Errorf("le=%s: got %v, want %v", le, got, want)
		}
	}
	if got := value(t, &s, "uploader.duration_seconds_count"); got != 6 {
		t.Errorf("count: got %v, want 6", got)
	}
	if got := value(t, &s, "uploader.duration_seconds_sum"); got != 106.35 {
		t.Errorf("sum: got %v, want 106.35", got)
	}
}

// Totals go on over a restart, histograms too; gauges begin anew.
func TestRestore(t *testing.T) {
	t.Parallel()
	run := func(before []Point) (*Set, []Point) {
		var s Set
		s.Restore(before)
		s.Counter(&sent).Add(10)
		s.Func(&rejected, func(emit func(float64, ...string)) { emit(1, "bad"); emit(2, "worse") })
		s.Func(&pending, func(emit func(float64, ...string)) { emit(5) })
		s.Histogram(&took, 1).Observe(2)
		return &s, s.Points()
	}
	_, first := run(nil)
	second, _ := run(append(first, Point{Name: "gone.total", Kind: Counter, Value: 9}))
	for name, want := range map[string]float64{
		"uploader.sent_total": 20, "storage.pending": 5, "uploader.duration_seconds_count": 2, "uploader.duration_seconds_sum": 4,
	} {
		if got := value(t, second, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if got := value(t, second, "uploader.rejected_total", store.Tag{Name: "reason", Value: "worse"}); got != 4 {
		t.Errorf("rejected{worse}: got %v, want 4", got)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var s Set
	s.Counter(&sent).Add(12345678)
	s.Counter(&rejected, `a "b" \c`+"\n").Inc()
	s.Counter(&rejected, "d").Inc()
	s.Func(&pending, func(emit func(float64, ...string)) { emit(0.25) })
	s.Histogram(&took, 0.5).Observe(0.1)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	want := `# HELP uploader_sent_total Samples sent.
# TYPE uploader_sent_total counter
uploader_sent_total 1.2345678e+07
# HELP uploader_rejected_total Samples refused,\nby reason.
# TYPE uploader_rejected_total counter
uploader_rejected_total{reason="a \"b\" \\c\n"} 1
uploader_rejected_total{reason="d"} 1
# HELP storage_pending Rows in C:\\wait.
# TYPE storage_pending gauge
storage_pending 0.25
# HELP uploader_duration_seconds Time of an upload.
# TYPE uploader_duration_seconds histogram
uploader_duration_seconds_bucket{le="0.5"} 1
uploader_duration_seconds_bucket{le="+Inf"} 1
uploader_duration_seconds_sum 0.1
uploader_duration_seconds_count 1
`
	if got := rec.Body.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if ct := rec.Header().Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		t.Errorf("Content-Type %q", ct)
	}
}

func TestMisuseIsAMistakeOfTheProgram(t *testing.T) {
	t.Parallel()
	for what, f := range map[string]func(*Set){
		"a label too few":      func(s *Set) { s.Counter(&rejected) },
		"a gauge as a counter": func(s *Set) { s.Counter(&pending) },
		"bounds that descend":  func(s *Set) { s.Histogram(&took, 2, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f(new(Set))
		}()
	}
}
