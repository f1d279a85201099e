package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// ask sends one GET; login is user:password or "".
func ask(t testing.TB, url, host, login string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	if user, password, ok := strings.Cut(login, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// TestPage_BothDaemons: the page and the JSON behind it, from the built binaries.
func TestPage_BothDaemons(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.URL()+"/api/v1/import", nil)
	p := r.startBoth()
	pages := map[string]string{"collectord": p.collector, "shipperd": p.shipper}
	for name, url := range pages {
		code, header, body := ask(t, url+"/", "", "")
		if code != 200 || !strings.Contains(body, "<!doctype html>") || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: got %d, %v", name, code, header)
		}
		if code, _, _ := ask(t, url+"/", "rebound.example", ""); code != 421 {
			t.Errorf("%s under a stranger's name: got %d, want 421", name, code)
		}
		if code, _, _ := ask(t, url+"/health/live", "rebound.example", ""); code != 200 {
			t.Errorf("%s: a supervisor gets %d, want 200", name, code)
		}
		testkit.Eventually(t, testkit.WaitLimit, name+" charts the CPU", func() error {
			_, _, body := ask(t, url+"/api/series?name=cpu.usage_percent&range=15m", "", "")
			var c struct {
				Series []struct{ Values []*float64 }
			}
			if err := json.Unmarshal([]byte(body), &c); err != nil {
				return err
			}
			if len(c.Series) < 2 {
				return fmt.Errorf("got %d series", len(c.Series))
			}
			return nil
		})
		// Each page tells of the other daemon too, from the file.
		testkit.Eventually(t, testkit.WaitLimit, name+" tells of the uploads", func() error {
			_, _, body := ask(t, url+"/api/status", "", "")
			var s struct {
				Device   string
				Delivery struct {
					Last *time.Time `json:"last_accepted"`
				}
				Storage struct{ Rows int }
				Daemons []struct{ Running bool }
			}
			if err := json.Unmarshal([]byte(body), &s); err != nil {
				return err
			}
			if s.Device != r.device || s.Storage.Rows == 0 || s.Delivery.Last == nil || len(s.Daemons) != 2 || !s.Daemons[0].Running || !s.Daemons[1].Running {
				return fmt.Errorf("got %s", body)
			}
			return nil
		})
	}
}

// TestPage_NeverHoldsUpSampling: a collectord whose page is asked for the most
// expensive things, by many at once, samples as often as one beside it that nobody
// asks.
func TestPage_NeverHoldsUpSampling(t *testing.T) {
	t.Parallel()
	start := func(name string) (*rig, string) {
		r := newRig(t, "http://127.0.0.1:9/api/v1/import", map[string]string{"device": "id: " + name, "collection": "interval: 200ms"})
		r.fill(time.Now().Add(-time.Hour), 3600, 100)
		return r, healthAddress(r.start(r.bins.Collectord), "collectord")
	}
	asked, url := start("asked")
	alone, _ := start("alone")
	from := time.Now()
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for time.Since(from) < 4*time.Second {
				for _, path := range []string{"/api/series?name=cpu.usage_percent&name=filled.metric_1&range=24h", "/api/ledger", "/api/status"} {
					if resp, err := http.Get(url + path); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
			}
		})
	}
	clients.Wait()
	to := time.Now()
	ticks := func(r *rig) int {
		return r.count(fmt.Sprintf("SELECT count(DISTINCT timestamp_ms) FROM metric_rows WHERE name = 'load.average_1m' AND timestamp_ms BETWEEN %d AND %d", from.UnixMilli(), to.UnixMilli()))
	}
	// A busy machine costs both a tick now and then.
	if got, want := ticks(asked), ticks(alone); want == 0 || got < want*8/10 {
		t.Errorf("got %d ticks in %v, %d of the one that nobody asks", got, to.Sub(from), want)
	}
}

func TestPage_Password(t *testing.T) {
	t.Parallel()
	r := newRig(t, "http://127.0.0.1:9/api/v1/import", nil)
	login := filepath.Join(r.dir, "login")
	if err := os.WriteFile(login, []byte("op:s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.set("health", "auth_file: "+login)
	for name, bin := range daemons(r) {
		url := healthAddress(r.start(bin), name)
		for _, path := range []string{"/", "/api/status", "/metrics", "/health"} {
			if code, _, _ := ask(t, url+path, "", ""); code != 401 {
				t.Errorf("%s%s without a password: got %d, want 401", name, path, code)
			}
			if code, _, _ := ask(t, url+path, "", "op:s3cret"); code != 200 {
				t.Errorf("%s%s with the password: got %d, want 200", name, path, code)
			}
		}
		if code, _, _ := ask(t, url+"/health/live", "", ""); code != 200 {
			t.Errorf("%s: a supervisor gets %d, want 200", name, code)
		}
	}
	// A file that others may read stops the start, with the remedy.
	if err := os.Chmod(login, 0o644); err != nil {
		t.Fatal(err)
	}
	other := newRig(t, "http://127.0.0.1:9/api/v1/import", nil)
	other.set("health", "auth_file: "+login)
	for name, bin := range daemons(other) {
		p := other.start(bin)
		if code := p.Wait(testkit.WaitLimit); code != 1 || !strings.Contains(p.Stderr(), "chmod 600 "+login) || strings.Contains(p.Stderr(), "s3cret") {
			t.Errorf("%s with a login that others may read: got %d and %s", name, code, p.Stderr())
		}
	}
}
