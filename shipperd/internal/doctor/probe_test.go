package doctor

import (
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestDoctor_Duplicates: only the probe finds out whether repeated imports show.
func TestDoctor_Duplicates(t *testing.T) {
	t.Parallel()
	plain, dedup := testkit.FakeConfig{}, testkit.FakeConfig{Dedup: time.Millisecond}
	for _, c := range []struct {
		what   string
		server testkit.FakeConfig
		mode   front.Mode
		status Status
		text   string
		stored int
	}{
		{"no deduplication", plain, front.Pass(), Warn, "it does not deduplicate", 3},
		{"deduplication", dedup, front.Pass(), OK, "one copy", 3},
		{"repeated", plain, front.Repeat(), Warn, "sent once 2 times: a proxy repeats imports", 6},
		{"repeated and deduplicated", dedup, front.Repeat(), OK, "one copy", 6},
		{"thinned", testkit.FakeConfig{Dedup: 10 * time.Minute}, front.Pass(), OK, "one copy", 3},
		{"another tenant", plain, elsewhere(t), Warn, "does not show it", 3},
		{"shown late", testkit.FakeConfig{VisibleAfter: 400 * time.Millisecond}, front.Pass(), Warn, "-dedup.minScrapeInterval=1ms", 3},
		{"not accepted", plain, front.Refuse(front.Answer{Status: 503}, front.Import), Unknown, "not accepted", 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			p, vm, f := behind(t, c.server)
			f.Set(c.mode)
			notes := 0
			p.input = func(in *Input) {
				in.Probe, in.ProbeWait = true, 300*time.Millisecond
				in.Note = func(string) { notes++ }
			}
			want(t, p.examine(), "duplicates", c.status, c.text)
			stored := vm.Samples()
			if len(stored) != c.stored || c.stored > 0 && notes == 0 {
				t.Errorf("%d samples stored, want %d; %d notes", len(stored), c.stored, notes)
			}
			for _, s := range stored {
				if s.Metric["__name__"] != victoria.ProbeMetric || s.Metric["device_id"] != "dev" {
					t.Errorf("stored %v", s.Metric)
				}
			}
		})
	}
}

func TestDoctor_DuplicatesNotChecked(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	p.input = func(in *Input) { in.Probe = true }
	vm.ThenRead(testkit.Answer(403, nil))
	want(t, p.examine(), "duplicates", Unknown, "cannot be read")
	if n := len(vm.Stored()); n != 0 {
		t.Errorf("%d samples stored", n)
	}
}
