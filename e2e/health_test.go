package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// get returns status and body.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	code, _, body := ask(t, url, "", "")
	return code, body
}

// report is what a test reads of GET /health.
type report struct {
	Status  string
	Reasons []reason
}

type reason struct {
	Code, Message string
	Since         time.Time
}

// find returns the reason with a code, nil without one.
func (r report) find(code string) *reason {
	for i := range r.Reasons {
		if r.Reasons[i].Code == code {
			return &r.Reasons[i]
		}
	}
	return nil
}

func (r report) has(code string) bool { return r.find(code) != nil }

func health(t *testing.T, base string) (r report) {
	t.Helper()
	_, body := get(t, base+"/health")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

// TestHealth_EachDaemonOnItsPort follows both reports through: all well, the
// server gone, shipperd gone.
func TestHealth_EachDaemonOnItsPort(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)
	p := r.startBoth()
	collectord, shipperd, collector, shipper := p.collectord, p.shipperd, p.collector, p.shipper

	testkit.Eventually(t, testkit.WaitLimit, "both ready", func() error {
		for _, base := range []string{collector, shipper} {
			if code, body := get(t, base+"/health/ready"); code != http.StatusOK {
				return fmt.Errorf("%s: %d %s", base, code, body)
			}
		}
		return nil
	})
	for base, names := range map[string][]string{
		collector: {"collector_metrics_collected_total", "storage_wal_size_bytes", "collector_collection_duration_seconds_bucket"},
		shipper:   {"uploader_metrics_uploaded_total", "uploader_upload_duration_seconds_count", "storage_metrics_pending_upload", "uploader_bytes_sent_total"},
	} {
		code, text := get(t, base+"/metrics")
		for _, name := range names {
			if code != http.StatusOK || !strings.Contains(text, "\n"+name) {
				t.Errorf("%s/metrics: %d, without %s", base, code, name)
			}
		}
	}

	r.awaitUploads(50)
	vm.Kill()
	testkit.Eventually(t, testkit.WaitLimit, "shipperd says that no upload goes", func() bool {
		report := health(t, shipper)
		return report.Status == "degraded" && report.has("upload_late")
	})
	if report := health(t, collector); report.Status != "ok" {
		t.Errorf("collectord with the server gone: %+v, want ok", report)
	}
	r.stopDaemon(shipperd)
	if report := health(t, collector); report.Status != "degraded" || !report.has("shipperd_away") {
		t.Errorf("collectord with shipperd gone: %+v", report)
	}
	if code, _ := get(t, collector+"/health/live"); code != http.StatusOK {
		t.Errorf("collectord is not live: %d", code)
	}

	// A restart does not make it forget that no upload goes.
	shipperd = r.start(r.bins.Shipperd)
	shipper = healthAddress(shipperd, "shipperd")
	if report := health(t, shipper); !report.has("upload_late") && !report.has("upload_overdue") {
		t.Errorf("shipperd, started again with the server still gone: %+v", report)
	}

	// The other way round: the server comes back and collectord goes.
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.WaitLimit, "both ready again", func() bool {
		a, _ := get(t, collector+"/health/ready")
		b, _ := get(t, shipper+"/health/ready")
		return a == http.StatusOK && b == http.StatusOK
	})
	newest := r.count("SELECT max(timestamp_ms) FROM metric_rows")
	r.stopDaemon(collectord)
	got := health(t, shipper)
	reason := got.find("collectord_away")
	if got.Status != "degraded" || reason == nil || reason.Since.UnixMilli() < int64(newest) || reason.Since.After(time.Now()) {
		t.Errorf("shipperd with collectord gone: %+v, want it to be away since its last tick", got)
	}
	if code, _ := get(t, shipper+"/health/live"); code != http.StatusOK {
		t.Errorf("shipperd is not live: %d", code)
	}
	testkit.Eventually(t, testkit.WaitLimit, "shipperd to deliver what is left", func() bool {
		return r.count("SELECT count(*) FROM metrics WHERE uploaded = 0") == 0
	})
	r.stopDaemon(shipperd)
}

// TestHealth_Collectors: without any /proc and /sys collectord is in error, with one
// file of them degraded, whatever else it finds to tell.
func TestHealth_Collectors(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", map[string]string{"remote": "enabled: false"})
	empty := t.TempDir()
	r.set("collection", "procfs_path: "+empty+"\nsysfs_path: "+empty)
	collector := healthAddress(r.start(r.bins.Collectord), "collectord")
	f := func(status, code string) {
		t.Helper()
		awaitReason(t, collector, code)
		if report := health(t, collector); report.Status != status {
			t.Errorf("%s: %+v, want %s", code, report, status)
		}
		for path, want := range map[string]int{"/health": 200, "/health/live": 200, "/health/ready": 503} {
			if got, body := get(t, collector+path); got != want {
				t.Errorf("%s, %s: %d %s, want %d", code, path, got, body, want)
			}
		}
	}
	f("error", "all_collectors_failing")
	if err := os.WriteFile(filepath.Join(empty, "loadavg"), []byte("0.50 0.25 0.12 1/100 4242\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f("degraded", "collectors_failing")
}

// TestHealth_Doc compares the examples of docs/health-monitoring.md with what the
// daemons answer: the same fields, no more and no fewer.
func TestHealth_Doc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), "docs", "health-monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)
	r.set("monitoring", "clock_skew_url: "+startClock(t, time.Second))
	bases := map[string]string{}
	for name, bin := range daemons(r) {
		bases[name] = healthAddress(r.start(bin), name)
	}
	var real map[string]map[string]bool
	testkit.Eventually(t, testkit.WaitLimit, "answers with all that they can hold while all is well", func() bool {
		real = map[string]map[string]bool{}
		for name, base := range bases {
			for _, path := range []string{"/health", "/health/live", "/health/ready"} {
				_, body := get(t, base+path)
				real[name+path] = fields(t, body)
			}
		}
		return real["collectord/health"]["components.time.facts.checked"] && real["shipperd/health"]["components.uploader.facts.last_upload"]
	})
	mayBe := regexp.MustCompile(`^reasons\.|oldest_pending$|facts\.error$|failing_since$|list\.(error|failing)$`)
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) != 4 {
		t.Fatalf("%d examples, want 4", len(examples))
	}
	for i, answer := range []string{"collectord/health", "shipperd/health", "shipperd/health/ready", "collectord/health/live"} {
		want := fields(t, examples[i][1])
		for name := range real[answer] {
			if !want[name] && !mayBe.MatchString(name) {
				t.Errorf("%s has %s, and the example has not", answer, name)
			}
		}
		for name := range want {
			if !real[answer][name] && !mayBe.MatchString(name) {
				t.Errorf("%s has no %s, and the example has", answer, name)
			}
		}
	}
}

// fields returns the paths of all values of a JSON text, those of lists once.
func fields(t *testing.T, text string) map[string]bool {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	found := map[string]bool{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, v := range value {
				walk(strings.TrimPrefix(path+"."+name, "."), v)
			}
		case []any:
			for _, v := range value {
				walk(path, v)
			}
		default:
			found[path] = true
		}
	}
	walk("", value)
	return found
}
