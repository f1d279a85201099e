package health

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/logx"
)

// at is a moment of the story, in seconds.
func at(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }

func TestMonitor_Since(t *testing.T) {
	t.Parallel()
	var in Input
	var clock time.Time
	m := NewMonitor(About{}, defaults, func(context.Context) Input { return in }, func() time.Time { return clock })
	ask := func(second int) Report {
		clock = at(second)
		return m.Report(t.Context())
	}
	f := func(name string, got time.Time, want int) {
		t.Helper()
		if !got.Equal(at(want)) {
			t.Errorf("%s: got %v, want %v", name, got, at(want))
		}
	}
	storage := &Storage{}
	list := &Collectors{List: make([]Collector, 2)}
	in = Input{Storage: storage, Collectors: list}

	r := ask(0)
	f("ok from the first report", r.Since, 0)
	r = ask(10)
	f("ok still", r.Since, 0)
	f("component ok", r.Components["storage"].Since, 0)

	storage.Pending = 6000
	r = ask(20)
	f("backlog, first seen", r.Conditions[0].Since, 20)
	f("degraded", r.Since, 20)
	f("storage", r.Components["storage"].Since, 20)
	f("collectors untouched", r.Components["collectors"].Since, 0)

	storage.Pending = 12000
	r = ask(30)
	f("large backlog is another reason", r.Conditions[0].Since, 30)
	f("degraded still", r.Since, 20)

	list.List[0].FailingSince = at(33)
	r = ask(40)
	f("the facts know better", r.Conditions[0].Since, 33)
	f("collectors", r.Components["collectors"].Since, 33)

	list.List[1].FailingSince = at(44)
	r = ask(50)
	f("all collectors", r.Conditions[0].Since, 44)
	f("error", r.Since, 44)
	f("collectors, error", r.Components["collectors"].Since, 44)
	f("storage all the time", r.Components["storage"].Since, 20)

	list.List = make([]Collector, 2)
	storage.Pending = 0
	storage.Found = []Active{{Component: "storage", Code: "note", Since: at(-100)}}
	r = ask(60)
	f("ok again", r.Since, 60)
	f("storage ok again, whatever is noted", r.Components["storage"].Since, 60)

	storage.Pending = 12000
	r = ask(70)
	f("nothing is left of the first time", r.Conditions[0].Since, 70)
}

// TestMonitor_JSON is the whole answer, as tools see it.
func TestMonitor_JSON(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	about := About{Name: "collectord", Version: "1.2.3", SessionID: "s", Started: at(-60).In(zone)}
	m := NewMonitor(about, defaults, func(context.Context) Input {
		in := collectors(2, 1)
		in.Collectors.List[1].Error = "disk: broken"
		in.Collectors.List[0].LastSuccess = now.In(zone).Add(123456 * time.Microsecond)
		in.Uploader = &Uploader{Started: at(-5).In(zone)}
		in.Storage = &Storage{Pending: 7, OldestPending: at(-9).In(zone), DatabaseBytes: 4096, WALBytes: 32}
		in.Time = &Clock{Checked: at(-1).In(zone), SkewMS: -12, Source: "http://server/"}
		return in
	}, func() time.Time { return now.In(zone) })
	got, err := json.MarshalIndent(m.Report(t.Context()), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "status": "degraded",
 "since": "2026-11-23T11:59:00Z",
 "time": "2026-11-23T12:00:00Z",
 "daemon": {
  "name": "collectord",
  "version": "1.2.3",
  "session_id": "s",
  "started": "2026-11-23T11:59:00Z"
 },
 "reasons": [
  {
   "component": "collectors",
   "code": "collectors_failing",
   "severity": "degraded",
   "message": "1 of 2 collectors are failing: b",
   "remedy": "See the error in the list of collectors. Repair the sensor or driver, add the names in brackets to ` + "`collection.ignore_sensors`" + ` if they will not work again, or disable the collector under ` + "`collection.collectors`" + `.",
   "since": "2026-11-23T11:59:00Z"
  }
 ],
 "components": {
  "collectors": {
   "status": "degraded",
   "since": "2026-11-23T11:59:00Z",
   "facts": {
    "list": [
     {
      "name": "a",
      "last_success": "2026-11-23T12:00:00.123Z"
     },
     {
      "name": "b",
      "last_success": "2026-11-23T12:00:00Z",
      "failing_since": "2026-11-23T11:59:00Z",
      "error": "disk: broken"
     }
    ]
   }
  },
  "storage": {
   "status": "ok",
   "since": "2026-11-23T12:00:00Z",
   "facts": {
    "pending_rows": 7,
    "oldest_pending": "2026-11-23T11:59:51Z",
    "database_bytes": 4096,
    "wal_bytes": 32
   }
  },
  "time": {
   "status": "ok",
   "since": "2026-11-23T12:00:00Z",
   "facts": {
    "checked": "2026-11-23T11:59:59Z",
    "skew_ms": -12,
    "source": "http://server/"
   }
  },
  "uploader": {
   "status": "ok",
   "since": "2026-11-23T12:00:00Z",
   "facts": {
    "started": "2026-11-23T11:59:55Z"
   }
  }
 }
}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestMonitor_Watch: nobody asks, and all the same the report knows since when, the log has each
// change once, and systemd's line is kept.
func TestMonitor_Watch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		log, err := logx.New(&buf, "debug", "json")
		if err != nil {
			t.Fatal(err)
		}
		var pending atomic.Int64
		m := NewMonitor(About{}, defaults, func(context.Context) Input {
			return Input{Storage: &Storage{Pending: pending.Load()}, Time: &Clock{Found: []Active{ClockUnchecked.Active(time.Time{})}}}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		var lines []string
		go func() {
			done <- m.Watch(ctx, log, func(line string) error { lines = append(lines, line); return errBusy })
		}()
		time.Sleep(time.Hour)
		if buf.Len() > 0 {
			t.Errorf("ok all the time: got %s, want nothing", &buf)
		}
		pending.Store(5000)
		began := time.Now()
		time.Sleep(time.Hour)
		r := m.Report(t.Context())
		if late := r.Conditions[0].Since.Sub(began); r.Conditions[0].Code != "backlog" || late < 0 || late > watchEvery {
			t.Errorf("got %+v, want a backlog since %v", r.Conditions[0], began)
		}
		pending.Store(0)
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
		want := []string{
			`"level":"WARN","msg":"health changed","status":"degraded","was":"ok","reasons":["storage/backlog"]`,
			`"level":"INFO","msg":"health changed","status":"ok","was":"degraded","reasons":[]`,
		}
		if got := strings.Split(strings.TrimSpace(buf.String()), "\n"); len(got) != 2 || !strings.Contains(got[0], want[0]) || !strings.Contains(got[1], want[1]) {
			t.Errorf("got\n%s\nwant one line each way", &buf)
		}
		if want := []string{"ok: the clock is not checked", "degraded: 5,000 or more rows pending, the clock is not checked", "ok: the clock is not checked"}; !slices.Equal(lines, want) {
			t.Errorf("got %q, want %q", lines, want)
		}
	})
}

// TestMonitor_Soon: a report comes after rare work, and then half a minute later; not before the
// first one that counts, and not much more often than otherwise.
func TestMonitor_Soon(t *testing.T) {
	t.Parallel()
	f := func(soon []int, want ...int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var got []int
			m := NewMonitor(About{}, defaults, func(context.Context) Input {
				got = append(got, int(time.Since(start).Seconds()))
				return Input{}
			}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Watch(ctx, slog.New(slog.DiscardHandler), nil) }()
			for second := range 130 {
				synctest.Wait()
				if slices.Contains(soon, second) {
					m.Soon()
				}
				time.Sleep(time.Second)
			}
			cancel()
			if err := <-done; err != nil || !slices.Equal(got, want) {
				t.Errorf("after work at %d s: reports at %d s, %v, want %d", soon, got, err, want)
			}
		})
	}
	f(nil, 0, 30, 60, 90, 120)
	f([]int{12, 29}, 0, 30, 60, 90, 120)
	f([]int{35, 45}, 0, 30, 45, 75, 105)
	f([]int{41, 43, 50, 52}, 0, 30, 41, 52, 82, 112)
}

// TestMonitor_EmptyJSON: a list without entries is a list.
func TestMonitor_EmptyJSON(t *testing.T) {
	t.Parallel()
	m := NewMonitor(About{}, defaults, func(context.Context) Input { return collectors(0) }, nil)
	got, err := json.Marshal(m.Report(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Reasons    []any
		Components struct {
			Collectors struct{ Facts struct{ List []any } }
		}
	}
	if err := json.Unmarshal(got, &r); err != nil {
		t.Fatal(err)
	}
	if r.Reasons == nil || r.Components.Collectors.Facts.List == nil {
		t.Errorf("got %s, want empty lists, not null", got)
	}
}

func TestStatus_Text(t *testing.T) {
	t.Parallel()
	for s, want := range map[Status]string{OK: "ok", Degraded: "degraded", Error: "error", 9: "Status(9)"} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
