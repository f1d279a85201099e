package main

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

func TestDeadletter_List(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 10)
	stdout, _ := b.run(0, "deadletter", "list")
	if stdout != "no dead letters\n" {
		t.Errorf("got %q", stdout)
	}
	if stdout, _ = b.run(0, "deadletter", "list", "-json"); stdout != "[]\n" {
		t.Errorf("got %q", stdout)
	}
	b.reject("rejected", "rejected", "too_large")
	stdout, _ = b.run(0, "deadletter", "list")
	wantText(t, stdout, "ID  WHEN", "cpu.usage_percent", `{"core":"all"}`, "too_large", "total: rejected 2, too_large 1")
	if strings.ContainsAny(stdout, "\x1b\t") || strings.Count(stdout, "\n") != 6 {
		t.Errorf("what the server said gets through to the terminal:\n%q", stdout)
	}
	stdout, _ = b.run(0, "deadletter", "list", "-limit", "2")
	wantText(t, stdout, "2 of 3 shown")
	stdout, _ = b.run(0, "deadletter", "list", "-reason", "too_large")
	if strings.Count(stdout, "HTTP 400") != 1 || strings.Contains(stdout, "shown") {
		t.Errorf("got:\n%s", stdout)
	}

	stdout, _ = b.run(0, "deadletter", "list", "-limit", "0", "-json")
	var got []struct {
		ID       int64
		Metric   string
		DeviceID string            `json:"device_id"`
		MS       int64             `json:"timestamp_ms"`
		Tags     map[string]string `json:"tags"`
		Value    *float64
		Reason   string
		Detail   string
		Created  time.Time
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if len(got) != 3 || got[0].Metric != "cpu.usage_percent" || got[0].Tags["core"] != "all" || got[0].DeviceID != "dev" ||
		got[0].MS != b.begin.UnixMilli() || *got[1].Value != 1.5 || got[2].Reason != "too_large" || got[0].Created.IsZero() ||
		!strings.Contains(got[0].Detail, "\x1b") {
		t.Errorf("got %+v", got)
	}
}

// TestDeadletter_Pages lists and retries more dead letters than are read at once.
func TestDeadletter_Pages(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 600)
	for n := 0; n < 1100; n += 550 {
		b.reject(strings.Split(strings.Repeat("rejected ", 550)[:9*550-1], " ")...)
	}
	stdout, _ := b.run(0, "deadletter", "list", "-limit", "0")
	if n := strings.Count(stdout, "HTTP 400"); n != 1100 {
		t.Errorf("%d dead letters listed, want 1100", n)
	}
	stdout, _ = b.run(0, "deadletter", "list", "-limit", "700", "-json")
	if n := strings.Count(stdout, "HTTP 400"); n != 700 || !json.Valid([]byte(stdout)) {
		t.Errorf("%d dead letters listed, want 700", n)
	}
	stdout, _ = b.run(0, "deadletter", "retry", "all")
	wantText(t, stdout, "1100 of 1100 samples are pending again")
	stdout, _ = b.run(0, "status", "-json")
	var got statusReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Pending.Samples != 1200 || got.Ledger.Difference != 0 {
		t.Errorf("after the retry: %+v, %v", got, err)
	}
	stdout, _ = b.run(0, "deadletter", "retry", "all")
	wantText(t, stdout, "no dead letters")
}

func TestDeadletter_Retry(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 3)
	b.reject("a", "b", "c")
	stdout, _ := b.run(0, "deadletter", "retry", "1", "3")
	wantText(t, stdout, "2 of 2 samples are pending again")
	stdout, _ = b.run(1, "deadletter", "retry", "1", "2")
	wantText(t, stdout, "1 is not a dead letter", "1 of 2")
	// The same sample is inserted again: its key is taken.
	b.reject("again")
	b.insert(0, 1)
	stdout, _ = b.run(1, "deadletter", "retry", "1")
	wantText(t, stdout, "1 stays a dead letter: the file has a sample of the same series and time", "0 of 1")
	stdout, _ = b.run(0, "deadletter", "retry", "all")
	wantText(t, stdout, "0 of 1")
	b.outbox(func(_ context.Context, ob *store.Outbox, rows []store.Row) error {
		if len(rows) != 6 {
			t.Errorf("%d rows pending, want 6", len(rows))
		}
		return nil
	})
}

func TestDeadletter_Print(t *testing.T) {
	t.Parallel()
	number := func(v driver.Value) (l store.DeadLetter) {
		if err := l.Value.Scan(v); err != nil {
			t.Fatal(err)
		}
		l.ID, l.Device, l.Name, l.Tags, l.TimestampMS = 7, "dev", "disk.busy_percent", `{"device":"sda"}`, 1_795_000_000_123
		l.Reason, l.Detail, l.Created = "rejected", "HTTP 400: cannot parse", time.UnixMilli(1_795_000_100_000).UTC()
		return l
	}
	text := number(nil)
	text.Text, text.Type, text.ID, text.Tags, text.Detail = "6.1 \"x\"\n", store.Text, 1234, "{}", strings.Repeat("long ", 100)
	odd := number(math.Inf(-1))
	odd.Tags = "no JSON"
	for name, out := range map[string]func(*bytes.Buffer) deadLetterPrinter{
		"deadletter.txt":  func(b *bytes.Buffer) deadLetterPrinter { return &deadLetterTable{w: b} },
		"deadletter.json": func(b *bytes.Buffer) deadLetterPrinter { return &deadLetterArray{w: b} },
	} {
		var b bytes.Buffer
		p := out(&b)
		for _, l := range []store.DeadLetter{number(1.5), text, odd, number(nil)} {
			if err := p.add(l); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.end(4, map[string]int64{"rejected": 5}, ""); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, name, b.Bytes())
	}
}
