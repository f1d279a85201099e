package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/shared/testkit"
)

// The form of the answer is fixed: shippers parse it.
func TestImport_Answer(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(body, want string) {
		t.Helper()
		for _, r := range []reply{ts.post(t, body), ts.postGzip(t, zip(t, body))} {
			if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("got %d %s: %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			if got := strings.TrimSpace(r.body); got != want {
				t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
			}
		}
	}
	f(sample("a", 1, 0), `{"accepted":1,"rejected":0,"lines":[]}`)
	f(sample("a", 1, 0)+sample("a", 2, 1), `{"accepted":2,"rejected":0,"lines":[]}`)
	// The last line may lack its end.
	f(strings.TrimSpace(sample("a", 1, 0)), `{"accepted":1,"rejected":0,"lines":[]}`)
	// One sample of a line.
	f(sample("a", 1, 0)+`{"metric":{"__name__":"b"},"values":["x",2],"timestamps":[1700000000000,1700000001000]}`,
		`{"accepted":2,"rejected":1,"lines":[`+
			`{"line":2,"reason":"value is not a number","retry":false,"timestamps":[1700000000000]}]}`)
	// Whole lines; blank ones are counted and passed over.
	f("\n \r\nrubbish\n"+sample("a", 3, 3)+`{"metric":{"__name__":"b"},"values":[1,2,3],"timestamps":[1700000000000]}`,
		`{"accepted":1,"rejected":4,"lines":[`+
			`{"line":3,"reason":"not a JSON object","retry":false},`+
			`{"line":5,"reason":"3 values but 1 timestamps","retry":false}]}`)
	// Two reasons in one line.
	f(`{"metric":{"__name__":"b"},"values":[null,2,3],"timestamps":[1700000000000,1700000001,1700000002000]}`,
		`{"accepted":1,"rejected":2,"lines":[`+
			`{"line":1,"reason":"value is not a number","retry":false,"timestamps":[1700000000000]},`+
			`{"line":1,"reason":"timestamp is before 1973; timestamps are in milliseconds since 1970","retry":false,"timestamps":[1700000001]}]}`)
	// Nothing good in it.
	f("rubbish", `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":"not a JSON object","retry":false}]}`)
	f(`{"metric":{"__name__":"b"},"values":[],"timestamps":[]}`,
		`{"accepted":0,"rejected":0,"lines":[{"line":1,"reason":"no samples","retry":false}]}`)

	want := `{"metric":{"__name__":"a","device_id":"d"},"values":[1,2,3],"timestamps":[1700000000000,1700000000001,1700000000003]}
{"metric":{"__name__":"b"},"values":[2,3],"timestamps":[1700000001000,1700000002000]}
`
	if got := ts.export(t, match(everything)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestImport_Unusable(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	gz := http.Header{"Content-Encoding": {"gzip"}}
	good := sample("a", 1, 0) + sample("b", 1, 0)
	zipped := zip(t, good)
	damaged := zip(t, good)
	damaged[len(damaged)-5] ^= 0xff // in the checksum, after all the text
	f := func(header http.Header, body string, status int, text string) {
		t.Helper()
		wantFault(t, ts.do(t, "POST", "/api/v1/import", header, strings.NewReader(body)), status, text)
	}
	f(nil, "", 400, "body is empty")
	f(nil, "\n\r\n  \n", 400, "body has no lines")
	f(nil, string(zipped), 400, "there is no header Content-Encoding")
	f(gz, good, 400, "body is not gzip")
	f(gz, "", 400, "body is empty")
	f(gz, "\x1f", 400, "body is not gzip")
	f(gz, string(zip(t, "")), 400, "body has no lines")
	f(gz, string(zipped[:len(zipped)/2]), 400, "damaged or cut short")
	f(gz, string(zipped[:len(zipped)-1]), 400, "damaged or cut short")
	f(gz, string(damaged), 400, "damaged or cut short")
	f(gz, string(zipped)+"trailing rubbish", 400, "damaged or cut short")
	f(http.Header{"Content-Encoding": {"zstd"}}, good, 415, "must be gzip or absent")
	// Nothing of all this was stored.
	if got := ts.export(t, match(everything)); got != "" {
		t.Errorf("got %s, want nothing stored", got)
	}
	// Two gzip members are one body, as RFC 1952 has it.
	if r := ts.postGzip(t, append(zip(t, sample("a", 1, 0)), zip(t, sample("b", 1, 0))...)); !strings.HasPrefix(r.body, `{"accepted":2,`) {
		t.Errorf("two members: got %d %s", r.status, r.body)
	}
}

func TestImport_Limits(t *testing.T) {
	t.Parallel()
	const maxBody, maxDecoded = 100_000, 1_000_000
	ts := start(t, func(c *Config, _ *http.Server) { c.MaxBodyBytes, c.MaxDecodedBytes = maxBody, maxDecoded })
	one := sample("a", 1, 0)
	fill := func(n int) string { return one + strings.Repeat(" ", n-len(one)) }

	if r := ts.post(t, fill(maxBody)); r.status != 200 {
		t.Errorf("body of the limit: got %d %s", r.status, r.body)
	}
	wantFault(t, ts.post(t, fill(maxBody+1)), 413, "body is larger than 100000 bytes")
	// Without a length in the header.
	r := ts.do(t, "POST", "/api/v1/import", nil, struct{ *strings.Reader }{strings.NewReader(fill(maxBody + 1))})
	wantFault(t, r, 413, "body is larger than 100000 bytes")

	if r := ts.postGzip(t, zip(t, fill(maxDecoded))); r.status != 200 {
		t.Errorf("decoded body of the limit: got %d %s", r.status, r.body)
	}
	wantFault(t, ts.postGzip(t, zip(t, fill(maxDecoded+1))), 413, "larger than 1000000 bytes after decompression")
	// A bomb: 50 MB in 50 kB, good lines first.
	wantFault(t, ts.postGzip(t, zip(t, one+strings.Repeat(" ", 50_000_000))), 413, "after decompression")
}

func TestImport_CountLimits(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	wantFault(t, ts.postGzip(t, zip(t, sample("a", 1, 0)+strings.Repeat("x\n", maxLines))), 413, "more than 100000 lines")
	half := `{"metric":{"__name__":"a"},"values":[` + strings.Repeat("1,", maxSamples/2) + `1],"timestamps":[` +
		strings.Repeat("1,", maxSamples/2) + "1]}\n"
	wantFault(t, ts.postGzip(t, zip(t, half+half)), 413, "more than 1000000 samples")
	if got := ts.export(t, match(everything)); got != "" {
		t.Errorf("got %.200s, want nothing stored", got)
	}

	// A line that is too long costs the others nothing, wherever it stands.
	long := strings.Repeat("x", maxLineBytes+1)
	body := sample("a", 1, 0) + long + "\n" + sample("a", 2, 1) + long
	want := fmt.Sprintf(`{"accepted":2,"rejected":2,"lines":[{"line":2,"reason":"line is longer than %d bytes","retry":false},`+
		`{"line":4,"reason":"line is longer than %[1]d bytes","retry":false}]}`+"\n", maxLineBytes)
	if r := ts.postGzip(t, zip(t, body)); r.body != want {
		t.Errorf("got %d %s, want %s", r.status, r.body, want)
	}
	// One of just the limit is read.
	exact := strings.TrimSpace(sample("a", 3, 2))
	exact += strings.Repeat(" ", maxLineBytes-len(exact)-1) + "\n"
	if r := ts.postGzip(t, zip(t, exact+sample("a", 4, 3))); !strings.HasPrefix(r.body, `{"accepted":2,"rejected":0`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

// A chunk that is sent again, whole or cut otherwise, changes nothing and is accepted.
func TestImport_Idempotent(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	var body strings.Builder
	for i := range 100 {
		body.WriteString(sample("m", float64(i), i) + sample(fmt.Sprintf("n%d", i%7), 0.5, i))
	}
	first := ts.post(t, body.String())
	before := ts.export(t, match(everything))
	for range 3 {
		if again := ts.postGzip(t, zip(t, body.String())); again.body != first.body {
			t.Errorf("got %s, want %s", again.body, first.body)
		}
		if r := ts.post(t, body.String()[:strings.IndexByte(body.String(), '\n')+1]); r.body != `{"accepted":1,"rejected":0,"lines":[]}`+"\n" {
			t.Errorf("a part again: got %s", r.body)
		}
	}
	if after := ts.export(t, match(everything)); after != before {
		t.Errorf("got %s, want %s", after, before)
	}
	if !strings.HasPrefix(first.body, `{"accepted":200,"rejected":0,`) || strings.Count(before, "\n") != 8 {
		t.Errorf("got %s and %s", first.body, before)
	}
}

// Another value for a stored timestamp replaces it: the last write wins.
func TestImport_LastWins(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	ts.post(t, sample("a", 1, 0)+sample("a", 2, 1))
	ts.post(t, sample("a", 9, 0))
	ts.post(t, sample("a", 5, 1)+sample("a", 6, 1))
	want := `{"metric":{"__name__":"a","device_id":"d"},"values":[9,6],"timestamps":[1700000000000,1700000000001]}` + "\n"
	if got := ts.export(t, match(everything)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestImport_Retention(t *testing.T) {
	t.Parallel()
	ts := start(t, func(c *Config, _ *http.Server) { c.Retention = time.Hour })
	now := time.Now().UnixMilli()
	old, young := now-time.Hour.Milliseconds()-1000, now-time.Hour.Milliseconds()+600_000
	r := ts.post(t, fmt.Sprintf(`{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[%d,%d]}`, old, young))
	want := fmt.Sprintf(`{"accepted":1,"rejected":1,"lines":[{"line":1,"reason":"timestamp is older than the retention",`+
		`"retry":false,"timestamps":[%d]}]}`+"\n", old)
	if r.body != want {
		t.Errorf("got %s, want %s", r.body, want)
	}
}

// A store that cannot be written: 503 with the time to come back, and a log that does not flood.
func TestImport_StoreFails(t *testing.T) {
	t.Parallel()
	var fault error
	ts := start(t, func(c *Config, _ *http.Server) {
		next := c.Sink
		c.Sink = sinkFunc(func(ctx context.Context, lines []line.Line) error {
			if fault != nil {
				return fault
			}
			return next.WriteChunk(ctx, lines, nil)
		})
	})
	f := func(err error, text, retryAfter string) {
		t.Helper()
		fault = err
		r := ts.post(t, sample("a", 1, 0))
		wantFault(t, r, http.StatusServiceUnavailable, text)
		if got := r.header.Get("Retry-After"); got != retryAfter {
			t.Errorf("%v: got Retry-After %q, want %q", err, got, retryAfter)
		}
	}
	f(fmt.Errorf("write: %w", store.ErrFull), "the store is full; nothing was stored", "60")
	f(store.ErrClosed, "the store cannot be written; nothing was stored", "10")
	f(errors.New("disk I/O error"), "the store cannot be written; nothing was stored", "10")
	fault = nil
	if r := ts.post(t, sample("a", 1, 0)); r.status != 200 {
		t.Errorf("after the outage: got %d %s", r.status, r.body)
	}
	log := ts.log.String()
	if strings.Count(log, "samples cannot be kept") != 1 || strings.Count(log, "samples can be kept again\" failures=3") != 1 {
		t.Errorf("got log %s", log)
	}
}

func TestOutage_LogsOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := new(testkit.Buffer)
		o := outage{log: slog.New(slog.NewTextHandler(log, nil))}
		for range 125 { // seconds
			o.note(errors.New("no disk"))
			time.Sleep(time.Second)
		}
		o.note(nil)
		o.note(nil)
		want := []string{
			`level=ERROR msg="samples cannot be kept" failures=1 err="no disk"`,
			`level=ERROR msg="samples cannot be kept" failures=61 err="no disk"`,
			`level=ERROR msg="samples cannot be kept" failures=121 err="no disk"`,
			`level=INFO msg="samples can be kept again" failures=125 outage_seconds=125`,
		}
		got := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(got) != len(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		for i := range want {
			if !strings.HasSuffix(got[i], want[i]) {
				t.Errorf("got %s, want %s", got[i], want[i])
			}
		}
	})
}

// Whatever is sent, the answer is one of the few that are promised, it adds up, and what it calls accepted is there.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		sample("a", 1, 0) + sample("b", 2, 1), "\n\n", "x\n" + sample("a", 1, 0),
		`{"metric":{"__name__":"a"},"values":[1,null,3],"timestamps":[1700000000000,1700000000001,5]}`, "\x1f\x8b\x08",
	} {
		f.Add([]byte(seed), false)
		f.Add(zip(f, seed), true)
	}
	ts := start(f, func(c *Config, _ *http.Server) {
		c.Sink = sinkFunc(func(_ context.Context, lines []line.Line) error {
			for _, l := range lines {
				if len(l.Timestamps) == 0 || len(l.Timestamps) != len(l.Values) {
					panic("a line without samples reached the sink")
				}
			}
			return nil
		})
	})
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		var r reply
		if zipped {
			r = ts.postGzip(t, body)
		} else {
			r = ts.post(t, string(body))
		}
		if r.status != http.StatusOK {
			if r.status != 400 && r.status != 413 {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			return
		}
		var a answer
		if err := json.Unmarshal([]byte(r.body), &a); err != nil {
			t.Fatal(err)
		}
		named, last := 0, 0
		for _, l := range a.Lines {
			if l.Line < last || l.Line < 1 || l.Reason == "" || l.Retry {
				t.Fatalf("got %+v after line %d", l, last)
			}
			last, named = l.Line, named+len(l.Timestamps)
		}
		if a.Rejected < named || a.Rejected > 0 && len(a.Lines) == 0 {
			t.Fatalf("it does not add up: %s", r.body)
		}
		if !utf8.ValidString(r.body) {
			t.Fatalf("not UTF-8: %q", r.body)
		}
	})
}
