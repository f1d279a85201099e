package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// cluster stands in for vminsert and vmselect, which no package brings: two addresses, each with the paths of the one
// and no others, and behind them a real VictoriaMetrics for each tenant.
// https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#url-format
type cluster struct {
	vminsert, vmselect *httptest.Server

	tenants map[string]*testkit.VM

	mu   sync.Mutex
	seen map[string]int // requests by path
}

func startCluster(t testing.TB, tenants ...string) *cluster {
	t.Helper()
	c := &cluster{tenants: map[string]*testkit.VM{}, seen: map[string]int{}}
	for _, tenant := range tenants {
		c.tenants[tenant] = testkit.StartVM(t, testkit.VMConfig{})
	}
	c.vminsert = c.route(t, `^/insert/([0-9]+(?::[0-9]+)?)/prometheus(/api/v1/import)$`)
	c.vmselect = c.route(t, `^/select/([0-9]+(?::[0-9]+)?)/prometheus(/api/v1/(?:export|query))$`)
	return c
}

// route serves the paths of one of the two. What does not fit gets the answer of the real ones.
func (c *cluster) route(t testing.TB, pattern string) *httptest.Server {
	t.Helper()
	path := regexp.MustCompile(pattern)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := path.FindStringSubmatch(r.URL.Path)
		if m == nil || c.tenants[m[1]] == nil {
			http.Error(w, fmt.Sprintf("unsupported path requested: %q", r.URL.Path), http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		c.seen[r.URL.Path]++
		c.mu.Unlock()
		(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			to, err := url.Parse(c.tenants[m[1]].URL())
			if err != nil {
				panic(err)
			}
			p.SetURL(to)
			p.Out.URL.Path = m[2]
		}}).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// used reports whether a path was asked for.
func (c *cluster) used(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[path] > 0
}

var vmauthExample = regexp.MustCompile("(?s)```yaml\n(# vmauth .*?)```")

// startVMAuth starts the real vmauth before the cluster, with the example of docs/fleet.md: each token may use both
// halves of its tenant, on one address.
func (c *cluster) startVMAuth(t testing.TB) (address string) {
	t.Helper()
	program, err := exec.LookPath("vmauth")
	if err != nil {
		t.Fatal("vmauth is not on the PATH: run scripts/test-deps.sh once (Debian's package victoria-metrics brings it), then the test again")
	}
	doc, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), "docs", "fleet.md"))
	if err != nil {
		t.Fatal(err)
	}
	example := vmauthExample.FindSubmatch(doc)
	if example == nil {
		t.Fatal("docs/fleet.md has no example for vmauth")
	}
	text := strings.NewReplacer("http://vminsert:8480", c.vminsert.URL, "http://vmselect:8481", c.vmselect.URL).Replace(string(example[1]))
	config := filepath.Join(t.TempDir(), "auth.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address = testkit.FreeAddr(t)
	testkit.StartProc(t, testkit.Command{Path: program, Args: []string{"-auth.config=" + config, "-httpListenAddr=" + address, "-loggerLevel=ERROR"}})
	testkit.Eventually(t, testkit.WaitLimit, "vmauth to answer", func() error {
		resp, err := http.Get("http://" + address + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return address
}

// TestCluster ships in each of the ways that lead to a cluster: two tenants behind one vmauth, whose read-back address is
// derived and which keeps devices apart; vmselect on an address of its own, which remote.verify.url names.
func TestCluster(t *testing.T) {
	t.Parallel()
	const verify = "upload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s\n"
	c := startCluster(t, "0", "12:34")
	address := c.startVMAuth(t)
	behindVMAuth := func(device, tenant string) *rig {
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte("token-of-"+device), 0o600); err != nil {
			t.Fatal(err)
		}
		return newNamedRig(t, device, "url: http://"+address+"/insert/"+tenant+"/prometheus/api/v1/import\nauth_token_file: "+token+"\n"+verify)
	}
	a, b := behindVMAuth("site-a", "0"), behindVMAuth("site-b", "12:34")
	export := c.vmselect.URL + "/select/0/prometheus/api/v1/export"
	own := newNamedRig(t, "own-select", "url: "+c.vminsert.URL+"/insert/0/prometheus/api/v1/import\n"+verify+"  url: "+export)
	ship(t, 3, func() {}, a, b, own)

	for tenant, rigs := range map[string][]*rig{"0": {a, own}, "12:34": {b}} {
		vm := c.tenants[tenant].Client
		var devices []string
		for _, r := range rigs {
			r.arrived(vm)
			devices = append(devices, r.device)
		}
		others, err := vm.Export(fmt.Sprintf("{device_id!~%q}", strings.Join(devices, "|")))
		if err != nil || len(others) > 0 {
			t.Errorf("tenant %s has %d series of others, %v", tenant, len(others), err)
		}
		if path := "/select/" + tenant + "/prometheus/api/v1/query"; !c.used(path) {
			t.Errorf("nobody asked %s", path)
		}
	}
	for _, command := range []string{"audit", "doctor"} {
		p := own.start(own.bins.Shipperd, command)
		if code := p.Wait(testkit.WaitLimit); code != 0 {
			t.Errorf("%s: exit code %d:\n%s", command, code, p.Stdout())
		}
	}

	// Whatever a device claims, it writes and reads under its own id.
	site := testkit.Client{
		BaseURL: "http://" + address + "/insert/0/prometheus", HTTP: &http.Client{Transport: bearer("token-of-site-a")},
	}
	line := fmt.Sprintf(`{"metric":{"__name__":"claimed","device_id":"own-select"},"values":[1],"timestamps":[%d]}`, time.Now().UnixMilli())
	if err := site.Import(line); err != nil {
		t.Fatal(err)
	}
	site.BaseURL = "http://" + address + "/select/0/prometheus"
	testkit.Eventually(t, testkit.WaitLimit, "the sample under the device's own id", func() error {
		series, err := site.Export(`{__name__="claimed"}`)
		if err == nil && (len(series) != 1 || series[0].Metric["device_id"] != "site-a") {
			err = fmt.Errorf("got %v", series)
		}
		return err
	})
	if series, err := site.Export(`{device_id="own-select"}`); err != nil || len(series) > 0 {
		t.Errorf("site-a sees %d series of another device, %v", len(series), err)
	}
}

// bearer sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
