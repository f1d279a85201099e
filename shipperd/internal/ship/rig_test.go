package ship

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/truetime"
	"belabox-metrics/shipperd/internal/victoria"
)

// rig is one device in a bubble: a file, the Shipper under test, and a server
// that fails as it is told. Every sample has a value of its own, so that it can
// be found whatever became of its timestamp.
type rig struct {
	t  testing.TB
	vm *testkit.FakeVM

	cfg    Config
	chunks chunk.Config
	client victoria.Config
	file   store.Options
	crash  atomic.Pointer[func(point string)]
	skew   atomic.Int64 // of the device's wall clock, in nanoseconds
	rand   *rand.Rand

	in      *store.Inserter
	watch   *store.Outbox // for the checker
	outbox  *store.Outbox // the Shipper's
	shipper *Shipper
	http    *victoria.Client
	series  []*store.Series // a series' id is its place here, from 1
	samples []sample
	stop    func()
	done    chan error
	dead    atomic.Bool // a crash point ended a loop
	beats   atomic.Int64
	log     testkit.Buffer
	all     []Counts // of Shippers that are gone
	allow   allowance

	states    sync.Map // of the chunks: store.Chunk.ID → state
	alsoMoved func(step)
	next      atomic.Pointer[func()] // what inLoop wants done
	power     bool                   // may fail, see cut
	synced    atomic.Pointer[image]  // what a power cut leaves
	silent    bool                   // nothing is sampled while everything is delivered

	thrift     func(context.Context) link.Thrift
	opened     func(*store.Outbox)                     // the Shipper's
	otherClock func() (time.Time, time.Duration, bool) // monitoring.clock_skew_url
	boot       string                                  // boot id
	booted     time.Time                               // by the true clock
	ntp        atomic.Bool                             // the wall clock is synchronised
}

// sample is one inserted sample; its value is its index in rig.samples plus 1.
type sample struct {
	key    store.Key
	trueMS int64  // when it was taken
	series string // as the server should name it
	text   bool
}

// allowance is what a test's circumstances excuse.
type allowance struct {
	doubles     bool                // at-least-once delivery
	moved       bool                // clamped timestamps
	renamed     bool                // what was stored as elsewhere's is there for nothing
	off         time.Duration       // of the true time
	lost        func(s sample) bool // at the server: deduplicated, for example
	dropped     bool                // by the size budget
	unproven    bool                // accepted, and dropped by it before they were read back
	retried     int64               // dead letters
	deadLetters func(s sample) bool // may be a dead letter
}

// newRig is a device with n series, of two ticks' distance from nothing: no row yet.
func newRig(t testing.TB, n int, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{
		t: t,
		cfg: Config{
			UploadInterval: 30 * time.Second, BatchSize: 2500, Retention: 24 * time.Hour, MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour,
			Retry:  RetryConfig{Enabled: true, MaxAttempts: 3, InitialBackoff: time.Second, MaxBackoff: time.Minute, Multiplier: 2, JitterPercent: 20},
			Verify: VerifyConfig{Enabled: true, Delay: 30 * time.Second, Settle: 15 * time.Second, MaxResends: 5},
		},
		rand: rand.New(rand.NewPCG(1, 2)),
	}
	r.vm = testkit.StartFakeVM(t, testkit.FakeConfig{InMemory: true, VisibleAfter: 2 * time.Second, Poison: 11 * time.Second})
	r.client = victoria.Config{
		URL: r.vm.ImportURL(), Dial: r.vm.Dial, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	r.file = store.Options{Path: filepath.Join(t.TempDir(), "metrics.db"), Daemon: "test", BusyTimeout: 100 * time.Millisecond}
	r.boot, r.booted = "boot-1", time.Now().Add(-time.Minute)
	r.client.Boot = func() time.Duration { return time.Since(r.booted) }
	for _, f := range change {
		f(r)
	}
	if err := os.WriteFile(r.file.Path, emptyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		r.series = append(r.series, store.NewSeries("dev", fmt.Sprintf("metric.m%d", i/4), store.Number, store.Tag{Name: "part", Value: fmt.Sprint(i % 4)}))
	}
	r.begin()
	t.Cleanup(func() {
		r.halt()
		if err := r.in.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			lines := strings.Split(r.log.String(), "\n")
			t.Logf("the end of the log:\n%s", strings.Join(lines[max(0, len(lines)-400):], "\n"))
		}
	})
	r.wire()
	return r
}

func (r *rig) open(o store.Options) *store.Outbox {
	r.t.Helper()
	ob, err := store.OpenOutbox(context.Background(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = ob.Close(context.Background()) }) // with a full disk it fails
	return ob
}

// wire makes a Shipper as a start of the program does.
func (r *rig) wire() {
	r.t.Helper()
	var err error
	if r.http, err = victoria.New(r.client); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.http.Close)
	o := r.file
	o.Now = r.now
	r.outbox = r.open(o)
	if r.opened != nil {
		r.opened(r.outbox)
	}
	limits := r.chunks
	limits.MaxPast, limits.MaxFuture = r.cfg.MaxPast, r.cfg.MaxFuture
	r.shipper = New(r.cfg, Deps{
		Outbox: r.outbox, Server: r.http, Builder: chunk.New(limits), Now: r.now, Rand: r.rand,
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Beat: func() {
			r.beats.Add(1)
			if f := r.next.Swap(nil); f != nil {
				(*f)()
			}
		},
		OtherClock: r.otherClock,
		Thrift:     r.thrift,
		Present:    r.present,
		Crash: func(point string) {
			if f := r.crash.Load(); f != nil {
				(*f)(point)
			}
		},
	})
	r.states.Clear()
	r.shipper.moved = func(c *inflight, s step) {
		if !known[s] {
			panic(fmt.Sprintf("%s on %q to %s is not in the table", s.from, s.on, s.to))
		}
		r.states.Store(c.ID, s.to)
		if r.power && (s.on == evRecord || s == (step{owed, evSend, sending})) { // store.Outbox.RecordSending
			r.synced.Store(r.image())
		}
		if r.alsoMoved != nil {
			r.alsoMoved(s)
		}
	}
}

// inLoop has f called by the loop, to which the Shipper belongs while it runs.
func (r *rig) inLoop(f func(s *Shipper)) {
	r.t.Helper()
	s, done := r.shipper, make(chan struct{})
	next := func() { f(s); close(done) }
	r.next.Store(&next)
	<-done
}

// atCrash has f called at each crash point.
func (r *rig) atCrash(f func(point string)) { r.crash.Store(&f) }

// now is the device's wall clock.
func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.skew.Load())) }

// present is what the device's clocks say.
func (r *rig) present() truetime.Present {
	up := time.Since(r.booted).Milliseconds()
	return truetime.Present{Boot: r.boot, BootMS: up, WallMinusBoot: r.now().UnixMilli() - up, Synchronised: r.ntp.Load()}
}

// killed is what a crash point throws to end the loop as a kill does.
type killed struct{ point string }

// run starts the loop.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.done = make(chan error, 1)
	r.stop = cancel
	s, done := r.shipper, r.done
	go func() {
		defer func() {
			switch v := recover().(type) {
			case nil:
			case killed:
				r.dead.Store(true)
				done <- fmt.Errorf("killed at %q", v.point)
			default:
				panic(v)
			}
		}()
		done <- s.Run(ctx)
	}()
}

// halt stops the loop in order, if it runs.
func (r *rig) halt() {
	r.t.Helper()
	if r.stop == nil {
		return
	}
	r.stop()
	if err := <-r.done; err != nil && !strings.HasPrefix(err.Error(), "killed at") {
		r.t.Errorf("the loop ended with %v", err)
	}
	r.stop = nil
}

// restart continues with a new Shipper, which knows only the file. The handle of
// the old one is left as it is, as after a kill.
func (r *rig) restart() {
	r.t.Helper()
	r.halt()
	r.all = append(r.all, r.shipper.Stats.Snapshot())
	r.http.Close()
	r.wire()
	r.run()
}

// image is what the disk has of the database.
type image struct{ db, wal []byte }

// image copies the files. A commit of the other daemon that is under way is cut off.
func (r *rig) image() *image {
	wal, err := os.ReadFile(r.file.Path + "-wal")
	if err != nil {
		r.t.Fatal(err)
	}
	db, err := os.ReadFile(r.file.Path)
	if err != nil {
		r.t.Fatal(err)
	}
	return &image{db, wal}
}

// cut is a power cut: the loop ends, and what both daemons have written since the last synced
// record of a chunk is gone: marks, proofs, and samples, of which the server can have none.
func (r *rig) cut() {
	r.t.Helper()
	r.halt()
	if err := r.in.Close(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.http.Close()
	left := r.synced.Load()
	if left == nil {
		left = &image{db: emptyFile}
	}
	r.file.Path = filepath.Join(r.t.TempDir(), "metrics.db")
	for end, data := range map[string][]byte{"": left.db, "-wal": left.wal} {
		if err := os.WriteFile(r.file.Path+end, data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	for i, s := range r.series { // they remember their ids in the file
		tags, err := store.ParseTags(s.Tags)
		if err != nil {
			r.t.Fatal(err)
		}
		r.series[i] = store.NewSeries(s.Device, s.Name, s.Type, tags...)
	}
	r.begin()
	ledger, err := r.watch.Ledger(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.samples = r.samples[:ledger.Inserted]
	r.all = []Counts{{}} // what was counted may be gone from the file
	r.wire()
	r.run()
}

// begin opens the file.
func (r *rig) begin() {
	r.t.Helper()
	var err error
	if r.in, err = store.OpenInserter(context.Background(), r.file, time.Hour); err != nil {
		r.t.Fatal(err)
	}
	r.watch = r.open(store.Options{Path: r.file.Path, Daemon: "watch"})
}

// tick inserts one sample of every series.
func (r *rig) tick(at time.Time) {
	r.t.Helper()
	r.insert(at, r.series...)
}

// ticks inserts n ticks, the last one now.
func (r *rig) ticks(n int, step time.Duration) {
	r.t.Helper()
	for i := range n {
		r.tick(r.now().Add(-time.Duration(n-1-i) * step))
	}
}

func (r *rig) insert(at time.Time, series ...*store.Series) {
	r.t.Helper()
	batch := make([]store.Sample, len(series))
	for i, s := range series {
		id := int64(slices.Index(r.series, s) + 1)
		r.samples = append(r.samples, sample{key: store.PackKey(at.UnixMilli(), id), trueMS: at.UnixMilli(), series: named(s), text: s.Type == store.Text})
		batch[i] = store.Sample{Series: s, Value: float64(len(r.samples)), Text: "text"}
	}
	got, err := r.in.Insert(context.Background(), at, batch)
	if want := (store.InsertResult{Inserted: len(batch)}); err != nil || got != want {
		r.t.Fatalf("insert: %+v, %v, want %+v", got, err, want)
	}
}

// record samples every series now, as collectord does: the row gets file time.
func (r *rig) record() {
	r.t.Helper()
	wall := r.now().Truncate(10 * time.Millisecond)
	at := clock.Moment{Wall: r.now(), Boot: time.Since(r.booted), BootID: r.boot, Sync: clock.No}
	if r.ntp.Load() {
		at.Sync = clock.Yes
	}
	batch := make([]store.Sample, len(r.series))
	for i, s := range r.series {
		batch[i] = store.Sample{Series: s, Value: float64(len(r.samples) + i + 1)}
	}
	if got, err := r.in.Record(context.Background(), at, wall, batch); err != nil || got.Inserted != len(batch) {
		r.t.Fatalf("record: %+v, %v", got, err)
	}
	last, err := r.watch.LastKey(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for i, s := range r.series {
		r.samples = append(r.samples, sample{
			key: store.PackKey(last.TimestampMS(), int64(i+1)), trueMS: wall.Add(-time.Duration(r.skew.Load())).UnixMilli(), series: named(s),
		})
	}
}

// records samples every so often for a while.
func (r *rig) records(d, every time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); r.sleep(every) {
		r.record()
	}
}

// reboot is a power cut. The wall clock is off by skew then.
func (r *rig) reboot(boot string, away, skew time.Duration) {
	r.t.Helper()
	r.halt()
	r.sleep(away)
	r.boot, r.booted = boot, time.Now()
	r.ntp.Store(false)
	r.skew.Store(int64(skew))
	r.sleep(30 * time.Second)
	r.restart()
}

// named is how the server should name a series, by rules written here once more.
func named(s *store.Series) string {
	metric := map[string]string{"__name__": strings.ReplaceAll(s.Name, ".", "_")}
	if s.Device != "" {
		metric["device_id"] = s.Device
	}
	tags, err := store.ParseTags(s.Tags)
	if err != nil {
		panic(err)
	}
	for _, tag := range tags {
		metric[tag.Name] = tag.Value
	}
	return testkit.SeriesKey(metric)
}

// sleep lets time pass and the loop do its work.
func (r *rig) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settled reports whether nothing is owed any more.
func (r *rig) settled() bool {
	r.t.Helper()
	return len(r.pending(1)) == 0 && len(r.openChunks()) == 0
}

// left is all that is owed; settled is cheaper.
func (r *rig) left() (pending []store.Row, open []*store.Chunk) {
	r.t.Helper()
	return r.pending(len(r.samples) + 1), r.openChunks()
}

func (r *rig) pending(limit int) []store.Row {
	r.t.Helper()
	rows, err := r.watch.Pending(context.Background(), 0, limit, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return rows
}

func (r *rig) openChunks() []*store.Chunk {
	r.t.Helper()
	open, err := r.watch.OpenChunks(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return open
}

// deliver waits until everything is delivered and proven, and checks it. The device continues:
// without a sample that is sent later nothing is known to be lost. Time costs nothing here, but
// must have an end.
func (r *rig) deliver(within time.Duration) {
	r.t.Helper()
	start := time.Now()
	next := start.Add(time.Minute)
	for !r.settled() {
		if !time.Now().Before(next) && !r.silent {
			r.tick(r.now())
			next = time.Now().Add(10 * time.Minute)
		}
		if time.Since(start) > within {
			pending, open := r.left()
			var chunks []string
			for _, c := range open {
				chunks = append(chunks, fmt.Sprintf("%s with %d rows: status %d, %s", c.State, len(c.Keys), c.HTTPStatus, c.Error))
			}
			r.t.Fatalf("after %v %d rows are pending, %d chunks open: %s", within, len(pending), len(open), strings.Join(chunks, "; "))
		}
		r.sleep(5 * time.Second)
	}
	r.check()
}

// counts are those of all Shippers together.
func (r *rig) counts() Counts {
	sum := r.shipper.Stats.Snapshot()
	for _, c := range r.all {
		sum.Uploaded += c.Uploaded
		sum.Verified += c.Verified
		sum.Requeued += c.Requeued
		sum.Deduplicated += c.Deduplicated
		sum.Clamped += c.Clamped
		sum.Attempts += c.Attempts
		sum.Pruned += c.Pruned
		for reason, n := range c.Rejected {
			addTo(&sum.Rejected, reason, int(n))
		}
		for reason, n := range c.Dropped {
			addTo(&sum.Dropped, reason, int(n))
		}
	}
	return sum
}

// has fails the test unless the log holds the text.
func (r *rig) has(text string) {
	r.t.Helper()
	if !strings.Contains(r.log.String(), text) {
		r.t.Errorf("the log does not say %q", text)
	}
}
