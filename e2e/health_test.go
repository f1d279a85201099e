package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// get returns status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// report is what a test reads of GET /health.
type report struct {
	Status  string
	Reasons []struct{ Code, Message string }
}

func (r report) has(code string) bool {
	for _, reason := range r.Reasons {
		if reason.Code == code {
			return true
		}
	}
	return false
}

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
	collectord := r.start(r.bins.Collectord)
	shipperd := r.start(r.bins.Shipperd)
	collector, shipper := healthAddress(collectord, "collectord"), healthAddress(shipperd, "shipperd")

	testkit.Eventually(t, 30*time.Second, "both ready", func() error {
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

	vm.Kill()
	testkit.Eventually(t, 30*time.Second, "shipperd says that no upload goes", func() bool {
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
	r.stopDaemon(collectord)
}
