package victoria

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
)

// vmAnswer answers as VictoriaMetrics does, with a clock of its own.
func vmAnswer(server func() time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", server().Format(http.TimeFormat))
		w.Header().Set("X-Server-Hostname", "vm")
		switch {
		case strings.HasSuffix(r.URL.Path, "/import"):
			w.WriteHeader(http.StatusNoContent)
		case strings.HasSuffix(r.URL.Path, "/query"):
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		}
	}
}

// middle is the server's time by one side.
func middle(c *Client, of Side) (now time.Time, ok bool) {
	for _, s := range c.ServerTimes(time.Hour) {
		if s.Side == of && !s.Unproven {
			return time.Unix(0, int64((s.Lo+s.Hi)/2+c.cfg.Boot())).UTC(), true
		}
	}
	return time.Time{}, false
}

// TestServerTimes: the server's time comes with its answers and continues without the device's wall
// clock. Each side has its own.
func TestServerTimes(t *testing.T) {
	t.Parallel()
	server := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	c := serve(t, vmAnswer(func() time.Time { return server }))
	f := func(want ...time.Time) {
		t.Helper()
		for by, want := range want {
			got, ok := middle(c, Side(by))
			if d := got.Sub(want); ok == want.IsZero() || ok && (d < 0 || d > 20*time.Second) {
				t.Errorf("side %d: got %v, %v, want %v", by, got, ok, want)
			}
		}
	}
	never, before := time.Time{}, server
	f(never, never)
	if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
		t.Fatal(err)
	}
	f(server, never)
	if by, at, ok := c.Ahead(); !ok || (by+server.Sub(at)).Abs() > 20*time.Second || time.Since(at).Abs() > 20*time.Second {
		t.Errorf("ahead by %v at %v, %v", by, at, ok)
	}
	if err := c.FetchTime(t.Context()); err != nil {
		t.Fatal(err)
	}
	f(server, server)
	server = server.AddDate(1, 0, 0)
	if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
		t.Fatal(err)
	}
	f(server, before)
	if by, at, _ := c.Ahead(); (by + before.Sub(at)).Abs() > 20*time.Second { // the nearer one
		t.Errorf("ahead by %v at %v", by, at)
	}
	if _, err := c.Count(t.Context(), Selector{}, 1, 2); err != nil {
		t.Fatal(err)
	}
	f(server, server)
}

// TestServerTimes_Exact: answers at several fractions of a second bound the time more closely than
// one, and the truth is always within.
func TestServerTimes_Exact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := memory(t)
		time.Sleep(123 * time.Millisecond)
		for i := range 40 {
			if err := c.FetchTime(t.Context()); err != nil {
				t.Fatal(err)
			}
			times, most := c.ServerTimes(time.Hour), time.Second
			if i == 39 {
				most = 50 * time.Millisecond
			}
			for _, s := range times {
				if truth := sinceEpoch(time.Now()) - c.cfg.Boot(); truth < s.Lo || truth >= s.Hi || s.Hi-s.Lo > most {
					t.Errorf("%v to %v, which is %v wide, want %v within %v", s.Lo, s.Hi, s.Hi-s.Lo, truth, most)
				}
			}
			if len(times) != 2 {
				t.Errorf("%d sides, want 2", len(times))
			}
			time.Sleep(time.Duration(i*31+7) * time.Millisecond)
		}
	})
}

// TestServerTimes_Strangers: what has not shown itself to be the server's sets no clock: an error,
// a redirect, a page, an empty 200.
func TestServerTimes_Strangers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an empty 200": func(w http.ResponseWriter, r *http.Request) {},
		"302":          func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"a page": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>Please log in</html>")
		},
		"a page by another name": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "\n <!DOCTYPE html>")
		},
		"401": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"403 of the server": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Server-Hostname", "vm")
			w.WriteHeader(http.StatusForbidden)
		},
		"404": http.NotFound,
		"500": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		c := serve(t, answer)
		if r, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err == nil && r.Own {
			t.Errorf("%s: the answer to an import counts as the server's own", name)
		}
		if _, err := c.Count(t.Context(), Selector{}, 1, 2); err == nil {
			t.Errorf("%s: no error for a count", name)
		}
		_, _ = exportAll(c, Selector{}) // an empty answer is none that shows anything
		if err := c.FetchTime(t.Context()); err == nil {
			t.Errorf("%s: no error for the time", name)
		}
		for _, got := range c.ServerTimes(time.Hour) {
			if !got.Unproven {
				t.Errorf("%s: sets the clock to %v", name, got)
			}
		}
	}
}

// TestServerTimes_Cache: the answer of a cache is as old as it says.
func TestServerTimes_Cache(t *testing.T) {
	t.Parallel()
	server := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	answer := vmAnswer(func() time.Time { return server })
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Age", "3600")
		answer(w, r)
	})
	if err := c.FetchTime(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := middle(c, Reading); now.Sub(server.Add(time.Hour)).Abs() > 20*time.Second {
		t.Errorf("got %v", now)
	}
}

func TestServerTimes_None(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"Date: yesterday\r\n", ""} {
		url := rawServer(t, func(c *net.TCPConn) {
			readUntil(c, "\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Server-Hostname: vm\r\nContent-Length: 0\r\n"+header+"\r\n")
		})
		c := newClient(t, Config{URL: url})
		if err := c.FetchTime(t.Context()); err != nil {
			t.Error(err)
		}
		if got := c.ServerTimes(time.Hour); got != nil {
			t.Errorf("%q gives %v", header, got)
		}
	}
	c := newClient(t, Config{URL: strings.Replace(rawServer(t, reset), "/api/v1/import", "/x/api/v1/import", 1)})
	wantError(t, c.FetchTime(t.Context()), ClassNetwork, 0, false)
}

// TestServerTimes_Unproven: a front hides whose its answers are. A count or an answer with samples
// is the server's all the same, others set no clock.
func TestServerTimes_Unproven(t *testing.T) {
	t.Parallel()
	server := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	counts, lines := http.StatusNotFound, ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", server.Format(http.TimeFormat))
		switch {
		case strings.HasSuffix(r.URL.Path, "/query"):
			w.WriteHeader(counts)
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		case strings.HasSuffix(r.URL.Path, "/export"):
			io.WriteString(w, lines)
		}
	})
	f := func(what string, proven ...Side) {
		t.Helper()
		if err := c.FetchTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []Side
		unproven := false
		for _, s := range c.ServerTimes(time.Hour) {
			if at := time.Unix(0, int64(s.Lo+c.cfg.Boot())); at.Sub(server).Abs() > 20*time.Second {
				t.Errorf("%s: side %d says %v, want %v", what, s.Side, at, server)
			}
			if unproven = unproven || s.Unproven && s.Side == Writing; !s.Unproven {
				got = append(got, s.Side)
			}
		}
		if !slices.Equal(got, proven) || !unproven {
			t.Errorf("%s: got %v, want %v; the side that takes samples is unproven: %v", what, got, proven, unproven)
		}
	}
	f("nothing")
	if _, _, ok := c.Ahead(); ok {
		t.Error("it is compared with the device's clock")
	}
	lines = `{"metric":{"__name__":"a"},"values":[1],"timestamps":[1]}` + "\n"
	if _, err := exportAll(c, Selector{}); err != nil {
		t.Fatal(err)
	}
	f("samples", Reading)
	c.clock.sides[Reading] = sideTime{}
	counts = http.StatusOK
	f("a count", Reading)
}

// TestServerTimes_NoHealth: a proxy that routes imports and nothing else but reads.
func TestServerTimes_NoHealth(t *testing.T) {
	t.Parallel()
	answer := vmAnswer(time.Now)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			http.NotFound(w, r)
			return
		}
		answer(w, r)
	})
	if err := c.FetchTime(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := middle(c, Writing); !ok {
		t.Error("an import has no time")
	}
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// memory makes a client and a server that talk over pipes.
func memory(t *testing.T) (*testkit.FakeVM, *Client) {
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{InMemory: true})
	return vm, newClient(t, Config{URL: vm.ImportURL(), Dial: vm.Dial, Proxy: noProxy})
}

// TestServerTimes_Age: an old answer counts or not.
func TestServerTimes_Age(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := memory(t)
		if err := c.FetchTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if got := c.ServerTimes(9 * time.Minute); got != nil {
			t.Errorf("too old an answer counts: %v", got)
		}
		now, ok := middle(c, Writing)
		if !ok || time.Since(now).Abs() > time.Second {
			t.Errorf("got %v, %v, want the bubble's %v", now, ok, time.Now())
		}
	})
}

// TestHungUp: a server that is killed hangs up; one that answers, or that we
// leave, does not.
func TestHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vm, c := memory(t)
		f := func(what string, from time.Time, want bool) {
			t.Helper()
			synctest.Wait()
			if got := c.HungUp(from, time.Now()); got != want {
				t.Errorf("%s: hung up %v, want %v", what, got, want)
			}
		}
		send := func() {
			t.Helper()
			if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		send()
		send()
		f("two requests", start, false)
		time.Sleep(2 * idleTimeout)
		f("our own idle timeout", start, false)
		send()
		c.Close()
		f("our own end", start, false)

		send()
		time.Sleep(time.Second)
		vm.Restart(0)
		killed := time.Now()
		f("a kill", killed, true)
		time.Sleep(time.Second)
		send()
		f("before the next request", killed.Add(time.Millisecond), false)
		if c.HungUp(start, killed.Add(-time.Millisecond)) {
			t.Error("hung up before it was killed")
		}
		for range 40 { // more than are remembered
			send()
			vm.Restart(0)
			time.Sleep(time.Second)
		}
		f("many kills", killed.Add(30*time.Second), true)
	})
}

// TestHungUp_Announced: a server that says that it will close the connection has
// not hung up.
func TestHungUp_Announced(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	})
	for range 3 {
		if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
			t.Fatal(err)
		}
	}
	if c.HungUp(start, time.Now()) {
		t.Error("an announced end counts as a hang-up")
	}
}
