package doctor

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
)

// deliver sends the pending rows and records them as accepted so long ago.
func (p *patient) deliver(age time.Duration) {
	p.t.Helper()
	p.outbox(func(ctx context.Context, ob *store.Outbox) {
		rows, err := ob.Pending(ctx, 0, 100, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		now := time.Now()
		c := &store.Chunk{BatchID: now.Format(time.RFC3339Nano), Contiguous: true, Created: now, Attempted: now.Add(-age), Accepted: now.Add(-age), HTTPStatus: 204}
		var body []byte
		for _, row := range rows {
			c.Keys = append(c.Keys, row.Key)
			info, err := ob.Series(ctx, row.Key.SeriesID())
			if err != nil {
				p.t.Fatal(err)
			}
			metric := jsonline.Canonical(map[string]string{"__name__": info.Name, "device_id": info.Device})
			body = jsonline.Append(body, metric, []int64{row.Key.TimestampMS()}, []float64{row.Value})
		}
		p.post(body)
		if err := ob.RecordSending(ctx, c); err != nil {
			p.t.Fatal(err)
		}
		if err := ob.MarkUploaded(ctx, c, nil, nil); err != nil {
			p.t.Fatal(err)
		}
	})
}

func (p *patient) post(body []byte) {
	p.t.Helper()
	resp, err := http.Post(p.cfg.Remote.URL, "", strings.NewReader(string(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		p.t.Fatalf("import: %s, %v", resp.Status, err)
	}
}

// behind is a device whose server stands behind a front.
func behind(t *testing.T, cfg testkit.FakeConfig) (*patient, *testkit.FakeVM, *front.Front) {
	t.Helper()
	vm := testkit.StartFakeVM(t, cfg)
	f := front.Start(t, vm.URL())
	return healthy(t, f.ImportURL()), vm, f
}

// elsewhere answers reads from another tenant, which has nothing.
func elsewhere(t *testing.T) front.Mode {
	other := startVM(t)
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if kind := front.KindOf(r); kind == front.Export || kind == front.Query {
				other.ServeHTTP(w, r)
				return
			}
			server.ServeHTTP(w, r)
		})
	}
}

func TestDoctor_LastChunk(t *testing.T) {
	t.Parallel()
	const age = 3 * time.Minute
	for _, c := range []struct {
		what   string
		mode   front.Mode
		age    time.Duration
		status Status
		text   string
	}{
		{"found", front.Pass(), age, OK, "3 of 3 samples of the chunk that it accepted 3 min"},
		{"a label more", front.Rename("site", "north"), age, OK, "3 of 3"},
		{"too young", elsewhere(t), 5 * time.Second, OK, "none was accepted more than 30 s"},
		{"renamed", front.Rename("device_id", "other"), age, Fail, `under device_id ["other"]`},
		{"renamed, with the remedy", front.Rename("device_id", "other"), age, Fail, "label device_id is renamed: remove the rule"},
		{"another label renamed", front.Rename("__name__", "other"), age, Fail, "no rule renames a label"},
		{"other tenant", elsewhere(t), age, Fail, "reads the tenant that remote.url writes"},
		{"a filter", elsewhere(t), age, Fail, "extra_filters"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			p, _, f := behind(t, testkit.FakeConfig{})
			f.Set(c.mode)
			p.deliver(c.age)
			want(t, p.examine(), "last chunk", c.status, c.text)
		})
	}
}

// TestDoctor_LastChunkQueued: a proxy answers 204 and delivers later.
func TestDoctor_LastChunkQueued(t *testing.T) {
	t.Parallel()
	p, vm, f := behind(t, testkit.FakeConfig{})
	p.insert(time.Now().Add(-5*time.Minute), 3)
	p.deliver(5 * time.Minute) // both
	want(t, p.examine(), "last chunk", OK, "5 of 5")

	queue := front.NewQueue(t)
	queue.Until = time.Now().Add(time.Hour)
	f.Set(queue.Mode())
	p.insert(time.Now().Add(time.Second), 3)
	p.deliver(time.Minute)
	want(t, p.examine(), "last chunk", Warn, "run this again in two minutes")
	p.insert(time.Now().Add(2*time.Second), 3)
	p.deliver(40 * time.Second)
	later := func() time.Time { return time.Now().Add(3 * time.Minute) }
	p.now = later
	want(t, p.examine(), "last chunk", Fail, "a proxy that queues (vmagent)")

	// It is delivered after all.
	p.cfg.Remote.URL = vm.ImportURL()
	p.insert(time.Now().Add(3*time.Second), 3)
	p.deliver(35 * time.Second)
	want(t, p.examine(), "last chunk", OK, "3 of 3")
}

// TestDoctor_LastChunkOthers: ticks are aligned, so other devices have samples of the same metrics
// and times. Only an id that has all samples is named, and not more than three.
func TestDoctor_LastChunkOthers(t *testing.T) {
	t.Parallel()
	p, vm, f := behind(t, testkit.FakeConfig{})
	f.Set(front.Rename("device_id", "other"))
	p.deliver(time.Minute)
	at := vm.Samples()[0].Timestamp
	add := func(device string, names ...string) {
		t.Helper()
		f.Set(front.Pass())
		for _, name := range names {
			p.post(jsonline.Append(nil, jsonline.Canonical(map[string]string{"__name__": name, "device_id": device}), []int64{at}, []float64{1}))
		}
	}
	add("part", "m0", "m1")
	want(t, p.examine(), "last chunk", Fail, `under device_id ["other"]`)
	add("b", "m0", "m1", "m2")
	want(t, p.examine(), "last chunk", Fail, `under device_id ["b" "other"]`)
	add("c", "m0", "m1", "m2")
	add("d", "m0", "m1", "m2")
	found := p.examine()
	want(t, found, "last chunk", Fail, "tenant")
	if strings.Contains(found["last chunk"].Detail, "under device_id") {
		t.Errorf("four ids are named: %+v", found["last chunk"])
	}
}

func TestDoctor_LastChunkDropped(t *testing.T) {
	t.Parallel()
	p, vm, _ := behind(t, testkit.FakeConfig{})
	vm.Then(testkit.AcceptSome(testkit.KeepNone))
	p.deliver(time.Minute)
	newer := jsonline.Canonical(map[string]string{"__name__": "m0", "device_id": "dev"})
	p.post(jsonline.Append(nil, newer, []int64{time.Now().UnixMilli()}, []float64{1}))
	want(t, p.examine(), "last chunk", Fail, "but newer ones of the same metrics")
}

func TestDoctor_LastChunkNotChecked(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	p.deliver(time.Minute)
	p.outbox(func(ctx context.Context, ob *store.Outbox) {
		chunks, err := ob.OpenChunks(ctx)
		if err == nil {
			err = ob.MarkVerified(ctx, chunks...)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	want(t, p.examine(), "last chunk", OK, "3 of 3") // verified, and still there
	vm.ThenRead(testkit.Step{}, testkit.Step{}, testkit.Answer(403, nil))
	want(t, p.examine(), "last chunk", Fail, "reads are refused")
	p.cfg.Remote.MaxPast = time.Nanosecond
	p.cfg.Remote.MaxFuture = -time.Hour
	want(t, p.examine(), "last chunk", Unknown, "timestamps were moved")
	p.cfg.Remote.Verify.Enabled = false
	want(t, p.examine(), "last chunk", Unknown, "remote.verify.enabled is false")
}

// TestDoctor_ReadsRefused: what stands in the way of reads is named.
func TestDoctor_ReadsRefused(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	p.deliver(time.Minute)
	for _, c := range []struct {
		step testkit.Step
		text string
	}{
		{testkit.Answer(400, nil), "reads are refused"},
		{testkit.Answer(401, nil), "reads are refused"},
		{testkit.Answer(403, nil), "reads are refused"},
		{testkit.Answer(404, nil), "reads are refused"},
		{testkit.RedirectTo("http://elsewhere/login"), "reads are not answered by the server"},
		{testkit.Step{Status: 200, Body: "<html>log in</html>", Header: http.Header{"Content-Type": {"text/html"}}}, "reads are not answered by the server"},
		{testkit.Answer(503, nil), "reads fail"},
	} {
		vm.ThenRead(c.step)
		found := p.examine()
		want(t, found, "read-back", Fail, c.text)
		want(t, found, "last chunk", Unknown, "the server cannot be read")
	}
}
