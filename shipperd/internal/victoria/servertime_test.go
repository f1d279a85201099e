package victoria

import (
	"io"
	"net"
	"net/http"
	"net/url"
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

// TestServerNow: the server's time comes with its answers and continues without the device's wall
// clock. Both sides answer, and agree or not.
func TestServerNow(t *testing.T) {
	t.Parallel()
	server := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	c := serve(t, vmAnswer(func() time.Time { return server }))
	f := func(want time.Time, wantAgreed bool) {
		t.Helper()
		if by, at, ok := c.Ahead(); !ok || (by+want.Sub(at)).Abs() > 20*time.Second || time.Since(at).Abs() > 20*time.Second {
			t.Errorf("ahead by %v at %v, %v", by, at, ok)
		}
		got, agreed, ok := c.ServerNow(time.Hour)
		if d := got.Sub(want); !ok || d < 0 || d > 20*time.Second || agreed != wantAgreed {
			t.Errorf("got %v, agreed %v, %v, want %v, %v", got, agreed, ok, want, wantAgreed)
		}
	}
	if now, _, ok := c.ServerNow(time.Hour); ok {
		t.Errorf("%v before any answer", now)
	}
	if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
		t.Fatal(err)
	}
	f(server, false) // one source
	if err := c.FetchTime(t.Context()); err != nil {
		t.Fatal(err)
	}
	f(server, true)
	server = server.AddDate(1, 0, 0)
	if _, err := c.Import(t.Context(), zipped(t, twoLines), "id"); err != nil {
		t.Fatal(err)
	}
	f(server, false) // the two differ
	if _, err := c.Count(t.Context(), Selector{}, 1, 2); err != nil {
		t.Fatal(err)
	}
	f(server, true)
}

// TestServerNow_Strangers: what has not shown itself to be the server's sets no clock: an error, a
// redirect, a page, an empty 200.
func TestServerNow_Strangers(t *testing.T) {
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
		if now, _, ok := c.ServerNow(time.Hour); ok {
			t.Errorf("%s: sets the clock to %v", name, now)
		}
	}
}

// TestServerNow_Cache: the answer of a cache is as old as it says.
func TestServerNow_Cache(t *testing.T) {
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
	if now, _, _ := c.ServerNow(time.Hour); now.Sub(server.Add(time.Hour)).Abs() > 20*time.Second {
		t.Errorf("got %v", now)
	}
}

func TestServerNow_None(t *testing.T) {
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
		if now, _, ok := c.ServerNow(time.Hour); ok {
			t.Errorf("%q gives %v", header, now)
		}
	}
	c := newClient(t, Config{URL: strings.Replace(rawServer(t, reset), "/api/v1/import", "/x/api/v1/import", 1)})
	wantError(t, c.FetchTime(t.Context()), ClassNetwork, 0, false)
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// memory makes a client and a server that talk over pipes.
func memory(t *testing.T) (*testkit.FakeVM, *Client) {
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{InMemory: true})
	return vm, newClient(t, Config{URL: vm.ImportURL(), Dial: vm.Dial, Proxy: noProxy})
}

// TestServerNow_Age: an old answer counts or not.
func TestServerNow_Age(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := memory(t)
		if err := c.FetchTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if _, _, ok := c.ServerNow(9 * time.Minute); ok {
			t.Error("too old an answer counts")
		}
		now, _, ok := c.ServerNow(11 * time.Minute)
		if d := time.Since(now); !ok || d < 0 || d > time.Second {
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
