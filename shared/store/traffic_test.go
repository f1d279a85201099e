package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/clock"
)

// metered opens an outbox whose traffic and clocks the test sets.
type metered struct {
	*Outbox
	sent, received int64
	at             clock.Moment
}

func openMetered(t testing.TB, path string, at clock.Moment) *metered {
	t.Helper()
	m := &metered{Outbox: openOutbox(t, options(path)), at: at}
	m.MeterTraffic(func() (int64, int64) { return m.sent, m.received }, func() clock.Moment { return m.at })
	return m
}

// write is a transaction that has nothing to do with traffic.
func (m *metered) write(t tester) {
	t.Helper()
	if err := m.MarkUnsendable(background, nil); err != nil {
		t.Fatalf("%v", err)
	}
}

func (m *metered) days(t tester) []DayTraffic {
	t.Helper()
	days, err := m.Traffic(background)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return days
}

func synced(day int64) clock.Moment {
	return clock.Moment{Wall: time.Unix(day*86400+3600, 0), BootID: "b", Sync: clock.Yes}
}

func TestTraffic_BookedWithOtherTransactions(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	m := openMetered(t, path, synced(20_000))
	m.write(t)
	if got := m.days(t); len(got) > 0 {
		t.Errorf("without traffic: %v", got)
	}
	m.sent, m.received = 100, 50
	m.write(t) // the first is booked at once
	m.sent, m.received = m.sent+trafficBytes/2, m.received+trafficBytes/2-1
	m.write(t)
	want := []DayTraffic{{20_000, 100, 50}}
	if got := m.days(t); !reflect.DeepEqual(got, want) {
		t.Errorf("after little more: %v, want %v", got, want)
	}
	m.received++
	m.write(t)
	want = []DayTraffic{{20_000, 100 + trafficBytes/2, 50 + trafficBytes/2}}
	if got := m.days(t); !reflect.DeepEqual(got, want) {
		t.Errorf("after much: %v, want %v", got, want)
	}
	m.sent++
	if err := m.BookTraffic(background); err != nil {
		t.Fatal(err)
	}
	abandon(m.Outbox)
	m = openMetered(t, path, synced(20_001))
	m.sent = 7
	m.write(t)
	want[0].Sent++
	want = append(want, DayTraffic{20_001, 7, 0})
	if got := m.days(t); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart: %v, want %v", got, want)
	}
}

// A transaction that fails, or whose commit fails, leaves its bytes for the next one.
func TestTraffic_FailedTransaction(t *testing.T) {
	t.Parallel()
	m := openMetered(t, newPath(t), synced(20_000))
	m.sent = 5
	refused := errors.New("no")
	if err := m.w.tx(background, unsynced, func(context.Context, execer) error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	err := m.w.tx(background, unsynced, func(ctx context.Context, tx execer) error {
		_, err := exec(ctx, tx, "CREATE TABLE child (x REFERENCES sessions (id) DEFERRABLE INITIALLY DEFERRED)")
		if err == nil {
			_, err = exec(ctx, tx, "INSERT INTO child VALUES (-1)")
		}
		return err
	})
	if err == nil {
		t.Fatal("the commit did not fail")
	}
	if got := m.days(t); len(got) > 0 {
		t.Errorf("booked all the same: %v", got)
	}
	m.write(t)
	if got, want := m.days(t), []DayTraffic{{20_000, 5, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBookingDay(t *testing.T) {
	t.Parallel()
	const day = 20_000
	days := []DayTraffic{{Day: day - 1}, {Day: day}}
	epoch := func(boot string, how How) Timeline { return Timeline{{Boot: boot, How: how}} }
	for name, tc := range map[string]struct {
		line  Timeline
		sync  clock.Sync
		wall  int64
		days  []DayTraffic
		want  int64
		known bool
	}{
		"synchronised":                  {epoch("a", HowUnknown), clock.Yes, day + 1, days, day + 1, true},
		"synchronised, set back":        {epoch("a", HowUnknown), clock.Yes, day - 1, days, day - 1, true},
		"known by the server":           {epoch("b", HowServer), clock.No, day + 1, days, day + 1, true},
		"not known yet, clock of 1970":  {epoch("b", HowUnknown), clock.No, 0, days, day, false},
		"not known yet, clock of 2099":  {epoch("b", HowUnknown), clock.No, 47_000, days, day, false},
		"not known yet, and never was":  {epoch("b", HowUnknown), clock.No, 47_000, nil, 0, false},
		"epoch of another boot":         {epoch("a", HowServer), clock.Unknown, day + 9, days, day, false},
		"nobody can tell, clock is on":  {epoch("b", HowUnconfirmed), clock.Unknown, day + 1, days, day + 1, false},
		"nobody can tell, clock behind": {epoch("b", HowUnconfirmed), clock.Unknown, day - 9, days, day, false},
		"before 1970":                   {epoch("b", HowClock), clock.No, -3, nil, 0, true},
	} {
		at := clock.Moment{Wall: time.Unix(tc.wall*86400, 0), BootID: "b", Sync: tc.sync}
		line := tc.line
		line[0].WallMinusBoot = at.WallMinusBoot()
		if got, known := bookingDay(line, at, tc.days); got != tc.want || known != tc.known {
			t.Errorf("%s: day %d, known %v; want %d, %v", name, got, known, tc.want, tc.known)
		}
	}
}

// TestTraffic_Property: kills, clocks that jump, days that pass and times that are not known yet.
// No byte that was booked is lost while its day is one of the last 62, none is booked twice, and a
// kill costs what was counted since the last booking.
func TestTraffic_Property(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	m := openMetered(t, path, synced(20_000))
	rapid.Check(t, func(rt *rapid.T) {
		mustExec(rt, m.pool, "DELETE FROM traffic")
		var booked, lost int64 // of this run and those before
		day := int64(20_000)
		m.sent, m.received, m.at = 0, 0, synced(day)
		m.traffic.sent, m.traffic.received, m.traffic.at = 0, 0, time.Time{}
		sum := func() (n int64) {
			for _, d := range m.days(rt) {
				n += d.Sent + d.Received
			}
			return n
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"send", "send", "kill", "day", "jump", "unset", "known"}).Draw(rt, "step") {
			case "send":
				m.sent += rapid.Int64Range(0, 3*trafficBytes).Draw(rt, "bytes")
				m.received += rapid.Int64Range(0, trafficBytes).Draw(rt, "bytes")
			case "kill": // and a start
				lost += m.sent + m.received - m.traffic.sent - m.traffic.received
				booked += m.traffic.sent + m.traffic.received
				m.sent, m.received = 0, 0
				m.traffic.sent, m.traffic.received, m.traffic.at = 0, 0, time.Time{}
			case "day":
				day++
				m.at = synced(day)
			case "jump":
				m.at = synced(day + rapid.Int64Range(-20, 20).Draw(rt, "days"))
			case "unset":
				m.at = clock.Moment{Wall: time.Unix(rapid.Int64Range(0, 1<<33).Draw(rt, "clock"), 0), BootID: "b", Sync: clock.No}
			case "known":
				m.at = synced(day)
			}
			m.write(rt)
			if got, want := sum(), booked+m.traffic.sent+m.traffic.received; got != want {
				rt.Fatalf("the file has %d bytes, booked were %d", got, want)
			}
			if left := m.sent + m.received - m.traffic.sent - m.traffic.received; left >= trafficBytes {
				rt.Fatalf("%d bytes are not booked", left)
			}
		}
		if lost >= 30*trafficBytes {
			rt.Fatalf("kills have cost %d bytes", lost)
		}
	})
}

// Days of the month before last go, and so do those that a wrong clock has booked ahead.
func TestTraffic_OldDaysGo(t *testing.T) {
	t.Parallel()
	m := openMetered(t, newPath(t), synced(20_000))
	for _, day := range []int64{0, 19_938, 19_939, 19_999, 20_009, 47_000} {
		mustExec(t, m.pool, "INSERT INTO traffic VALUES (?, 1, 2)", day)
	}
	m.sent = 10
	m.write(t)
	want := []DayTraffic{{19_939, 1, 2}, {19_999, 1, 2}, {20_000, 13, 6}}
	if got := m.days(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Damaged numbers keep nobody from booking on.
func TestTraffic_DamagedNumbers(t *testing.T) {
	t.Parallel()
	m := openMetered(t, newPath(t), synced(20_000))
	mustExec(t, m.pool, "PRAGMA ignore_check_constraints = 1")
	mustExec(t, m.pool, "INSERT INTO traffic VALUES (20000, 9223372036854775807, -9223372036854775808), (20001, 9223372036854775807, 5)")
	m.sent, m.received = rand.Int64N(1000)+1, 1
	m.write(t)
	if got, want := m.days(t), []DayTraffic{{20_000, maxTraffic, 6}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
