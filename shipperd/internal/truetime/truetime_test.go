package truetime

import (
	"fmt"
	"slices"
	"testing"

	"belabox-metrics/shared/store"
)

const (
	second = int64(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
	now    = int64(1_790_000_000_000) // 2026
)

// sync is whether something keeps a clock right.
type sync uint8

const (
	cannot sync = iota // nobody can tell
	unsynced
	synced
)

// world is a file that a device writes; its true time is known here.
type world struct {
	ms     int64 // file time of the newest row
	epochs []store.EpochSpan
	truth  []int64 // true time minus CLOCK_BOOTTIME, of each epoch
}

// epoch adds an epoch of a boot that began at the true time bootMS, with rows from one uptime to
// another. ahead is how far the wall clock is ahead.
func (w *world) epoch(boot string, bootMS, fromUptime, toUptime, ahead int64, s sync) {
	first := (w.ms/grid + 1) * grid
	wall := bootMS + fromUptime + ahead
	if wall > first && wall < first+30*day {
		first = wall
	}
	e := store.EpochSpan{Rows: true, FromMS: first, ToMS: first + toUptime - fromUptime}
	e.First, e.Boot, e.WallOffset, e.WallMinusBoot = store.PackKey(first, 0), boot, wall-first, bootMS+ahead
	e.Synchronised.Valid, e.Synchronised.Bool = s != cannot, s == synced
	w.ms = e.ToMS
	w.epochs, w.truth = append(w.epochs, e), append(w.truth, bootMS)
}

// apply writes corrections as the store does.
func (w *world) apply(t interface {
	Helper()
	Fatalf(string, ...any)
}, corrections []store.Epoch,
) {
	t.Helper()
	for _, c := range corrections {
		i := slices.IndexFunc(w.epochs, func(e store.EpochSpan) bool { return e.First == c.First })
		if w.epochs[i].How != store.HowUnknown {
			t.Fatalf("epoch %d is corrected twice", i)
		}
		w.epochs[i].TrueOffset, w.epochs[i].How = c.TrueOffset, c.How
	}
}

// want compares "how error" of all epochs; the error is of the first row.
func (w *world) want(t *testing.T, p Present, want ...string) {
	t.Helper()
	w.apply(t, Derive(w.epochs, p))
	var got []string
	for i, e := range w.epochs {
		if e.How == store.HowUnknown {
			got = append(got, "waits")
			continue
		}
		uptime := e.FromMS + e.WallOffset - e.WallMinusBoot
		got = append(got, fmt.Sprintf("%s %d", e.How, e.FromMS+e.TrueOffset-w.truth[i]-uptime))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := Derive(w.epochs, p); !slices.ContainsFunc(w.epochs, func(e store.EpochSpan) bool { return e.How == store.HowUnknown }) && len(again) > 0 {
		t.Errorf("corrected again: %+v", again)
	}
}

// present is a boot that began at bootMS and runs since uptime.
func present(boot string, bootMS, uptime, ahead int64, s Server) Present {
	return Present{Boot: boot, BootMS: uptime, WallMinusBoot: bootMS + ahead, Server: s}
}

func server(ms int64) Server { return Server{Answer: Known, Offset: ms} }

func TestDerive_Synchronised(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, 0, synced)
	w.want(t, present("a", now, hour, 0, server(now+2*day)), "clock 0")
}

// A clock that is wrong and synchronised is right by definition.
func TestDerive_SynchronisedIsNeverCorrected(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, 0, unsynced)
	w.epoch("b", now+hour, 20*second, minute, -3*minute, synced)
	w.want(t, present("b", now+hour, hour, -3*minute, server(now+hour)), "estimated 0", "clock -180000")
}

func TestDerive_SynchronisedLaterInTheSameBoot(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	w.epoch("a", now, 2*minute, hour, 0, synced)
	w.epoch("a", now, 2*hour, 3*hour, 7*hour, unsynced) // set by hand
	w.want(t, present("a", now, 3*hour, 7*hour, Server{}), "kernel 0", "clock 0", "kernel 0")
}

func TestDerive_Server(t *testing.T) {
	for name, c := range map[string]struct {
		ahead int64
		s     Server
		want  string
	}{
		"not reached":    {-hour, Server{}, "waits"},
		"behind":         {-hour, server(now + 300), "server 300"},
		"1970":           {-now + 5000, server(now - 300), "server -300"},
		"ahead":          {90 * day, server(now), "server 0"},
		"right":          {1900, server(now), "clock 1900"},
		"not quite":      {2100, server(now), "server 0"},
		"no time at all": {-hour, Server{Answer: Timeless}, "unconfirmed -3600000"},
	} {
		for _, s := range []sync{unsynced, cannot} {
			t.Run(fmt.Sprint(name, s), func(t *testing.T) {
				var w world
				w.epoch("a", now, 20*second, minute, c.ahead, s)
				w.want(t, present("a", now, hour, c.ahead, c.s), c.want)
			})
		}
	}
}

// A clock that was set by hand, and that the server confirms, is smoother than the server's time.
func TestDerive_SetByHand(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	w.epoch("a", now, 2*minute, hour, 700, unsynced)
	w.want(t, present("a", now, hour, 700, server(now)), "server 700", "clock 700")
	w.epoch("a", now, 2*hour, 3*hour, 9*hour, unsynced)
	w.want(t, present("a", now, 3*hour, 9*hour, server(now-300)), "server 700", "clock 700", "server -300")
}

// The clock was set just now, and collectord has not sampled since.
func TestDerive_SetJustNow(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	w.want(t, present("a", now, hour, 0, server(now+900)), "server 0")
}

// A step while shipping: the server is asked again, because the oscillator has drifted.
func TestDerive_StepAfterTheServer(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	w.want(t, present("a", now, hour, -hour, server(now+400)), "server 400")
	w.epoch("a", now, 2*minute, hour, 0, cannot)
	w.want(t, present("a", now, hour, 0, Server{}), "server 400", "waits")
	w.want(t, present("a", now, hour, 0, server(now-400)), "server 400", "clock 0")
}

func TestDerive_KernelWithoutAnEpoch(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, cannot)
	p := present("a", now, hour, 0, Server{})
	p.Synchronised = true
	w.want(t, p, "kernel 0")
}

// Boots that ended without knowing are between their neighbours.
func TestDerive_Ended(t *testing.T) {
	known := func(w *world) { w.epoch("a", now, 20*second, minute, 0, synced) }
	after := func(w *world) { w.epoch("z", now+hour, 20*second, minute, 0, synced) }
	for name, c := range map[string]struct {
		fill func(w *world)
		want []string
	}{
		"own clock": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, 3*second, unsynced)
			after(w)
		}, []string{"clock 0", "estimated 3000", "clock 0"}},
		"behind": {func(w *world) { // it began after the last sample of a
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, -5*hour, unsynced)
			after(w)
		}, []string{"clock 0", "estimated -540000", "clock 0"}},
		"ahead": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, 5*hour, unsynced)
			after(w)
		}, []string{"clock 0", "estimated -540000", "clock 0"}},
		"two in a row": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, -5*hour, unsynced)
			w.epoch("c", now+20*minute, 20*second, minute, -now, unsynced)
			after(w)
		}, []string{"clock 0", "estimated -540000", "estimated -1080000", "clock 0"}},
		"set by hand": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, -5*hour, unsynced)
			w.epoch("b", now+10*minute, 2*minute, 3*minute, second, unsynced)
			after(w)
		}, []string{"clock 0", "estimated 1000", "estimated 1000", "clock 0"}},
		"the first of the file": {func(w *world) { // ends when z begins
			w.epoch("b", now+10*minute, 20*second, minute, -now, unsynced)
			after(w)
		}, []string{"estimated 2959999", "clock 0"}},
		"two are first": {func(w *world) {
			w.epoch("b", now+10*minute, 20*second, minute, -now, unsynced)
			w.epoch("c", now+20*minute, 20*second, minute, -now, unsynced)
			after(w)
		}, []string{"estimated 2899998", "estimated 2359998", "clock 0"}},
		"its own clock leaves the next one no room": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 20*second, minute, 49*minute+10*second, unsynced)
			w.epoch("c", now+20*minute, 20*second, minute, -5*hour, unsynced)
			after(w)
		}, []string{"clock 0", "estimated -540000", "estimated -1080000", "clock 0"}},
		"no room for its uptime": {func(w *world) {
			known(w)
			w.epoch("b", now+10*minute, 2*hour, 2*hour+minute, -5*hour, unsynced)
			after(w)
		}, []string{"clock 0", "estimated -7739999", "clock 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			var w world
			c.fill(&w)
			w.want(t, present("z", now+hour, hour, 0, Server{}), c.want...)
		})
	}
}

// An ended boot waits for the next one that knows, and so does what follows.
func TestDerive_EndedWaits(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, 0, synced)
	w.epoch("b", now+10*minute, 20*second, minute, -5*hour, unsynced)
	w.epoch("c", now+20*minute, 20*second, minute, -5*hour, unsynced)
	w.want(t, present("c", now+20*minute, hour, -5*hour, Server{}), "clock 0", "waits", "waits")
	w.want(t, present("c", now+20*minute, hour, -5*hour, server(now+20*minute)), "clock 0", "estimated -540000", "server 0")
}

// A boot that ended spreads what it knew.
func TestDerive_EndedKnew(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	w.want(t, present("a", now, minute, -hour, server(now+400)), "server 400")
	w.epoch("a", now, 2*minute, hour, -2*hour, unsynced)
	w.epoch("a", now, 2*hour, 3*hour, 0, unsynced)
	w.want(t, present("b", now+day, minute, 0, Server{}), "server 400", "server 400", "server 400")
}

// "shipperd -once" after a power cut, without collectord: the present is the neighbour.
func TestDerive_NoEpochOfThisBoot(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -now, unsynced)
	w.want(t, present("z", now+hour, minute, -now, Server{}), "waits")
	w.want(t, present("z", now+hour, minute, -now, server(now+hour)), "estimated 3599999")
}

func TestDerive_NobodyKnows(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -now, unsynced)
	w.epoch("b", now, 20*second, minute, -now, unsynced)
	w.want(t, present("b", now, hour, -now, Server{Answer: Timeless}), "waits", "waits")
	w.want(t, present("b", now, hour, 5*second, Server{Answer: Timeless}), // set by hand
		"estimated -35001", "unconfirmed 5000")
}

// TestWrong: a clock is wrong for certain if it is before what a believed clock has stamped, by the
// first row of its boot, not by how long it has run since.
func TestWrong(t *testing.T) {
	f := func(what string, want bool, uptime, ahead int64, fill func(*world)) {
		t.Helper()
		w := world{ms: now - minute}
		fill(&w)
		if got := Wrong(w.epochs, present("b", now+day, uptime, ahead, Server{})); got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	a := func(ahead int64) func(w *world) {
		return func(w *world) { w.epoch("a", now, 20*second, hour, ahead, unsynced) }
	}
	f("no row", false, minute, 0, func(*world) {})
	f("1970", true, minute, -now, func(*world) {})
	f("behind", true, minute, -23*hour-2*minute, a(0))
	f("behind, later", true, 9*day, -24*hour, func(w *world) {
		a(0)(w)
		w.epoch("b", now+day, 20*second, 9*day, -24*hour, unsynced)
	})
	f("later", false, minute, -22*hour, a(0))
	f("only a clock that was not believed is later", false, minute, 0, func(w *world) {
		a(0)(w)
		w.epoch("c", now+2*hour, 20*second, hour, 900*day, unsynced)
	})
}

// A synchronised clock was set back over samples that it has stamped: they stay apart.
func TestDerive_SetBack(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, hour, 0, synced)
	w.epoch("a", now, hour+second, 2*hour, -10*minute, synced)
	w.epoch("a", now, 2*hour+second, 3*hour, -80*minute, synced)
	w.want(t, present("a", now, 3*hour, 0, Server{}), "clock 0", "clock -599999", "clock -4799998")
}

func TestNow(t *testing.T) {
	var w world
	w.epoch("a", now, 20*second, minute, -hour, unsynced)
	p := present("a", now, hour, -hour, Server{})
	timeline := func() (t store.Timeline) {
		for _, e := range w.epochs {
			t = append(t, e.Epoch)
		}
		return t
	}
	if ms, ok := Now(timeline(), p); ok {
		t.Errorf("the time is %d, though nobody knows it", ms)
	}
	p.Server = server(now + 100)
	w.apply(t, Derive(w.epochs, p))
	p.Server, p.WallMinusBoot = Server{}, 0
	if ms, ok := Now(timeline(), p); !ok || ms != now+hour+100 {
		t.Errorf("the time is %d, %v, want %d", ms, ok, now+hour+100)
	}
}
