package store

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/migrations"
)

func openReader(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestReader_Refuses(t *testing.T) {
	t.Parallel()
	f := func(what, path string, want error, text string) {
		t.Helper()
		for name, open := range map[string]func() error{
			"reader":  func() error { _, err := OpenReader(t.Context(), path); return err },
			"letters": func() error { _, err := OpenDeadLetters(t.Context(), path); return err },
		} {
			err := open()
			if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %s: got %v, want %v, %q", name, what, err, want, text)
			}
		}
	}
	path := newPath(t)
	f("no file", path, ErrNoFile, "collectord creates it")
	if left := listFolder(t, filepath.Dir(path)); len(left) > 0 {
		t.Errorf("opening a file that is not there made %q", left)
	}
	f("a folder", filepath.Dir(path), nil, "not a regular file")
	f("a relative path", "metrics.db", nil, "must be absolute")

	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	f("an empty file", path, ErrOlder, "schema 0, this program supports")
	for version := 1; version < migrations.Newest(); version++ {
		path := newPath(t)
		db := rawDB(t, path)
		migrateTo(t, db, version)
		before := dump(t, db)
		f("an older file", path, ErrOlder, "start collectord or shipperd")
		if after := dump(t, db); after != before {
			t.Errorf("schema %d: refusing the file changed it:\n%s", version, diff(after, before))
		}
	}
	path = newPath(t)
	openOutbox(t, options(path))
	mustExec(t, rawDB(t, path), "PRAGMA user_version = 99")
	f("a newer file", path, ErrNewer, "schema 99")

	path = newPath(t)
	mustExec(t, rawDB(t, path), "CREATE TABLE cookies (id)")
	f("another program's file", path, ErrForeign, "another program")

	path = newPath(t)
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o640); err != nil {
		t.Fatal(err)
	}
	f("no database", path, ErrDamaged, "")
}

// TestReader_Overview fills a file with one of everything and asks for it.
func TestReader_Overview(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	now := tick0
	o := options(path)
	o.Now = func() time.Time { return now }
	in, ob := openInserter(t, o, time.Hour), openOutbox(t, o)
	for tick := range 10 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(4), 1))
	}
	now = tick0.Add(time.Minute)
	verified, accepted, requeued := recordPending(t, ob, 4), recordRest(t, ob, 4), recordRest(t, ob, 4)
	for _, c := range []*Chunk{verified, accepted, requeued} {
		c.Accepted = now
		if err := ob.MarkUploaded(t.Context(), c, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	if err := ob.MarkVerified(t.Context(), verified); err != nil {
		t.Fatal(err)
	}
	if err := ob.Requeue(t.Context(), requeued, requeued.Keys); err != nil {
		t.Fatal(err)
	}
	sending := recordRest(t, ob, 4)
	letter := pendingKeys(t, ob, 100, nil)[10]
	if err := ob.MoveToDeadLetters(t.Context(), []Rejection{{letter, "not_finite", "it is no number"}}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, rawDB(t, path), `INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('shipperd', 'uploader.bytes_sent_total', '{}', 'counter', 42, ?)`, now.UnixMilli())

	r := openReader(t, path)
	ctx := t.Context()
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", what, got, err, want)
		}
	}
	ledger, err := r.Ledger(ctx)
	check("ledger", ledger, err, checkLedger(t, ob))
	backlog, err := r.Backlog(ctx)
	check("backlog", backlog, err, Backlog{Rows: 31, OldestMS: requeued.Keys[0].TimestampMS()})
	totals, err := r.ChunkTotals(ctx)
	slices.SortFunc(totals, func(a, b ChunkTotal) int { return strings.Compare(string(a.State), string(b.State)) })
	minute := func(n int) time.Time { return fromMS(tick0.Add(time.Duration(n) * time.Minute).UnixMilli()) }
	check("chunks", totals, err, []ChunkTotal{{Accepted, 1, 4, 104}, {Requeued, 1, 4, 104}, {Sending, 1, 4, 104}, {Verified, 1, 4, 104}})
	lastAccepted, lastVerified, err := r.LastDelivery(ctx)
	check("last delivery", []time.Time{lastAccepted, lastVerified}, err, []time.Time{minute(1), minute(2)})
	open, err := r.OpenChunks(ctx)
	if err != nil || len(open) != 3 || open[2].ID != sending.ID {
		t.Errorf("open chunks: got %v, %v, want 3", open, err)
	}
	runs, err := r.Runs(ctx, "test", 5)
	check("runs", runs, err, []Run{
		{UUID: ob.Session().UUID, Version: "1.2.3", Started: minute(0)}, {UUID: in.Session().UUID, Version: "1.2.3", Started: minute(0)},
	})
	reasons, err := r.DeadLettersByReason(ctx)
	check("reasons", reasons, err, map[string]int64{"not_finite": 1})
	for reason, want := range map[string]int{"not_finite": 1, "rejected": 0} {
		letters, err := r.DeadLetters(ctx, 0, 10, reason)
		if err != nil || len(letters) != want {
			t.Errorf("dead letters for %q: got %v, %v, want %d", reason, letters, err, want)
		}
	}
	for _, ms := range []int64{-1, 0, 1} {
		at := letter.TimestampMS() + ms
		letters, err := r.DeadLettersAt(ctx, at, at, 10)
		if err != nil || (len(letters) == 1) != (ms == 0) {
			t.Errorf("dead letters at %+d ms: got %v, %v", ms, letters, err)
		}
	}
	stats, err := r.Stats(ctx)
	check("stats", stats, err, []Stat{{"shipperd", "uploader.bytes_sent_total", "{}", "counter", 42, minute(2)}})
	sizes, err := r.Sizes(ctx)
	if err != nil || sizes.WAL <= 0 || sizes.Data <= 0 || sizes.File != FileSize(path) {
		t.Errorf("sizes: got %+v, %v", sizes, err)
	}
}

// recordRest is recordPending for rows that no open chunk has.
func recordRest(t testing.TB, ob *Outbox, limit int) *Chunk {
	t.Helper()
	open, err := ob.OpenChunks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := newChunk(pendingKeys(t, ob, limit, func(k Key) bool {
		return slices.ContainsFunc(open, func(c *Chunk) bool { return c.Keys.Contains(k) })
	}), true)
	if err := ob.RecordSending(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReader_Rows(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	r := openReader(t, path)
	ctx := t.Context()
	if _, _, ok, err := r.Span(ctx); ok || err != nil {
		t.Errorf("span of an empty file: %v, %v", ok, err)
	}
	all := numberSeries(3)
	text := NewSeries("device", "release", Text)
	mustInsert(t, in, tick0, append(samples(all, 1), Sample{Series: text, Text: "6.1"}))
	mustInsert(t, in, tick0.Add(time.Second), samples(all, 2))
	c := recordPending(t, ob, 2)
	if err := ob.MarkUploaded(ctx, c, nil, nil); err != nil {
		t.Fatal(err)
	}

	key := func(tick, series int64) Key { return PackKey(tick0.UnixMilli()+1000*tick, series) }
	want := []RowState{
		{key(0, 1), true, false},
		{key(0, 2), true, false},
		{key(0, 3), false, false},
		{key(0, 4), false, true},
		{key(1, 1), false, false},
		{key(1, 2), false, false},
		{key(1, 3), false, false},
	}
	f := func(from, to Key, limit int, want []RowState) {
		t.Helper()
		got, err := r.States(ctx, from, to, limit)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("rows from %d to %d, %d: got %v, %v, want %v", from, to, limit, got, err, want)
		}
	}
	oldest, newest, ok, err := r.Span(ctx)
	if oldest != key(0, 1) || newest != key(1, 3) || !ok || err != nil {
		t.Errorf("span: %d, %d, %v, %v", oldest, newest, ok, err)
	}
	f(oldest, newest, 100, want)
	f(oldest, newest, 3, want[:3])
	f(oldest+1, newest-1, 100, want[1:6])
	if n, err := r.Count(ctx, oldest+1, newest-1); n != 5 || err != nil {
		t.Errorf("count: got %d, %v, want 5", n, err)
	}
	got, err := r.StatesOf(ctx, KeySet{key(0, 2), key(0, 9), key(1, 1)})
	if err != nil || !slices.Equal(got, []RowState{want[1], want[4]}) {
		t.Errorf("rows by key: got %v, %v", got, err)
	}

	series, err := r.SeriesAfter(ctx, 0)
	if err != nil || len(series) != 4 || series[3].Name != "release" || series[3].Type != Text {
		t.Errorf("series: got %v, %v", series, err)
	}
	mustInsert(t, in, tick0.Add(2*time.Second), []Sample{{Series: NewSeries("device", "new", Number), Value: 1}})
	if series, err = r.SeriesAfter(ctx, 4); err != nil || len(series) != 1 || series[0].Name != "new" {
		t.Errorf("series made since: got %v, %v", series, err)
	}
}

func TestReader_ChunksBeyond(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	record := func(at, created time.Time) int64 {
		t.Helper()
		mustInsert(t, in, at, samples(numberSeries(2), 1))
		c := newChunk(pendingKeys(t, ob, 100, nil), true)
		c.Created = created
		if err := ob.RecordSending(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := ob.MarkVerified(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	const hour = int64(time.Hour / time.Millisecond)
	record(tick0, tick0)
	past := record(tick0.Add(time.Second), tick0.Add(time.Hour+time.Second+time.Millisecond))
	record(tick0.Add(2*time.Second), tick0.Add(time.Hour+2*time.Second))
	future := record(tick0.Add(3*time.Hour+time.Millisecond), tick0.Add(time.Hour))
	record(tick0.Add(3*time.Hour), tick0.Add(time.Hour))

	r := openReader(t, path)
	f := func(after, pastMS, futureMS int64, limit int, want ...int64) {
		t.Helper()
		chunks, err := r.ChunksBeyond(t.Context(), after, pastMS, futureMS, limit)
		var got []int64
		for _, c := range chunks {
			got = append(got, c.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("after %d, %d and %d ms: got %v, %v, want %v", after, pastMS, futureMS, got, err, want)
		}
	}
	f(0, hour, 2*hour, 10, past, future)
	f(0, hour, 2*hour, 1, past)
	f(past, hour, 2*hour, 10, future)
	f(0, hour, 0, 10, past)
	f(0, 0, 2*hour, 10, future)
	f(0, 0, 0, 10)
}

// TestReader_ChangesNothing: not the rows, not the sessions, and no checkpoint
// has to wait for it.
func TestReader_ChangesNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	mustInsert(t, in, tick0, samples(numberSeries(8), 1))
	db := rawDB(t, path)
	before := dump(t, db)
	r := openReader(t, path)
	if _, err := r.States(t.Context(), 0, math.MaxInt64, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := r.db.ExecContext(t.Context(), "DELETE FROM metrics"); err == nil {
		t.Error("a reader can delete")
	}
	result, err := in.Checkpoint(t.Context())
	if err != nil || !result.Complete || result.WALAfter != 0 {
		t.Errorf("checkpoint beside a reader: %+v, %v", result, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := dump(t, db); after != before {
		t.Errorf("a reader changed the file:\n%s", diff(after, before))
	}
}

// TestReader_DutiesAreSplit is TestHandles_DutiesAreSplit for the handles of
// commands.
func TestReader_DutiesAreSplit(t *testing.T) {
	t.Parallel()
	for handle, verbs := range map[any][]string{
		(*Reader)(nil):      {"Mark", "Delete", "Prune", "MoveTo", "Requeue", "Withdraw", "Record", "Retry", "Insert", "Checkpoint", "DB"},
		(*DeadLetters)(nil): {"Mark", "Delete", "Prune", "MoveTo", "Requeue", "Withdraw", "Record", "Insert", "Checkpoint", "DB"},
	} {
		for method := range reflect.TypeOf(handle).Methods() {
			for _, verb := range verbs {
				if strings.Contains(method.Name, verb) {
					t.Errorf("%T has a method %s", handle, method.Name)
				}
			}
		}
	}
}

// TestReader_StoppedDaemons opens a file that nobody else has open, also when no
// WAL is beside it.
func TestReader_StoppedDaemons(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), 0)
	mustInsert(t, in, tick0, samples(numberSeries(8), 1))
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := openReader(t, path)
		if l, err := r.Ledger(t.Context()); err != nil || l.Pending != 8 {
			t.Errorf("got %+v, %v", l, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReader_Plans(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	openOutbox(t, options(path))
	r := openReader(t, path)
	got := queryLines(t, r.db, "EXPLAIN QUERY PLAN "+queryStates, 1, 2, 3)
	if len(got) != 1 || !strings.Contains(got[0], "SEARCH metrics USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)") {
		t.Errorf("got %q", got)
	}
}

// TestBacklog_Sent: what was sent counts only where older rows are pending.
func TestBacklog_Sent(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	f := func(rows int64, sent Key) {
		t.Helper()
		var sentMS int64
		if sent > 0 {
			sentMS = sent.TimestampMS()
		}
		got, err := d.ob.Backlog(t.Context())
		if err != nil || got.Rows != rows || got.SentMS != sentMS {
			t.Errorf("got %+v, %v, want %d rows, sent %d", got, err, rows, sentMS)
		}
	}
	f(40, 0)
	d.deliverAll(d.all[:10]...)
	f(30, 0)
	d.deliverAll(d.all[30:]...)
	f(20, d.all[39])
	d.deliverAll(d.all[10:30]...)
	f(0, 0)
}
