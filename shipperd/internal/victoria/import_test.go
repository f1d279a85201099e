package victoria

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestImport_Request(t *testing.T) {
	t.Parallel()
	body := zipped(t, `{"metric":{"__name__":"n"},"values":[1],"timestamps":[1]}`)
	var got *http.Request
	var gotBody []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		gotBody, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, Config{
		URL: s.URL + "/x/api/v1/import?extra_label=site=a", Headers: map[string]string{"X-Tenant": "7"},
		Token: func() (string, error) { return "s3cret", nil },
	})
	r, err := c.Import(t.Context(), body, "b9d1/3")
	if err != nil || r.Status != http.StatusNoContent || r.Details != nil {
		t.Fatalf("reply %+v, error %v", r, err)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/x/api/v1/import?extra_label=site=a" || got.Proto != "HTTP/1.1" || !bytes.Equal(gotBody, body) {
		t.Errorf("request %s %s %s with %d bytes", got.Method, got.RequestURI, got.Proto, len(gotBody))
	}
	for name, want := range map[string]string{
		"Content-Encoding": "gzip", "Content-Type": "", "X-Chunk-Id": "b9d1/3", "Content-Length": fmt.Sprint(len(body)),
		"User-Agent": "belabox-metrics", "Authorization": "Bearer s3cret", "X-Tenant": "7", "Accept-Encoding": "", "Expect": "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("header %s is %q, want %q", name, v, want)
		}
	}
	if r.BytesSent < int64(len(body))+150 || r.BytesSent > int64(len(body))+600 || r.BytesReceived < 50 || r.BytesReceived > 200 {
		t.Errorf("%d bytes sent, %d received", r.BytesSent, r.BytesReceived)
	}
}

// TestImport_ID: the id goes with every request, but not where VictoriaMetrics has
// answered, which says its host name.
func TestImport_ID(t *testing.T) {
	t.Parallel()
	var ids []string
	names := []string{"", "vm", "vm", "", ""}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := names[len(ids)]; name != "" {
			w.Header().Set("X-Server-Hostname", name)
		}
		ids = append(ids, r.Header.Get("X-Chunk-Id"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import"})
	for i := range names {
		if _, err := c.Import(t.Context(), []byte("body"), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"0", "1", "", "", "4"}; !slices.Equal(ids, want) {
		t.Errorf("got %q, want %q", ids, want)
	}
}

// TestImport_Statuses goes through every status there is.
func TestImport_Statuses(t *testing.T) {
	t.Parallel()
	want := map[int]string{}
	set := func(w string, from, to int) {
		for status := from; status <= to; status++ {
			want[status] = w
		}
	}
	set("accepted", 200, 299)
	set("redirect", 300, 399)
	set("rejected ambiguous", 400, 499)
	set("server ambiguous", 500, 999)
	for _, status := range []int{401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 414, 415, 417, 421, 426, 428, 431, 451} {
		want[status] = "auth"
	}
	want[408] = "timeout ambiguous"
	want[413] = "too_large"
	want[511] = "not_our_server ambiguous"
	want[425], want[429] = "throttled", "throttled"

	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(r.Header.Get("X-Chunk-Id"), &status)
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
	})
	for status := 200; status <= 999; status++ {
		r, err := c.Import(t.Context(), []byte("body"), fmt.Sprint(status))
		got := "accepted"
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			got = string(e.Class)
			if e.Ambiguous {
				got += " ambiguous"
			}
			if e.Status != status || !strings.Contains(err.Error(), fmt.Sprint(status)) {
				t.Errorf("status %d: the error says %d: %v", status, e.Status, err)
			}
		}
		if got != want[status] || r.Status != status {
			t.Errorf("status %d: got %s (reply %d), want %s", status, got, r.Status, want[status])
		}
	}
}

func TestImport_ErrorText(t *testing.T) {
	t.Parallel()
	f := func(status int, retryAfter, body string, class Class, wait time.Duration, ambiguous bool, words ...string) {
		t.Helper()
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
		_, err := c.Import(t.Context(), []byte("body"), "id")
		e := wantError(t, err, class, status, ambiguous)
		if e.RetryAfter != wait {
			t.Errorf("status %d: retry after %v, want %v", status, e.RetryAfter, wait)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("status %d: %q does not say %q", status, err, word)
			}
		}
	}
	f(400, "", "cannot parse line 3\n", ClassRejected, 0, true, "import to http://127.0.0.1:", "/api/v1/import: the server answered 400 Bad Request", `"cannot parse line 3"`)
	f(401, "", "", ClassAuth, 0, false, "check the token")
	f(404, "", "", ClassAuth, 0, false, "check the path")
	f(415, "", "", ClassAuth, 0, false, "check address, headers and proxy")
	f(400, "", `requestURI: /insert/0/x; unsupported path requested: "/insert/0/x"`, ClassAuth, 0, false, "the path of the address is wrong")
	f(429, "7", "", ClassThrottled, 7*time.Second, false)
	f(503, "", "", ClassServer, 0, true)
	f(511, "", "<html>", ClassStranger, 0, true, "the network demands a log-in")
	f(503, "120", "", ClassThrottled, 2*time.Minute, true)
	f(500, "3", "", ClassServer, 3*time.Second, true)
	f(502, "", strings.Repeat("x", 100_000), ClassServer, 0, true, `x"`)
}

// TestImport_RetryAfterDate: a date counts from the server's clock, whatever the
// device says.
func TestImport_RetryAfterDate(t *testing.T) {
	t.Parallel()
	server := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", server.Format(http.TimeFormat))
		w.Header().Set("Retry-After", server.Add(90*time.Second).Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.Import(t.Context(), []byte("body"), "id")
	if e := wantError(t, err, ClassThrottled, 429, false); e.RetryAfter != 90*time.Second {
		t.Errorf("retry after %v, want 90 s", e.RetryAfter)
	}
}

func TestImport_RedirectNamesHost(t *testing.T) {
	t.Parallel()
	f := func(location, want string) {
		t.Helper()
		requests := 0
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		_, err := c.Import(t.Context(), []byte("body"), "id")
		wantError(t, err, ClassRedirect, 307, false)
		if !strings.Contains(err.Error(), want) || requests != 1 {
			t.Errorf("%d requests, %q does not say %q", requests, err, want)
		}
	}
	f("https://metrics.example.com:8443/secret/path?token=x", "redirects to https://metrics.example.com:8443;")
	f("/elsewhere", "redirects to http://127.0.0.1:")
	f("", "redirects to nowhere")
	f("://", "redirects to nowhere")
}

// TestImport_StrangeAnswers: 2xx counts only if the answer makes sense.
func TestImport_StrangeAnswers(t *testing.T) {
	t.Parallel()
	f := func(contentType, body string, class Class) {
		t.Helper()
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", contentType)
			io.WriteString(w, body)
		})
		r, err := c.Import(t.Context(), []byte("body"), "id")
		if class == "" {
			if err != nil || r.Details != nil || r.Own {
				t.Errorf("%s %.40q: reply %+v, error %v", contentType, body, r, err)
			}
			return
		}
		wantError(t, err, class, 200, true)
	}
	f("text/plain", "ok", "")
	f("text/plain", strings.Repeat("x", maxReplyBytes), "")
	f("text/html", "", "")
	f("application/json", "", "")
	f("application/json; charset=utf-8", `{"status":"success"}`, "")
	f("application/json", `[1,2]`, "")
	f("application/json", `null`, "")
	f("garbled;;;", "x", "")

	f("text/html; charset=utf-8", "<html>Please log in</html>", ClassStranger)
	f("text/plain", "\ufeff <!doctype html>", ClassStranger)
	f("text/plain", strings.Repeat("x", maxReplyBytes+1), ClassServer)
	f("application/json", strings.Repeat(" ", maxReplyBytes+1), ClassServer)
	f("application/json", `{"accepted":1`, ClassServer)
	f("application/json", `{"accepted":1,"rejected":0}{}`, ClassServer)
	f("application/json", `{"accepted":1}`, ClassServer)
	f("application/json", `{"accepted":1,"rejected":1,"lines":[]}`, ClassServer)
	f("application/json", `{"lines":null}`, ClassServer)
}

func TestImport_Encodings(t *testing.T) {
	t.Parallel()
	details := zipped(t, `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":"r"}]}`)
	f := func(status int, encoding string, body []byte) (Reply, error) {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", encoding)
			w.WriteHeader(status)
			w.Write(body)
		})
		return c.Import(t.Context(), []byte("body"), "id")
	}
	if r, err := f(200, "gzip", details); err != nil || r.Details == nil || r.Details.Rejected != 1 {
		t.Errorf("gzip: %+v, %v", r, err)
	}
	for _, bad := range [][]byte{details[:len(details)-1], details[:12], append(bytes.Clone(details), 'x'), []byte("plain")} {
		_, err := f(200, "gzip", bad)
		wantError(t, err, ClassNetwork, 200, true)
	}
	_, err := f(200, "br", details)
	wantError(t, err, ClassNetwork, 200, true)
	_, err = f(401, "br", details)
	wantError(t, err, ClassAuth, 401, false)
	_, err = f(400, "gzip", zipped(t, "bad line"))
	if e := wantError(t, err, ClassRejected, 400, true); e.Body != "bad line" {
		t.Errorf("body %q", e.Body)
	}
}

func TestImport_Details(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"accepted":7,"rejected":3,"lines":[{"line":2,"reason":%q,"retry":true,"timestamps":[5,6]},{"line":4,"reason":"late"}]}`,
			strings.Repeat("long ", 200))
	})
	r, err := c.Import(t.Context(), []byte("body"), "id")
	if err != nil || r.Details == nil {
		t.Fatal(r, err)
	}
	d := r.Details
	if d.Accepted != 7 || d.Rejected != 3 || len(d.Lines) != 2 || d.Lines[0].Line != 2 || !d.Lines[0].Retry || len(d.Lines[0].Timestamps) != 2 ||
		d.Lines[1].Reason != "late" || d.Lines[1].Retry || d.Lines[1].Timestamps != nil {
		t.Errorf("details %+v", d)
	}
	if n := len(d.Lines[0].Reason); n > maxErrorText || n < maxErrorText-10 {
		t.Errorf("a reason of %d bytes", n)
	}
}

// TestImport_EarlyRefusal: the server answers 413 without reading the body.
func TestImport_EarlyRefusal(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	_, err := c.Import(t.Context(), bytes.Repeat([]byte("x"), 200_000), "id")
	wantError(t, err, ClassTooLarge, 413, false)
}

// TestImport_TokenHeals: the token is read for each request.
func TestImport_TokenHeals(t *testing.T) {
	t.Parallel()
	token := "old"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	fault := error(nil)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import", Token: func() (string, error) { return token, fault }})
	_, err := c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassAuth, 401, false)
	token, fault = "", errors.New("no such file")
	_, err = c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassAuth, 0, false)
	if !strings.Contains(err.Error(), "no such file") || !errors.Is(err, fault) {
		t.Errorf("error %q", err)
	}
	token, fault = "new\n", nil
	_, err = c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassAuth, 0, false)
	token = "new"
	if _, err = c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}
}

func TestImport_BasicAuth(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p:w" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(s.Close)
	fault := error(nil)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import", BasicAuth: &BasicAuth{"u", func() (string, error) { return "p:w", fault }}})
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}
	fault = errors.New("gone")
	_, err := c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassAuth, 0, false)
}

// TestError_MadeElsewhere: the delivery loop makes Errors of its own.
func TestError_MadeElsewhere(t *testing.T) {
	t.Parallel()
	e := &Error{Class: ClassServer, Status: 200, Err: errors.New("line 9 of 3")}
	if got, want := e.Error(), "the server answered 200 OK: line 9 of 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
