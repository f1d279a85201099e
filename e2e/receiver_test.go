package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// gateway is a receiver before a server, with a token for each device.
type gateway struct {
	t    testing.TB
	dir  string
	args []string
	proc *testkit.Proc
	addr string
}

// startGateway starts the receiver that passes on to an import address.
func startGateway(t testing.TB, importURL string, args ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), addr: testkit.FreeAddr(t)}
	g.args = append([]string{"-listen", g.addr, "-upstream", importURL, "-tokens", filepath.Join(g.dir, "tokens")}, args...)
	g.write("tokens", "")
	g.start()
	return g
}

func (g *gateway) start() {
	g.t.Helper()
	g.proc = testkit.StartProc(g.t, testkit.Command{Path: testkit.Binaries(g.t).Receiver, Args: g.args})
	g.proc.WaitLine(20*time.Second, "msg=listening")
}

func (g *gateway) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// token is the file of the one token that there is.
func (g *gateway) token() string { return filepath.Join(g.dir, "token") }

// admit makes the token one of the device.
func (g *gateway) admit(device string) {
	g.t.Helper()
	const token = "hunter2-of-the-fleet"
	g.write("tokens", fmt.Sprintf("%s %x\n", device, sha256.Sum256([]byte(token))))
	g.write("token", token+"\n")
}

// remote is the section of the configuration that leads there.
func (g *gateway) remote() string {
	return "url: http://" + g.addr + "/api/v1/import\nauth_token_file: " + g.token() +
		"\nupload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s"
}

// newNamedRig is a device of that name; section remote is given whole.
func newNamedRig(t testing.TB, device, remote string) *rig {
	t.Helper()
	r := newRig(t, "", map[string]string{"device": "id: " + device, "remote": remote})
	r.device = device
	return r
}

// ship lets the devices sample for some ticks while they deliver, stops them, and delivers and proves the rest. What
// takes its time are the waits for the proof, so all do it at once.
func ship(t testing.TB, ticks int, meanwhile func(), rigs ...*rig) {
	t.Helper()
	var daemons [][2]*testkit.Proc
	for _, r := range rigs {
		daemons = append(daemons, [2]*testkit.Proc{r.start(r.bins.Collectord), r.start(r.bins.Shipperd)})
	}
	for i, n := range []int{ticks / 2, ticks} {
		if i == 1 {
			meanwhile()
		}
		for k, r := range rigs {
			daemons[k][0].WaitLine(20*time.Second, "collectord started")
			testkit.Eventually(t, 60*time.Second, fmt.Sprint(n, " ticks in the file and some of them uploaded"), func() bool {
				return r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows") >= n &&
					r.count("SELECT count(*) FROM metric_rows WHERE uploaded = 1") > 0
			})
		}
	}
	for k, r := range rigs {
		r.stopDaemon(daemons[k][0])
		r.stopDaemon(daemons[k][1])
	}
	var once []*testkit.Proc
	for _, r := range rigs {
		once = append(once, r.start(r.bins.Shipperd, "-once"))
	}
	for k, r := range rigs {
		if code := once[k].Wait(90 * time.Second); code != 0 {
			t.Fatalf("%s: shipperd -once: exit code %d; its log:\n%s", r.device, code, tail(once[k].Stderr()))
		}
		if n := r.count("SELECT count(*) FROM upload_checkpoints WHERE state <> 'verified'"); n != 0 {
			t.Errorf("%s: %d chunks not verified", r.device, n)
		}
		r.checkFile()
	}
}

// arrived checks that the server has every sample of the file once.
func (r *rig) arrived(vm testkit.Client) {
	r.t.Helper()
	d := r.compare(vm)
	r.t.Logf("%s: %v", r.device, &d)
	if d.rows < 50 || !d.none() {
		r.t.Errorf("%s: file and server differ: %v\n%s", r.device, &d, d.few())
	}
}

// TestReceiver is the way of devices that face the internet: shipperd, the gateway with their tokens, a real
// VictoriaMetrics. The gateway is killed in between, and every sample arrives once. Another device has a receiver that
// keeps the samples itself.
func TestReceiver(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	g := startGateway(t, vm.ImportURL())
	through := newNamedRig(t, "through-the-gateway", g.remote())
	g.admit(through.device)
	keeper := testkit.StartProc(t, testkit.Command{
		Path: through.bins.Receiver, Args: []string{"-listen", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "receiver.db")},
	})
	match := regexp.MustCompile(`addr=(\S+)`).FindStringSubmatch(keeper.WaitLine(20*time.Second, "msg=listening"))
	kept := newNamedRig(t, "kept", "url: http://"+match[1]+"/api/v1/import\nupload_interval: 1s\nverify:\n  delay: 15s\n  settle: 15s")
	ship(t, 6, func() {
		g.proc.Kill()
		g.start()
	}, through, kept)

	through.arrived(vm.Client)
	exported, err := testkit.Client{BaseURL: "http://" + match[1]}.Export(`{device_id="kept"}`)
	if err != nil {
		t.Fatal(err)
	}
	have := map[sample]float64{}
	for _, s := range exported {
		for i, ts := range s.Timestamps {
			have[sample{s.Key(), ts}] = s.Values[i]
		}
	}
	rows := kept.rows()
	for _, row := range rows {
		if got, ok := have[row.sample]; !ok || got != row.value {
			t.Errorf("%s at %d: got %v, %v, want %v", row.series, row.ts, got, ok, row.value)
		}
	}
	if len(have) != len(rows) || len(rows) < 50 {
		t.Errorf("%d samples at the receiver, %d in the file", len(have), len(rows))
	}

	// Doctor finds nothing that keeps samples from getting through, and no secret is in a log.
	doctor := through.start(through.bins.Shipperd, "doctor")
	if code := doctor.Wait(60 * time.Second); code != 0 {
		t.Errorf("doctor: exit code %d:\n%s", code, doctor.Stdout())
	}
	for _, text := range []string{doctor.Stdout(), doctor.Stderr(), g.proc.Stderr()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the token is in\n%s", text)
		}
	}
}

// TestReceiver_UpstreamFails: the server behind the gateway fails, with nothing stored, with all, with a half. The device
// asks what is there, and every sample arrives once. (The gateway's own tests have each way of failing in pairs.)
func TestReceiver_UpstreamFails(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	g := startGateway(t, vm.ImportURL(), "-upstream-timeout", "1s")
	r := newNamedRig(t, "behind-a-bad-server", g.remote())
	g.admit(r.device)
	none, all, half := testkit.Keep(testkit.KeepNone), testkit.Keep(testkit.KeepAll), testkit.KeepEvery(2)
	vm.Then(
		testkit.Accept(),
		testkit.Answer(500, none), testkit.ResetAfter(testkit.WholeBody, all),
		testkit.Hang(testkit.WholeBody, none), testkit.Answer(500, half),
	)
	ship(t, 6, func() {
		vm.GoAway()
		vm.ComeBack()
	}, r)
	if n := vm.StepsLeft(); n > 0 {
		t.Errorf("%d failures did not happen", n)
	}
	r.arrived(vm.Client)
	if n := vm.Duplicates(); n > 0 {
		t.Errorf("%d samples were stored twice", n)
	}
}

// TestReceiver_WrongToken: a device with another one's token loses nothing. It says what is wrong and keeps its samples.
func TestReceiver_WrongToken(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	g := startGateway(t, vm.ImportURL())
	r := newRig(t, "", map[string]string{"remote": g.remote()})
	g.admit("somebody-else")
	collectord, shipperd := r.start(r.bins.Collectord), r.start(r.bins.Shipperd)
	shipperd.WaitLine(30*time.Second, "the token does not belong to these samples")
	r.stopDaemon(collectord)
	r.stopDaemon(shipperd)
	if l := r.ledger(); l.pending == 0 || l.inserted != l.pending+l.unsendable {
		t.Errorf("not everything is kept: %v", l)
	}
	if n := len(vm.Requests()); n != 0 {
		t.Errorf("%d requests got through", n)
	}
	r.checkFile()
}
