package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/audit"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 10)
	b.deliver(store.Verified)
	b.insert(10, 12)
	stdout, _ := b.run(0, "audit")
	wantText(t, stdout, b.path, "device dev", "24  adds up", "20  delivered, and at the server exactly once", "4  pending, and not at the server", "file and server agree")

	b.vm.Forget(3)
	b.send(1, b.begin.UnixMilli())
	stdout, _ = b.run(1, "audit", "-since", "24h")
	wantText(t, stdout, "3  DIFFERENCE: missing", "load_average_1m", "1  DIFFERENCE: duplicates", "cpu_usage_percent", "4 DIFFERENCES")
	stdout, _ = b.run(0, "audit", "-since", "1ms")
	wantText(t, stdout, "compared  nothing", "agree")

	stdout, _ = b.run(1, "audit", "-json")
	var got struct {
		Proven      int64
		Differences []audit.Difference
		Ledger      ledger
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Proven != 17 || len(got.Differences) != 2 || got.Ledger.Inserted != 24 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAudit_Deduplicated(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.vm = testkit.StartFakeVM(t, testkit.FakeConfig{Dedup: time.Millisecond})
	b.configure(b.vm.ImportURL(), "")
	b.insert(0, 3)
	b.deliver(store.Verified)
	b.send(1, b.begin.UnixMilli())
	b.run(0, "audit")
}

func TestAudit_NoServer(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 3)
	b.deliver(store.Verified)
	b.vm.GoAway()
	stdout, stderr := b.run(1, "audit")
	wantText(t, stderr, "shipperd audit: export from "+b.vm.URL(), "connection refused")
	if stdout != "" || strings.Contains(stderr, "{") {
		t.Errorf("wrote %q and %q", stdout, stderr)
	}
}

// TestAudit_Print has what a person sees, word by word.
func TestAudit_Print(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	same := auditReport{
		Database: "/var/lib/belabox-metrics/metrics.db", Ledger: ledger{Inserted: 1000, Verified: 990, Pending: 6, NotSendable: 4},
		Report: &audit.Report{From: at, To: at.Add(time.Hour), Devices: []string{"encoder-07"}, Proven: 990, Pending: 6, Unsendable: 4},
	}
	ms := at.UnixMilli()
	differs := auditReport{
		Database: "/data/m.db", Ledger: ledger{Inserted: 1000, Verified: 1000},
		Report: &audit.Report{
			From: at, To: at.Add(time.Hour), Devices: []string{"a", "b"},
			Proven: 900, Moved: 12, Unsettled: 8, UnsettledThere: 3, TooOld: 5, Gone: 1,
			Differences: []*audit.Difference{
				{Kind: audit.Unknown, Samples: 1, Metrics: []*audit.Metric{{Name: "odd\x1bname", Samples: 1, Examples: []int64{ms + 1}}}},
				{Kind: audit.Missing, Samples: 70, Others: 10, Metrics: []*audit.Metric{
					{Name: "cpu_usage_percent", Samples: 50, Examples: []int64{ms, ms + 1000, ms + 2000}},
					{Name: "load_average_1m", Samples: 10, Examples: []int64{ms}},
				}},
				{Kind: audit.StoredTwice, Samples: 2, Metrics: []*audit.Metric{{Name: "x", Samples: 2, Examples: []int64{ms}}}},
				{Kind: audit.PendingStored, Samples: 3, Metrics: []*audit.Metric{{Name: "x", Samples: 3, Examples: []int64{ms}}}},
				{Kind: audit.DeadLetterStored, Samples: 4, Metrics: []*audit.Metric{{Name: "x", Samples: 4, Examples: []int64{ms}}}},
			},
		},
	}
	for name, r := range map[string]auditReport{"audit-same": same, "audit-differs": differs} {
		var out bytes.Buffer
		r.print(&out)
		testkit.Golden(t, name+".txt", out.Bytes())
	}
	for _, kind := range audit.Kinds() {
		if kindTexts[kind][0] == "" || kindTexts[kind][1] == "" {
			t.Errorf("%s has no words", kind)
		}
	}
}
