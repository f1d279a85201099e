package victoria

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
)

// requests are all that a Client can send.
func requests(c *Client) map[string]func(ctx context.Context) error {
	sel := Selector{DeviceID: "d"}
	return map[string]func(ctx context.Context) error{
		"import": func(ctx context.Context) error { _, err := c.Import(ctx, []byte("body"), "id"); return err },
		"export": func(ctx context.Context) error {
			return c.Export(ctx, sel, 1, 2, func([]store.Tag, []int64) error { return nil })
		},
		"count": func(ctx context.Context) error { _, err := c.Count(ctx, sel, 1, 2); return err },
		"time":  c.FetchTime,
		"probe": func(ctx context.Context) error { _, err := c.Probe(ctx); return err },
		"flags": func(ctx context.Context) error { _, err := c.Flags(ctx, "x"); return err },
	}
}

// TestSwitchingProtocols: after 101 the body is the bare connection and never ends. Each request
// ends at once all the same, as trouble of the way.
func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go func() {
				defer c.Close()
				readUntil(c, "\r\n\r\n")
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				<-release
			}()
		}
	}()
	c := newClient(t, Config{URL: "http://" + l.Addr().String() + "/api/v1/import"})
	for name, request := range requests(c) {
		start := time.Now()
		e := wantError(t, request(t.Context()), ClassStranger, 101, name == "import" || name == "probe")
		if took := time.Since(start); took > 10*time.Second || e.Evidence() != NotOurServer {
			t.Errorf("%s: took %v, evidence %q", name, took, e.Evidence())
		}
	}
}

// TestEndless: whatever never ends is ended by remote.timeout.
func TestEndless(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"a head":                "HTTP/1.1 200 OK\r\nX: ",
		"a body":                "HTTP/1.1 200 OK\r\n\r\n",
		"a body of an error":    "HTTP/1.1 500 Oops\r\n\r\n",
		"answers to come":       "HTTP/1.1 100 Continue\r\n\r\n",
		"a body in many pieces": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		url := rawServer(t, func(c *net.TCPConn) {
			readUntil(c, "\r\n\r\n")
			io.WriteString(c, head)
			for text := " "; ; {
				if name == "a body in many pieces" {
					text = "1\r\n \r\n"
				}
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
		c := newClient(t, Config{URL: url, Timeout: soon})
		for request, f := range requests(c) {
			start := time.Now()
			if err := f(t.Context()); err == nil {
				t.Errorf("%s, %s: no error", name, request)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s, %s: took %v", name, request, took)
			}
		}
	}
}

// TestTextsAreCut: whatever others write, little of it is in an error; and a secret is looked for
// before the text is cut, or where they have cut it themselves.
func TestTextsAreCut(t *testing.T) {
	t.Parallel()
	const token = "hunter2-hunter2-hunter2-hunter2"
	long := strings.Repeat("1", 1<<20)
	for name, answer := range map[string]string{
		"a long number":            `{"accepted":` + long[:1<<19] + `,"rejected":0}`,
		"a long reason":            `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":"` + long[:1<<19] + `"}]}`,
		"a long text":              long,
		"a line":                   `{"metric":` + long,
		"a timestamp":              `{"metric":{"a":"b"},"values":[1],"timestamps":[` + long[:1<<19] + `]}`,
		"a status":                 `{"status":"` + long[:1<<19] + `"}`,
		"a count":                  `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"` + long[:1<<19] + `"]}]}}`,
		"the token":                token,
		"the token at the cut":     strings.Repeat("x", maxErrorText-10) + token,
		"the token, cut":           "you sent " + token[:15],
		"the token, cut in a text": `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":"Bearer ` + token[:20] + `..."}]}`,
		"the token in a line":      `{"metric":"` + strings.Repeat("x", 170) + token + `"}`,
		"the token at 4 KiB":       strings.Repeat("y", maxQuoted-20) + token,
	} {
		for _, status := range []int{200, 400, 500} {
			for _, mediaType := range []string{"application/json", "text/plain"} {
				c := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", mediaType)
					w.WriteHeader(status)
					io.WriteString(w, answer)
				})
				c.cfg.Token = func() (string, error) { return token, nil }
				for request, f := range requests(c) {
					if text := errorTexts(f(t.Context())); strings.Contains(text, token[:8]) || len(text) > 4000 {
						t.Errorf("%s, %d, %s: %d bytes: %.300s", name, status, request, len(text), text)
					}
				}
				r, _ := c.Import(t.Context(), []byte("body"), "id")
				for _, l := range r.Details.lines() {
					if len(l.Reason) > maxErrorText || strings.Contains(l.Reason, token[:8]) {
						t.Errorf("%s: a reason of %d bytes: %.300s", name, len(l.Reason), l.Reason)
					}
				}
			}
		}
	}
}

// TestExport_HTTP10: an answer that ends with its connection counts when a count says the same.
func TestExport_HTTP10(t *testing.T) {
	t.Parallel()
	f := func(name, body, count string, whole bool) {
		t.Helper()
		url := rawServer(t, func(c *net.TCPConn) {
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			text := body
			if strings.Contains(string(buf[:n]), "/api/v1/query") {
				text = count
			}
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+text)
		})
		got, err := exportAll(newClient(t, Config{URL: url}), Selector{DeviceID: "d"})
		if (err == nil) != whole {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	counted := func(n int) string {
		return fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%d"]}]}}`, n)
	}
	none := `{"status":"success","data":{"resultType":"vector","result":[]}}`
	first := twoLines[:strings.Index(twoLines, "\n")+1]
	f("whole", twoLines, counted(3), true)
	f("nothing there", "", none, true)
	f("cut between two lines", first, counted(3), false)
	f("nothing came", "", counted(3), false)
	f("cut in a line", twoLines[:len(twoLines)-5], counted(3), false)
	f("the count is cut", twoLines, counted(3)[:20], false)
	f("the count is a page", twoLines, "<html>", false)
}
