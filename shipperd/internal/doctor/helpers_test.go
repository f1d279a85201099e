package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// patient is a device that a test makes ill.
type patient struct {
	t     testing.TB
	cfg   config.Config
	token func() (string, error)
	files []string
	now   func() time.Time
	input func(*Input)
}

// healthy has a file with fresh rows. Its daemons do not run.
func healthy(t testing.TB, importURL string) *patient {
	t.Helper()
	p := &patient{t: t, cfg: config.Default()}
	p.cfg.Device.ID = "dev"
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	p.cfg.Storage.Path = filepath.Join(dir, "metrics.db")
	p.cfg.Remote.URL = importURL
	p.cfg.Remote.Timeout = 5 * time.Second
	p.insert(time.Now(), 3)
	return p
}

// insert stores n samples of a moment.
func (p *patient) insert(at time.Time, n int) {
	p.t.Helper()
	ctx := p.t.Context()
	in, err := store.OpenInserter(ctx, store.Options{Path: p.cfg.Storage.Path, Daemon: "collectord", Version: "1.0"}, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	var samples []store.Sample
	for i := range n {
		samples = append(samples, store.Sample{Series: store.NewSeries("dev", fmt.Sprint("m", i), store.Number), Value: 1})
	}
	if r, err := in.Insert(ctx, at, samples); err != nil || r.Inserted != n {
		p.t.Fatalf("insert: %+v, %v", r, err)
	}
	if err := in.Close(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// examine makes all checks.
func (p *patient) examine() map[string]Check {
	p.t.Helper()
	in := Input{Config: p.cfg, Version: "1.0", Secrets: p.files, Now: p.now}
	in.Client, in.ClientErr = victoria.New(victoria.Config{
		URL: p.cfg.Remote.URL, VerifyURL: p.cfg.Remote.Verify.URL, Token: p.token, Timeout: p.cfg.Remote.Timeout,
	})
	if p.input != nil {
		p.input(&in)
	}
	found := map[string]Check{}
	Run(p.t.Context(), in, func(c Check) {
		if _, twice := found[c.Name]; twice {
			p.t.Errorf("check %q comes twice", c.Name)
		}
		if (c.Status == Warn || c.Status == Fail) != (c.Fix != "") || c.Detail == "" {
			p.t.Errorf("%+v: what is not well has a fix, and nothing else", c)
		}
		found[c.Name] = c
	})
	return found
}

// want checks one result: its status, and a text in detail or fix.
func want(t testing.TB, found map[string]Check, name string, status Status, text string) {
	t.Helper()
	c, ok := found[name]
	if !ok || c.Status != status || !strings.Contains(c.Detail+"\n"+c.Fix, text) {
		t.Errorf("%s: got %+v, want %s, %q", name, c, status, text)
	}
}

// wantRest checks that all but the named ones are well.
func wantRest(t testing.TB, found map[string]Check, but ...string) {
	t.Helper()
	for name, c := range found {
		// The daemons do not run in these tests.
		if c.Status != OK && !strings.Contains(" collectord shipperd uploads "+strings.Join(but, " ")+" ", " "+name+" ") {
			t.Errorf("%+v, want it to be well", c)
		}
	}
}

func startVM(t testing.TB) *testkit.FakeVM {
	t.Helper()
	return testkit.StartFakeVM(t, testkit.FakeConfig{})
}

func (p *patient) outbox(use func(ctx context.Context, ob *store.Outbox)) {
	p.t.Helper()
	ctx := p.t.Context()
	ob, err := store.OpenOutbox(ctx, store.Options{Path: p.cfg.Storage.Path, Daemon: "shipperd", Version: "1.0"})
	if err != nil {
		p.t.Fatal(err)
	}
	use(ctx, ob)
	if err := ob.Close(ctx); err != nil {
		p.t.Fatal(err)
	}
}
