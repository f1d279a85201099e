package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/shared/testkit"
)

func parse(t testing.TB, text string) line.Line {
	t.Helper()
	l, err := new(line.Parser).Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func one(t testing.TB) []line.Line {
	t.Helper()
	now := time.Now().UnixMilli() // the server drops what is too old for it
	return []line.Line{parse(t, fmt.Sprintf(`{"metric":{"__name__":"a","device_id":"d"},"values":[1,2],"timestamps":[%d,%d]}`, now-1000, now))}
}

func open(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	f := func(write, read, wantExport, wantErr string) {
		t.Helper()
		s, err := New(Config{URL: write, ReadURL: read})
		switch {
		case wantErr != "":
			if err == nil || !strings.Contains(err.Error(), wantErr) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s %s: got %v, want %q", write, read, err, wantErr)
			}
		case err != nil:
			t.Errorf("%s %s: %v", write, read, err)
		case s.write != write || s.export != wantExport || s.count != strings.TrimSuffix(wantExport, "export")+"query":
			t.Errorf("%s %s: got %s, %s, %s", write, read, s.write, s.export, s.count)
		}
	}
	f("http://vm:8428/api/v1/import", "", "http://vm:8428/api/v1/export", "")
	f("https://vm/x/api/v1/import", "", "https://vm/x/api/v1/export", "")
	f("http://vm:8480/insert/1:2/prometheus/api/v1/import", "", "http://vm:8480/select/1:2/prometheus/api/v1/export", "")
	f("http://vm:8480/insert/0/prometheus/api/v1/import", "http://sel:8481/select/0/prometheus/api/v1/export",
		"http://sel:8481/select/0/prometheus/api/v1/export", "")
	f("", "", "", "-upstream: want http://")
	f("vm:8428", "", "", "-upstream: want http://")
	f("http://vm:8428", "", "", "ends in /api/v1/import")
	f("http://u:hunter2@vm/api/v1/import", "", "", "credentials")
	f("http://vm/api/v1/import?extra_label=a=b", "", "", "without parameters")
	f("http://vm/api/v1/import", "http://vm/api/v1/query", "", "-upstream-read: want an address that ends in /api/v1/export")
	f("http://hunter2\x00/", "", "", "not a URL")
}

func TestNew_Faults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{URL: "x", TokenFile: file, CAFile: file})
	for _, want := range []string{"-upstream:", "-upstream-token-file:", "chmod 600", "-upstream-ca-file:", "no certificate"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What arrives is what was checked, whole lines of bounded length, under the upstream's own token.
func TestWriteChunk(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	vm.RequireToken("secret")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{URL: vm.ImportURL(), TokenFile: token})
	long := parse(t, `{"metric":{"__name__":"long","device_id":"d"},"values":[0],"timestamps":[1700000000000]}`)
	long.Timestamps, long.Values = nil, nil
	for i := range samplesPerLine + 2 {
		long.Timestamps, long.Values = append(long.Timestamps, time.Now().UnixMilli()-int64(i)), append(long.Values, float64(i))
	}
	if err := s.WriteChunk(t.Context(), append(one(t), long), nil); err != nil {
		t.Fatal(err)
	}
	if got := len(vm.Samples()); got != 2+samplesPerLine+2 {
		t.Errorf("got %d samples", got)
	}
	if r := vm.Imports()[0]; r.Header.Get("X-Chunk-Id") != "" || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got header %v", r.Header)
	}
}

// Each failure in its pair, stored and not stored: what the sender is told leaves open what is not certain.
func TestWriteChunk_Failures(t *testing.T) {
	t.Parallel()
	all, none := testkit.Keep(testkit.KeepAll), testkit.Keep(testkit.KeepNone)
	f := func(name string, step testkit.Step, status int, mayHaveStored bool, retryAfter time.Duration) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
			vm.Then(step)
			s := open(t, Config{URL: vm.ImportURL(), Timeout: 300 * time.Millisecond})
			r := &store.Receipt{Device: "d", Chunk: "c/0"}
			err := s.WriteChunk(t.Context(), one(t), r)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Status != status || e.MayHaveStored != mayHaveStored || e.RetryAfter != retryAfter {
				t.Errorf("got %+v (%v), want %d, %v, %v", e, err, status, mayHaveStored, retryAfter)
			}
			if len(vm.Samples()) > 0 && !e.MayHaveStored {
				t.Error("it was stored after all")
			}
			// What the server says may hold addresses and paths of the inside: it is for the log.
			if e != nil && (strings.Contains(e.Text, vm.Addr()) || step.Body != "" && strings.Contains(e.Text, step.Body)) {
				t.Errorf("the sender is told of the inside: %s", e.Text)
			}
			if e != nil && step.Reply == testkit.SendReply && step.Status >= 300 && !strings.Contains(e.Error(), strconv.Quote(step.Body)) {
				t.Errorf("the log does not have what the server said: %v", e)
			}
			if _, ok, _ := s.Receipt(t.Context(), "d", "c/0"); ok {
				t.Error("it is remembered as taken")
			}
		})
	}
	f("400", testkit.Answer(400, all), 400, true, 0)
	f("400 of the path", testkit.Step{Keep: none, Status: 400, Body: `unsupported path requested: "/x"`}, 502, false, 0)
	f("401", testkit.Answer(401, none), 502, false, 0)
	f("403", testkit.Answer(403, none), 502, false, 0)
	f("404", testkit.Answer(404, none), 502, false, 0)
	f("408", testkit.Answer(408, none), 502, false, 0)
	f("413", testkit.Answer(413, none), 413, false, 0)
	f("422", testkit.Answer(422, all), 422, true, 0)
	f("429", testkit.RetryAfter(429, "7"), 429, false, 7*time.Second)
	f("500 stored", testkit.Answer(500, all), 502, true, 0)
	f("500", testkit.Answer(500, none), 502, true, 0)
	f("503", testkit.RetryAfter(503, "9"), 503, true, 9*time.Second)
	f("503 without a time", testkit.Answer(503, none), 503, true, 0)
	f("504", testkit.Answer(504, all), 504, true, 0)
	f("redirect", testkit.RedirectTo("http://127.0.0.1:1/"), 502, false, 0)
	f("reset", testkit.ResetAfter(testkit.WholeBody, none), 502, true, 0)
	f("reset, stored", testkit.ResetAfter(testkit.WholeBody, all), 502, true, 0)
	f("hang", testkit.Hang(testkit.WholeBody, none), 504, true, 0)
	f("hang, stored", testkit.Hang(testkit.WholeBody, all), 504, true, 0)
	f("a web page", testkit.Step{Keep: none, Status: 200, Body: "<html>welcome</html>"}, 502, true, 0)
	f("201", testkit.Answer(201, none), 502, true, 0)
	f("cut answer", testkit.CutAnswer(200, all), 502, true, 0)
}

func TestWriteChunk_NobodyThere(t *testing.T) {
	t.Parallel()
	s := open(t, Config{URL: "http://" + testkit.FreeAddr(t) + "/api/v1/import"})
	err := s.WriteChunk(t.Context(), one(t), nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 503 || e.MayHaveStored || e.RetryAfter == 0 {
		t.Errorf("got %+v", e)
	}
}

// The sender's going away does not cut the request in the middle.
func TestWriteChunk_SenderGone(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	s := open(t, Config{URL: vm.ImportURL()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WriteChunk(ctx, one(t), &store.Receipt{Device: "d", Chunk: "c/0"}); err != nil || len(vm.Samples()) != 2 {
		t.Errorf("got %d samples, %v", len(vm.Samples()), err)
	}
	if _, ok, _ := s.Receipt(ctx, "d", "c/0"); !ok {
		t.Error("it is not remembered")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	m := memory{now: func() time.Time { return now }}
	want := func(chunk, body string) {
		t.Helper()
		r, ok := m.get("d", chunk)
		if ok != (body != "") || ok && r.Body != sha256.Sum256([]byte(body)) {
			t.Errorf("after %v: %s: got %v; want %q", now.Sub(time.Unix(0, 0)), chunk, ok, body)
		}
	}
	add := func(chunk, body string) {
		m.add(store.Receipt{Device: "d", Chunk: chunk, Body: sha256.Sum256([]byte(body))})
	}
	add("1", "x")
	want("1", "x")
	want("2", "")
	if _, ok := m.get("e", "1"); ok {
		t.Error("another device has it")
	}
	now = now.Add(RememberFor / 2)
	add("1", "y") // its time begins anew
	add("2", "z")
	now = now.Add(RememberFor / 2)
	want("1", "y")
	want("2", "z")
	now = now.Add(RememberFor / 2)
	want("1", "")
	add("3", "x")
	if len(m.receipts) != 1 || len(m.order) != 1 {
		t.Errorf("%d receipts and %d notes are kept, want 1", len(m.receipts), len(m.order))
	}
	for i := range maxRemembered + 5 {
		add(fmt.Sprint("many", i), "x")
	}
	if len(m.receipts) > maxRemembered || len(m.order) > maxRemembered {
		t.Errorf("%d receipts and %d notes are kept", len(m.receipts), len(m.order))
	}
	want("many0", "")
	want(fmt.Sprint("many", maxRemembered+4), "x")
}

// It must be forgotten before the first sender looks whether its samples are still there.
func TestRememberFor(t *testing.T) {
	t.Parallel()
	const soonest = 15 * time.Second // remote.verify.delay and settle, see the configuration
	if RememberFor > soonest-5*time.Second {
		t.Errorf("chunks are remembered for %v, senders look after %v", RememberFor, soonest)
	}
}

func export(s *Server, devices ...string) (lines []string, err error) {
	err = s.Export(context.Background(), url.Values{"match[]": {`{__name__!=""}`}}, devices, func(text []byte) error {
		lines = append(lines, string(text))
		return nil
	})
	return lines, err
}

// serve answers every request with the same bytes and then closes the connection.
func serve(t testing.TB, answer string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			_, _ = io.WriteString(c, answer)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/api/v1/import"
}

func TestExport(t *testing.T) {
	t.Parallel()
	const mine = `{"metric":{"__name__":"a","device_id":"d"},"values":[1],"timestamps":[1700000000000]}`
	other := strings.Replace(mine, `"d"`, `"e"`, 1)
	sly := strings.Replace(other, `"a"`, `"a\",\"device_id\":\"d"`, 1)
	f := func(answer string, lines, status int) {
		t.Helper()
		got, err := export(open(t, Config{URL: serve(t, answer), Timeout: 2 * time.Second}), "d")
		e, ok := errors.AsType[*Error](err)
		if len(got) != lines || ok != (status != 0) || ok && e.Status != status {
			t.Errorf("%q: got %q, %v; want %d lines, status %d", answer, got, err, lines, status)
		}
	}
	chunked := func(parts ...string) string {
		text := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, p := range parts {
			text = fmt.Appendf(text, "%x\r\n%s\r\n", len(p), p)
		}
		return string(text)
	}
	const end = "0\r\n\r\n"
	whole := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	f(whole(""), 0, 0)
	f(whole(mine+"\n"+mine), 2, 0)
	f(chunked(mine+"\n", "\n")+end, 1, 0)
	f(chunked(mine+"\n"), 1, 502)                                       // cut between two lines
	f("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+mine+"\n", 0, 502) // its end is not marked
	f(whole(mine+"\n"+other), 1, 502)
	f(whole(sly), 0, 502)
	f("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 0, 502)
	f("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 0, 503)
	f("HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n", 0, 502)
	f("HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n", 0, 422)
	f("not HTTP", 0, 502)
}

// An error of the receiver of lines ends the export and comes back as it is.
func TestExport_Ends(t *testing.T) {
	t.Parallel()
	s := open(t, Config{URL: serve(t, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\nb\n")})
	enough := errors.New("enough")
	n := 0
	err := s.Export(t.Context(), url.Values{}, nil, func([]byte) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("got %v after %d lines", err, n)
	}
}

// What is asked carries the devices as a filter of the server's own; the sender's parameters do not get there.
func TestAsk_Filter(t *testing.T) {
	t.Parallel()
	var got url.Values
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got = r.Form
		fmt.Fprint(w, `{"status":"success"}`)
	}))
	t.Cleanup(ts.Close)
	s := open(t, Config{URL: ts.URL + "/api/v1/import"})
	f := func(want string, devices ...string) {
		t.Helper()
		if _, err := s.Query(t.Context(), "1", 1700000000001, devices); err != nil {
			t.Fatal(err)
		}
		if got.Get("extra_filters[]") != want || got.Get("time") != "1700000000.001" || got.Get("query") != "1" || got.Get("nocache") != "1" {
			t.Errorf("%q: got %v, want %s", devices, got, want)
		}
	}
	f(`{device_id=~"d"}`, "d")
	f(`{device_id=~"a\\.1|b-2:3_4"}`, "a.1", "b-2:3_4")
	f("")
}

func TestQuery_Answers(t *testing.T) {
	t.Parallel()
	f := func(status int, body string, want int) {
		t.Helper()
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		defer ts.Close()
		text, err := open(t, Config{URL: ts.URL + "/api/v1/import"}).Query(t.Context(), "1", 0, nil)
		e, ok := errors.AsType[*Error](err)
		if ok != (want != 0) || ok && e.Status != want || !ok && string(text) != body {
			t.Errorf("%d %.40q: got %.40q, %v; want %d", status, body, text, err, want)
		}
	}
	f(200, `{"status":"success"}`, 0)
	f(200, `{"status":`, 502)
	f(200, "<html>", 502)
	f(200, `"`+strings.Repeat("x", maxAnswerBytes)+`"`, 502)
	f(422, "too long", 422)
	f(500, "x", 502)
	f(302, "", 502)
}
