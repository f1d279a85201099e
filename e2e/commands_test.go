package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// command runs shipperd with a command and returns its exit code and output.
func (r *rig) command(args ...string) (code int, output string) {
	r.t.Helper()
	p := r.start(r.bins.Shipperd, args...)
	code = p.Wait(testkit.WaitLimit)
	return code, p.Stdout() + p.Stderr()
}

// want runs a command and checks its exit code and that texts are in its output.
func (r *rig) want(code int, args string, texts ...string) {
	r.t.Helper()
	got, output := r.command(strings.Fields(args)...)
	if got != code {
		r.t.Errorf("shipperd %s: exit code %d, want %d\n%s", args, got, code, output)
	}
	for _, text := range texts {
		if !strings.Contains(output, text) {
			r.t.Errorf("shipperd %s: %q is not in\n%s", args, text, output)
		}
	}
}

// TestCommands runs every command beside the running daemons, and then on a file
// and a server that no longer agree.
func TestCommands(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)
	p := r.startBoth()

	// Whatever the daemons are doing, it is no difference.
	audits := 0
	testkit.Eventually(t, testkit.WaitLimit, "3 verified chunks", func() bool {
		r.want(0, "audit", "file and server agree")
		audits++
		return r.count("SELECT count(*) FROM upload_checkpoints WHERE state = 'verified'") >= 3
	})
	t.Log(audits, "audits beside the running daemons")
	r.want(0, "audit -since 24h", "delivered, and at the server exactly once", "file and server agree")
	r.want(0, "status", fmt.Sprintf("process %d", p.collectord.PID()), fmt.Sprintf("process %d", p.shipperd.PID()), "adds up")
	r.want(0, "doctor", "ok       import", "ok       read-back", "ok       retention", "ok       collectord", "no check failed")
	r.want(0, "deadletter list", "no dead letters")
	if n := r.count("SELECT count(*) FROM sessions"); n != 2 {
		t.Errorf("%d sessions, want those of the two daemons", n)
	}
	r.stopBoth(p)
	r.want(0, "status", "not running; last run stopped", "Start collectord")
	r.want(0, "audit", "file and server agree")

	// Somebody deletes a series at the server.
	answer, err := http.PostForm(vm.URL()+"/api/v1/admin/tsdb/delete_series", url.Values{"match[]": {`load_average_1m`}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("delete series: %s", answer.Status)
	}
	r.want(1, "audit", "DIFFERENCE: missing", "load_average_1m, for example at 20")

	// Somebody changes the file.
	r.exec("UPDATE ledger SET samples = samples + 1 WHERE account = 'inserted'")
	r.want(1, "status", "DOES NOT ADD UP: off by -1", "Report this")
	r.want(1, "doctor", "FAIL     database", "off by -1")
}

// exec changes the file behind the daemons' backs.
func (r *rig) exec(statement string) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.db+"?mode=rw&_pragma=busy_timeout(10000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// fill stores ticks of many series from a time on, a second apart.
func (r *rig) fill(from time.Time, ticks, series int) {
	r.t.Helper()
	ctx := context.Background()
	in, err := store.OpenInserter(ctx, store.Options{Path: r.db, Daemon: "collectord", Version: "e2e"}, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	samples := make([]store.Sample, series)
	for i := range samples {
		samples[i].Series = store.NewSeries(r.device, fmt.Sprintf("filled.metric_%d", i/10), store.Number, store.Tag{Name: "part", Value: fmt.Sprint(i % 10)})
	}
	for tick := range ticks {
		for i := range samples {
			samples[i].Value = float64(tick * i % 1000)
		}
		got, err := in.Insert(ctx, from.Add(time.Duration(tick)*time.Second), samples)
		if err != nil || got.Inserted != series {
			r.t.Fatalf("insert: %+v, %v", got, err)
		}
	}
	if err := in.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// TestCommands_AuditOfAMillion bounds what an audit costs a small device.
func TestCommands_AuditOfAMillion(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)
	r.fill(time.Now().Add(-2*time.Hour), 1000, 1000)
	r.want(0, "-once")
	audit := r.start(r.bins.Shipperd, "audit")
	var peak int64
	testkit.Eventually(t, testkit.WaitLimit, "the end of the audit", func() bool {
		if u, err := audit.Usage(); err == nil {
			peak = u.PeakRSS
		}
		select {
		case <-audit.Done():
			return true
		default:
			return false
		}
	})
	if audit.ExitCode() != 0 || !strings.Contains(audit.Stdout(), "     1000000  delivered, and at the server exactly once") {
		t.Errorf("exit code %d\n%s%s", audit.ExitCode(), audit.Stdout(), audit.Stderr())
	}
	t.Logf("an audit of a million samples: %v of CPU, %d MB at its peak", audit.CPUTime(), peak>>20)
	if peak == 0 || peak > 60<<20 {
		t.Errorf("its peak is %d bytes, want at most 60 MB", peak)
	}
}

// TestCommands_Receiver has the project's own receiver at the other end, which has
// no queries and no flags to show.
func TestCommands_Receiver(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	r := newRig(t, "http://"+addr+"/api/v1/import", nil)
	receiver := testkit.StartProc(t, testkit.Command{Path: r.bins.Receiver, Args: []string{"-listen", addr, "-db", filepath.Join(r.dir, "receiver.db")}})
	testkit.Eventually(t, testkit.WaitLimit, "the receiver", func() error { return testkit.Client{BaseURL: "http://" + addr}.Health() })
	r.fill(time.Now().Add(-time.Hour), 100, 20)
	r.want(0, "-once")
	r.want(0, "audit", "2000  delivered, and at the server exactly once", "file and server agree")
	r.want(0, "doctor", "ok       import", "has no queries", "unknown  retention", "unknown  deduplication", "no check failed")
	r.stopDaemon(receiver)
}

// TestCommands_Doctor meets the faults that real servers and networks have.
func TestCommands_Doctor(t *testing.T) {
	t.Parallel()
	remote := func(url string) map[string]string { return map[string]string{"remote": "url: " + url} }
	f := func(name, url string, prepare func(r *rig), code int, texts ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "", remote(url))
			if prepare != nil {
				prepare(r)
			}
			r.want(code, "doctor", texts...)
			_, output := r.command("doctor", "-json")
			var report struct {
				Status string
				Checks []struct{ Name, Status, Detail, Fix string }
			}
			if err := json.Unmarshal([]byte(output), &report); err != nil || len(report.Checks) < 15 || (report.Status == "FAIL") != (code == 1) {
				t.Errorf("doctor -json: %v in\n%s", err, output)
			}
		})
	}
	stock := testkit.StartVM(t, testkit.VMConfig{})
	short := testkit.StartVM(t, testkit.VMConfig{Flags: []string{"-retentionPeriod=1d"}})
	thins := testkit.StartVM(t, testkit.VMConfig{Flags: []string{"-dedup.minScrapeInterval=10s"}})
	locked := testkit.StartFakeVM(t, testkit.FakeConfig{})
	locked.RequireToken("a-token-of-the-server")

	f("no database yet", stock.ImportURL(), nil, 0, "warn     database", "start collectord", "ok       import", "no check failed")
	f("wrong port", "http://"+testkit.FreeAddr(t)+"/api/v1/import", nil, 1, "FAIL     connection", "connection refused", "host and port")
	f("wrong path", stock.URL()+"/nosuch/api/v1/import", nil, 1, "ok       connection", "FAIL     import", "correct remote.url")
	f("wrong credentials", locked.ImportURL(), nil, 1, "FAIL     credentials", "401", "remote.auth_token_file")
	f("short retention", short.ImportURL(), func(r *rig) { r.fill(time.Now().Add(-72*time.Hour), 10, 10) }, 1,
		"FAIL     retention", "the server keeps 24 h", "set remote.max_past: 21h", "the oldest pending sample is 3 days old", "100 samples pending")
	f("coarse deduplication", thins.ImportURL(), nil, 1, "FAIL     deduplication", "one sample per 10s and discards the others; one is sent every 1s")
}
