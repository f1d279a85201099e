package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/chunk"
)

// bench is a configuration, a file and a server, without daemons.
type bench struct {
	t      *testing.T
	config string
	path   string
	vm     *testkit.FakeVM
	begin  time.Time
}

func newBench(t *testing.T, remote string) *bench {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	b := &bench{
		t: t, config: filepath.Join(dir, "config.yaml"), path: filepath.Join(dir, "metrics.db"),
		vm: testkit.StartFakeVM(t, testkit.FakeConfig{}), begin: time.Now().Add(-time.Minute).Truncate(time.Second),
	}
	b.configure(b.vm.ImportURL(), remote)
	return b
}

// configure writes the configuration. remote is more of section remote.
func (b *bench) configure(url, remote string) {
	b.t.Helper()
	text := fmt.Sprintf("device: {id: dev}\nstorage: {path: %s}\nremote:\n  url: %s\n%s", b.path, url, remote)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// insert stores ticks of two series, one a second.
func (b *bench) insert(from, to int) {
	b.t.Helper()
	ctx := b.t.Context()
	in, err := store.OpenInserter(ctx, store.Options{Path: b.path, Daemon: "collectord", Version: "1"}, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	for s := from; s < to; s++ {
		_, err := in.Insert(ctx, b.begin.Add(time.Duration(s)*time.Second), []store.Sample{
			{Series: store.NewSeries("dev", "cpu.usage_percent", store.Number, store.Tag{Name: "core", Value: "all"}), Value: float64(s)},
			{Series: store.NewSeries("dev", "load.average_1m", store.Number), Value: 1.5},
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := in.Close(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// outbox works with the file as shipperd does.
func (b *bench) outbox(work func(ctx context.Context, ob *store.Outbox, rows []store.Row) error) {
	b.t.Helper()
	ctx := b.t.Context()
	ob, err := store.OpenOutbox(ctx, store.Options{Path: b.path, Daemon: "shipperd", Version: "1"})
	if err != nil {
		b.t.Fatal(err)
	}
	rows, err := ob.Pending(ctx, 0, 1000, nil)
	if err == nil {
		err = work(ctx, ob, rows)
	}
	if err != nil {
		b.t.Error(err)
	}
	if err := ob.Close(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// deliver brings all rows to the server and marks them as far as upTo says.
func (b *bench) deliver(upTo store.ChunkState) {
	b.t.Helper()
	b.outbox(func(ctx context.Context, ob *store.Outbox, rows []store.Row) error {
		created := time.Now().Truncate(time.Millisecond)
		requests, _, _, err := chunk.New(chunk.Config{}).BuildCatchUp(rows, func(id int64) (*store.SeriesInfo, error) { return ob.Series(ctx, id) }, created, 0)
		if err != nil {
			return err
		}
		for i, req := range requests {
			body := req.Bodies[0]
			c := &store.Chunk{BatchID: fmt.Sprint(created.UnixNano()), Index: i, Keys: body.Keys, Bytes: body.Bytes, Created: created}
			if err := ob.RecordSending(ctx, c); err != nil {
				return err
			}
			for n := 1; n <= body.Lines(); n++ {
				for _, s := range body.Line(n) {
					b.send(s.Key.SeriesID(), s.TimestampMS)
				}
			}
			c.Accepted = created
			if err := ob.MarkUploaded(ctx, c, nil, nil); err != nil || upTo == store.Accepted {
				return err
			}
			if err := ob.MarkVerified(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// send puts a sample into the server.
func (b *bench) send(series, ms int64) {
	b.t.Helper()
	labels := map[int64]string{1: `"__name__":"cpu_usage_percent","core":"all"`, 2: `"__name__":"load_average_1m"`}[series]
	if err := b.vm.Import(fmt.Sprintf(`{"metric":{%s,"device_id":"dev"},"values":[1],"timestamps":[%d]}`, labels, ms)); err != nil {
		b.t.Error(err)
	}
}

// reject makes dead letters of the first pending rows, one for each reason.
func (b *bench) reject(reasons ...string) {
	b.t.Helper()
	b.outbox(func(ctx context.Context, ob *store.Outbox, rows []store.Row) error {
		var all []store.Rejection
		for i, reason := range reasons {
			all = append(all, store.Rejection{Key: rows[i].Key, Reason: reason, Detail: "HTTP 400: \x1b[31mbad\tline\n"})
		}
		return ob.MoveToDeadLetters(ctx, all)
	})
}

// run runs shipperd with a command line and returns what it wrote.
func (b *bench) run(wantCode int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	var out, err bytes.Buffer
	code := program().Main(append([]string{"-config", b.config}, args...), &out, &err)
	if code != wantCode {
		b.t.Errorf("shipperd %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, out.String(), err.String())
	}
	return out.String(), err.String()
}

// wantText checks that all texts are there.
func wantText(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

func TestCommands_Usage(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, args := range []string{
		"status x", "status -nosuch", "audit x", "audit -since", "audit -since x", "audit -since=-1h", "audit -json=2x", "doctor x", "doctor -x",
		"deadletter", "deadletter x", "deadletter list x", "deadletter list -limit=-1", "deadletter list -limit x", "deadletter -reason x list",
		"deadletter retry", "deadletter retry x", "deadletter retry 0", "deadletter retry all 5", "deadletter retry 5 all", "deadletter retry -all",
	} {
		words := strings.Fields(args)
		stdout, stderr := b.run(2, words...)
		if stdout != "" {
			t.Errorf("%s: wrote %q", args, stdout)
		}
		wantText(t, stderr, "shipperd: "+words[0]+": ", "try 'shipperd "+words[0]+" -help'")
	}
	for args, want := range map[string]string{
		"status -help": "-json", "audit -help": "-since", "audit -h": "-json", "doctor --help": "-json",
		"deadletter -help": "retry ID...|all", "deadletter list -help": "-reason", "deadletter retry -help": "retry ID...|all",
	} {
		stdout, stderr := b.run(0, strings.Fields(args)...)
		wantText(t, stdout, "Usage: shipperd [-config FILE] "+strings.Fields(args)[0], want)
		if stderr != "" {
			t.Errorf("%s: wrote %q to standard error", args, stderr)
		}
	}
	stdout, _ := b.run(0, "-help")
	wantText(t, stdout, "[-config FILE] status", "[-config FILE] audit", "[-config FILE] deadletter", "[-config FILE] doctor")
	if _, err := os.Stat(b.path); err == nil {
		t.Error("a usage error made a database")
	}
}

// TestCommands_NoDatabase: what only looks says where it looked, and makes nothing.
func TestCommands_NoDatabase(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, args := range []string{"status", "status -json", "audit", "deadletter list", "deadletter retry all", "deadletter retry 1"} {
		_, stderr := b.run(1, strings.Fields(args)...)
		wantText(t, stderr, "shipperd "+strings.Fields(args)[0]+": open store ", b.path, "collectord creates it")
		if strings.Contains(stderr, "{") {
			t.Errorf("%s: the error is a line of log: %s", args, stderr)
		}
	}
	stdout, _ := b.run(0, "doctor")
	wantText(t, stdout, "start collectord")
	entries, err := os.ReadDir(filepath.Dir(b.path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v, want the configuration alone", entries, err)
	}
}
