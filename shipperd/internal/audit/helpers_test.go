package audit

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// rig is a file, a server, and the two handles of the daemons.
type rig struct {
	t      testing.TB
	vm     *testkit.FakeVM
	client *victoria.Client
	in     *store.Inserter
	out    *store.Outbox
	file   *store.Reader
	begin  time.Time // of the samples: an hour ago
	series []*store.Series
	limits chunk.Config
}

func newRig(t testing.TB, series int) *rig {
	t.Helper()
	r := &rig{t: t, vm: testkit.StartFakeVM(t, testkit.FakeConfig{}), begin: time.Now().Add(-time.Hour).Truncate(time.Second)}
	r.limits = chunk.Config{MaxPast: 30 * 24 * time.Hour, MaxFuture: 47 * time.Hour}
	r.client = r.newClient("")
	o := store.Options{Path: filepath.Join(t.TempDir(), "metrics.db"), Daemon: "test", Version: "1"}
	var err error
	if r.in, err = store.OpenInserter(t.Context(), o, time.Hour); err == nil {
		r.out, err = store.OpenOutbox(t.Context(), o)
	}
	if err == nil {
		r.file, err = store.OpenReader(t.Context(), o.Path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, err := range []error{r.file.Close(), r.out.Close(ctx), r.in.Close(ctx)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	for i := range series {
		r.series = append(r.series, store.NewSeries("dev", fmt.Sprintf("metric.%d", i/2), store.Number, store.Tag{Name: "part", Value: fmt.Sprint(i % 2)}))
	}
	return r
}

func (r *rig) newClient(query string) *victoria.Client {
	r.t.Helper()
	c, err := victoria.New(victoria.Config{URL: r.vm.ImportURL() + query})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// at returns the time of a tick.
func (r *rig) at(second int) time.Time { return r.begin.Add(time.Duration(second) * time.Second) }

// key returns the key of a row; series count from 0.
func (r *rig) key(second, series int) store.Key {
	return store.PackKey(r.at(second).UnixMilli(), int64(series+1))
}

// insert stores ticks, one a second.
func (r *rig) insert(from, to int) {
	r.t.Helper()
	for s := from; s < to; s++ {
		r.insertAt(r.at(s), r.series...)
	}
}

func (r *rig) insertAt(at time.Time, series ...*store.Series) {
	r.t.Helper()
	samples := make([]store.Sample, len(series))
	for i, s := range series {
		samples[i] = store.Sample{Series: s, Value: float64(i), Text: "text"}
	}
	if got, err := r.in.Insert(r.t.Context(), at, samples); err != nil || got.Inserted != len(series) {
		r.t.Fatalf("insert: %+v, %v", got, err)
	}
}

// record makes chunks of all pending rows, as shipperd does at the time given.
func (r *rig) record(created time.Time) ([]*store.Chunk, []*chunk.Request) {
	r.t.Helper()
	ctx := r.t.Context()
	rows, err := r.out.Pending(ctx, 0, 1<<20, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	created = created.Truncate(time.Millisecond)
	requests, refused, text, err := chunk.New(r.limits).BuildCatchUp(rows, func(id int64) (*store.SeriesInfo, error) { return r.out.Series(ctx, id) }, created, 0)
	if err != nil || len(refused) > 0 {
		r.t.Fatalf("build: %v, %v", refused, err)
	}
	if len(text) > 0 {
		if err := r.out.MarkUnsendable(ctx, text); err != nil {
			r.t.Fatal(err)
		}
	}
	var chunks []*store.Chunk
	for i, req := range requests {
		b := req.Bodies[0]
		chunks = append(chunks, &store.Chunk{BatchID: fmt.Sprint("batch-", created.UnixNano()), Index: i, Keys: b.Keys, Bytes: b.Bytes, Created: created})
	}
	if err := r.out.RecordSending(ctx, chunks...); err != nil {
		r.t.Fatal(err)
	}
	return chunks, requests
}

func (r *rig) send(c *victoria.Client, requests ...*chunk.Request) {
	r.t.Helper()
	for _, b := range requests {
		if _, err := c.Import(r.t.Context(), b.Gzip, "id"); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) verify(chunks ...*store.Chunk) {
	r.t.Helper()
	for _, c := range chunks {
		if err := r.out.MarkVerified(r.t.Context(), c); err != nil {
			r.t.Fatal(err)
		}
	}
}

// deliver brings all pending rows to the server and has them verified.
func (r *rig) deliver(created time.Time) {
	r.t.Helper()
	chunks, requests := r.record(created)
	r.send(r.client, requests...)
	r.verify(chunks...)
}

// store puts samples of one series of the device into the server behind the
// file's back.
func (r *rig) store(labels string, at ...time.Time) {
	r.t.Helper()
	for _, t := range at {
		line := fmt.Sprintf(`{"metric":{%s,"device_id":"dev"},"values":[1],"timestamps":[%d]}`, labels, t.UnixMilli())
		if err := r.vm.Import(line); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) config() Config {
	return Config{MaxPast: r.limits.MaxPast, MaxFuture: r.limits.MaxFuture}
}

func (r *rig) audit(cfg Config) *Report {
	r.t.Helper()
	return r.auditBy(cfg, r.client.Export)
}

func (r *rig) auditBy(cfg Config, export Export) *Report {
	r.t.Helper()
	report, err := Run(r.t.Context(), r.file, export, cfg, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Ledger.Difference() != 0 {
		r.t.Errorf("the ledger does not add up: %+v", report.Ledger)
	}
	return report
}

// counts are the numbers of a report that tests look at.
type counts struct {
	proven, moved, unsettled, there, pending, unsendable, tooOld, gone int64
	missing, twice, unknown, pendingStored, deadStored                 int64
}

func countsOf(r *Report) counts {
	c := counts{r.Proven, r.Moved, r.Unsettled, r.UnsettledThere, r.Pending, r.Unsendable, r.TooOld, r.Gone, 0, 0, 0, 0, 0}
	for _, d := range r.Differences {
		*map[Kind]*int64{
			Missing: &c.missing, StoredTwice: &c.twice, Unknown: &c.unknown, PendingStored: &c.pendingStored, DeadLetterStored: &c.deadStored,
		}[d.Kind] += d.Samples
	}
	return c
}

func wantCounts(t testing.TB, r *Report, want counts) {
	t.Helper()
	if got := countsOf(r); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if r.Different() != want.missing+want.twice+want.unknown+want.pendingStored+want.deadStored {
		t.Errorf("%d differences, want the sum of %+v", r.Different(), want)
	}
}
