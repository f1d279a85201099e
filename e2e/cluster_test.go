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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
)

// cluster is vminsert and vmselect, two addresses, each with the paths of the one and no others.
// They are the real ones where vminsert, vmselect and vmstorage are on the PATH; no package of
// Debian brings them. Else they are stand-ins, and behind them a real VictoriaMetrics for each
// tenant.
// https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#url-format
type cluster struct {
	inserts  []string // "http://host:port"
	vmselect string

	tenants map[string]*testkit.VM // of stand-ins
	flushes []string               // addresses that make a real cluster show everything

	mu   sync.Mutex
	seen map[string]int // requests by path
}

func startCluster(t testing.TB, tenants ...string) *cluster {
	t.Helper()
	c := &cluster{tenants: map[string]*testkit.VM{}, seen: map[string]int{}}
	if c.startReal(t) {
		return c
	}
	for _, tenant := range tenants {
		c.tenants[tenant] = testkit.StartVM(t, testkit.VMConfig{})
	}
	for range 2 {
		c.inserts = append(c.inserts, c.route(t, `^/insert/([0-9]+(?::[0-9]+)?)/prometheus(/api/v1/import)$`))
	}
	c.vmselect = c.route(t, `^/select/([0-9]+(?::[0-9]+)?)/prometheus(/api/v1/(?:export|query))$`)
	return c
}

// startReal starts two vmstorages, two vminserts and a vmselect.
func (c *cluster) startReal(t testing.TB) bool {
	t.Helper()
	for _, program := range []string{"vminsert", "vmselect", "vmstorage"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("the cluster is stand-ins: %v", err)
			return false
		}
	}
	var inserts, selects []string
	for range 2 {
		insert, read := testkit.FreeAddr(t), testkit.FreeAddr(t)
		address := startProgram(t, "vmstorage", "-storageDataPath="+t.TempDir(), "-vminsertAddr="+insert, "-vmselectAddr="+read, "-dedup.minScrapeInterval=1ms")
		inserts, selects = append(inserts, "-storageNode="+insert), append(selects, "-storageNode="+read)
		c.flushes = append(c.flushes, address+"/internal/force_flush")
	}
	for range 2 {
		c.inserts = append(c.inserts, startProgram(t, "vminsert", inserts...))
	}
	c.vmselect = startProgram(t, "vmselect", append(selects, "-cacheDataPath="+t.TempDir(), "-dedup.minScrapeInterval=1ms", "-search.denyPartialResponse")...)
	return true
}

// startProgram starts one of VictoriaMetrics' programs and returns its address when it answers.
func startProgram(t testing.TB, program string, args ...string) (address string) {
	t.Helper()
	listen := testkit.FreeAddr(t)
	testkit.StartProc(t, testkit.Command{Path: program, Args: append(args, "-httpListenAddr="+listen, "-loggerLevel=ERROR")})
	testkit.Eventually(t, testkit.WaitLimit, program+" to answer", func() error {
		resp, err := http.Get("http://" + listen + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return "http://" + listen
}

// client reads all that a tenant has.
func (c *cluster) client(t testing.TB, tenant string) testkit.Client {
	t.Helper()
	if vm := c.tenants[tenant]; vm != nil {
		return vm.Client
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/internal/force_flush" {
			http.Redirect(w, r, c.vmselect+"/select/"+tenant+"/prometheus"+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
		for _, address := range c.flushes {
			resp, err := http.Get(address)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			resp.Body.Close()
		}
	}))
	t.Cleanup(s.Close)
	return testkit.Client{BaseURL: s.URL}
}

// route serves the paths of one of the two. What does not fit gets the answer of the real ones.
func (c *cluster) route(t testing.TB, pattern string) (address string) {
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
	return s.URL
}

// used reports whether a path was asked for.
func (c *cluster) used(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[path] > 0 || c.flushes != nil
}

// vmauth is a gate with a user for each device: the real vmauth, or a front with its manners. The
// front that watches stands before either.
type vmauth struct {
	t            *testing.T
	list, config string
	args         []string // of the script, behind the two files
	reload       func()   // after the configuration has changed
	front        *front.Front

	mu      sync.Mutex
	used    map[string]bool // tokens
	refused int             // answers 401
}

func newVMAuth(t *testing.T, args []string, devices ...string) *vmauth {
	t.Helper()
	dir := t.TempDir()
	a := &vmauth{t: t, list: filepath.Join(dir, "devices"), config: filepath.Join(dir, "auth.yml"), args: args, used: map[string]bool{}}
	a.write(strings.Join(devices, "\n") + "\n")
	return a
}

// write gives the script a list of devices.
func (a *vmauth) write(list string) {
	a.t.Helper()
	if err := os.WriteFile(a.list, []byte(list), 0o600); err != nil {
		a.t.Fatal(err)
	}
	script := filepath.Join(testkit.ModuleRoot(a.t), "scripts", "vmauth-users.sh")
	if out, err := exec.Command(script, append([]string{a.list, a.config}, a.args...)...).CombinedOutput(); err != nil {
		a.t.Fatalf("vmauth-users.sh: %v\n%s", err, out)
	}
	if a.reload != nil {
		a.reload()
	}
}

// users is the list, which has all tokens now: id and token, each pair a line.
func (a *vmauth) users() string {
	a.t.Helper()
	text, err := os.ReadFile(a.list)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// token is the last one of a device.
func (a *vmauth) token(device string) (token string) {
	a.t.Helper()
	for line := range strings.Lines(a.users()) {
		if id, text, _ := strings.Cut(strings.TrimSpace(line), " "); id == device {
			token = text
		}
	}
	return token
}

// watch is the mode that notes tokens and refusals, and lets the others do the rest.
func (a *vmauth) watch(modes ...front.Mode) front.Mode {
	return front.Chain(append([]front.Mode{front.Watch(func(token string, status int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.used[token] = true
		if status == http.StatusUnauthorized {
			a.refused++
		}
	})}, modes...)...)
}

// startReal starts the vmauth of the PATH.
func (a *vmauth) startReal() {
	a.t.Helper()
	args := []string{"-auth.config=" + a.config}
	if help, _ := exec.Command("vmauth", "-help").CombinedOutput(); strings.Contains(string(help), "-requestBufferSize") {
		args = append(args, "-requestBufferSize=0", "-maxRequestBodySizeToRetry=0") // older ones repeat nothing
	}
	listen := testkit.FreeAddr(a.t)
	p := testkit.StartProc(a.t, testkit.Command{Path: "vmauth", Args: append(args, "-httpListenAddr="+listen)})
	p.WaitLine(testkit.WaitLimit, "started vmauth")
	reloads := 0
	a.reload = func() {
		p.Signal(syscall.SIGHUP)
		reloads++
		testkit.Eventually(a.t, testkit.WaitLimit, "vmauth to read its users again", func() bool {
			return strings.Count(strings.ToLower(p.Stderr()+p.Stdout()), "loaded information about") > reloads
		})
	}
	a.front = front.Start(a.t, "http://"+listen)
	a.front.Set(a.watch())
}

// startStandIn starts a front that reads the users, before a server.
func (a *vmauth) startStandIn(server string, modes ...front.Mode) {
	a.front = front.Start(a.t, server)
	a.reload = func() {
		a.t.Helper()
		users, err := front.Users(a.config)
		if err != nil {
			a.t.Fatal(err)
		}
		a.front.Set(a.watch(append([]front.Mode{users}, modes...)...))
	}
	a.reload()
}

// device is one behind the gate. prefix stands before the path of imports.
func (a *vmauth) device(name, prefix string) (r *rig, token string) {
	a.t.Helper()
	token = writeSecret(a.t, a.t.TempDir(), "token", a.token(name))
	return newNamedRig(a.t, name, "url: "+a.front.URL()+prefix+"/api/v1/import\nauth_token_file: "+token+"\n"+verifySoon), token
}

// rotate gives a device another token, while it works.
func (a *vmauth) rotate(device, file string) {
	t := a.t
	t.Helper()
	old := a.token(device)
	before := a.users()
	a.write(before + device + "\n")
	now := a.token(device)
	if now == old {
		t.Fatal("there is no second token")
	}
	if err := os.WriteFile(file, []byte(now), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.WaitLimit, "a request with the new token", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.used[now]
	})
	if a.mu.Lock(); a.refused > 0 {
		t.Errorf("%d requests were refused while the token changed", a.refused)
	}
	a.mu.Unlock()
	a.write(strings.Replace(a.users(), device+" "+old+"\n", "", 1))
	// Older versions say 400 and this text.
	if err := a.client(old, "").Import("{}"); err == nil || !strings.Contains(err.Error(), "401") && !strings.Contains(err.Error(), "auth token") {
		t.Errorf("with the old token: %v, want 401", err)
	}
}

// client sends requests with a token to a base path.
func (a *vmauth) client(token, base string) testkit.Client {
	return testkit.Client{BaseURL: a.front.URL() + base, HTTP: &http.Client{Transport: bearer(token)}}
}

const verifySoon = "upload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s\n"

// TestCluster ships in each of the ways that lead to a cluster: through a vmauth that keeps two
// devices of one tenant apart, and whose read-back address is derived; and with vmselect on an
// address of its own, which remote.verify.url names.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "0", "12:34")
	gate := newVMAuth(t, []string{strings.Join(c.inserts, ","), c.vmselect, "0"}, "site-a", "site-b")
	gate.startReal()
	a, token := gate.device("site-a", "/insert/0/prometheus")
	b, _ := gate.device("site-b", "/insert/0/prometheus")
	export := c.vmselect + "/select/12:34/prometheus/api/v1/export"
	own := newNamedRig(t, "own-select", "url: "+c.inserts[0]+"/insert/12:34/prometheus/api/v1/import\n"+verifySoon+"  url: "+export)
	ship(t, 3, func() { gate.rotate("site-a", token) }, a, b, own)

	for tenant, rigs := range map[string][]*rig{"0": {a, b}, "12:34": {own}} {
		vm := c.client(t, tenant)
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
	gate.keepsApart("/insert/0/prometheus", "/select/0/prometheus")
}

// TestCluster_StandIn puts the manners of vmauth and vmselect between two devices and a server that
// deduplicates, where no vmauth is needed: users and routes, imports that are repeated, reads that
// are answered 422 and 429, partial answers, and samples that become visible late.
func TestCluster_StandIn(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{Flags: []string{"-dedup.minScrapeInterval=1ms"}})
	gate := newVMAuth(t, []string{vm.URL()}, "site-c", "site-d")
	testkit.Binaries(t) // not while the half is frozen
	half := front.NewHalf(t)
	half.Until, half.Late = time.Now().Add(25*time.Second), 5*time.Second
	gate.startStandIn(vm.URL(), front.Busy(), front.Repeat(), half.Mode())
	c, token := gate.device("site-c", "")
	d, _ := gate.device("site-d", "")
	ship(t, 6, func() { gate.rotate("site-c", token) }, c, d)
	for _, r := range []*rig{c, d} {
		r.arrived(vm.Client)
	}
	gate.keepsApart("", "")
}

// keepsApart checks that whatever a device claims, it writes and reads under its own id, and that
// there is nothing else to reach. The gate has two devices.
func (a *vmauth) keepsApart(write, read string) {
	t := a.t
	t.Helper()
	var ids []string
	for line := range strings.Lines(a.users()) {
		id, _, _ := strings.Cut(line, " ")
		ids = append(ids, id)
	}
	slices.Sort(ids)
	token := a.token(ids[0])
	line := fmt.Sprintf(`{"metric":{"__name__":"claimed","device_id":%q},"values":[1],"timestamps":[%d]}`, ids[1], time.Now().UnixMilli())
	if err := a.client(token, write).Import(line); err != nil {
		t.Fatal(err)
	}
	reads := a.client(token, read)
	testkit.Eventually(t, testkit.WaitLimit, "the sample under the device's own id", func() error {
		series, err := reads.Export(`{__name__="claimed"}`)
		if err == nil && (len(series) != 1 || series[0].Metric["device_id"] != ids[0]) {
			err = fmt.Errorf("got %v", series)
		}
		return err
	})
	testkit.Eventually(t, testkit.WaitLimit, "an answer about another device", func() error {
		series, err := reads.Export(fmt.Sprintf("{device_id=%q}", ids[1]))
		if len(series) > 0 {
			t.Errorf("%s sees %d series of another device", ids[0], len(series))
		}
		return err
	})
	if err := a.client(token, "/nowhere").Import(line); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a path without a route: %v, want 400", err)
	}
}

// bearer sends a token with each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
