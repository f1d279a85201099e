package doctor

import (
	"testing"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/store"
)

// TestDoctor_Link: what the uploads cost, which interface carries them, and how to have it sampled.
func TestDoctor_Link(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	want(t, p.examine(), "link", OK, "nothing counted yet")

	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: p.cfg.Storage.Path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	ob.MeterTraffic(func() (int64, int64) { return 3_000_000, 600_000 }, clock.Read)
	if err := ob.SaveStats(t.Context(), []store.Stat{{Name: "link.interface", Tags: `{"interface":"wwan0"}`, Kind: "gauge", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := ob.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "link", OK, "about 3.60 MB today (sent 3.00, received 0.60), 3.60 MB since ")
	want(t, p.examine(), "link", OK, "wwan0 carries the uploads and is not sampled. To sample it, set `network: {include: ['wwan0']}`")

	p.input = func(in *Input) { in.Interface = func() string { return "eth7" } }
	want(t, p.examine(), "link", OK, "; via eth7")
	p.cfg.Network.Exclude = []string{".*"}
	want(t, p.examine(), "link", OK, "include: ['eth7']")

	p.cfg.Remote.MonthlyBudgetMB, p.cfg.Remote.UploadInterval = 3, 30*time.Second
	want(t, p.examine(), "link", Warn, "3.60 of 3.00 MB since ")
	want(t, p.examine(), "link", Warn, "Raise `remote.monthly_budget_mb`")
}
