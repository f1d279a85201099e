package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
)

var frontsLong = flag.Bool("fronts.long", false, "TestFronts as long as its cases were seen: a captive portal for 15 min, a queue for 10 min, half a store frozen for 70 s, and until each condition is told")

const (
	// frontToken is what every device of TestFronts sends, and no log may have half of.
	frontToken = "hunter2-of-the-fronts-0123456789abcdef"
	// frontText is the longest line that a daemon logs of what others say, and
	// frontPage the longest answer with it.
	frontText, frontPage = 4 << 10, 64 << 10
)

// TestFronts puts troubles between a device and its server that are no broken line:
// each answers, and not as the server would. Every case ends with all samples of the
// file at the server once, at their own time, none of them a dead letter. All cases
// share one server and run at the same time: they wait more than they work.
func TestFronts(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	testkit.Binaries(t)
	var all sync.WaitGroup
	for _, c := range frontCases() {
		all.Go(func() { t.Run(c.name, func(t *testing.T) { c.run(newFronted(t, vm, c)) }) })
	}
	all.Wait()
}

// frontCase is one trouble.
type frontCase struct {
	name  string
	flags []string // of a server of its own; nil = the one that all share
	// remote is added to section remote, and clock is the address in
	// monitoring.clock_skew_url, beside the front; "" = none.
	remote, clock string
	run           func(d *fronted)
}

// fronted is a device behind a front.
type fronted struct {
	*rig
	t     *testing.T
	vm    *testkit.VM
	front *front.Front

	collectord, shipperd *testkit.Proc
	base                 string   // of shipperd's health
	logs                 []string // of shipperd's lives that have ended

	loses    bool         // the trouble loses samples that were sent: they show by later ones of their series
	tally    *front.Tally // of the trouble
	verified int          // samples that counted as delivered at the end of the trouble
	notLive  string       // what was wrong with /health/live during the trouble, "" = nothing
	stopped  time.Duration
	drained  time.Duration
}

func newFronted(t *testing.T, vm *testkit.VM, c frontCase) *fronted {
	t.Helper()
	if c.flags != nil {
		vm = testkit.StartVM(t, testkit.VMConfig{Flags: c.flags})
	}
	f := front.Start(t, vm.URL())
	sections := map[string]string{
		"remote": "url: " + f.ImportURL() + "\nauth_token_file: " + writeSecret(t, t.TempDir(), "token", frontToken+"\n") +
			"\nupload_interval: 1s\ntimeout: 5s\nverify:\n  delay: 15s\n  settle: 15s\n" + c.remote,
	}
	if c.clock != "" {
		sections["monitoring"] = "clock_skew_url: " + f.URL() + c.clock + "\nclock_skew_check_interval: 10s"
	}
	return &fronted{rig: newRig(t, "", sections), t: t, vm: vm, front: f}
}

// start starts both daemons.
func (d *fronted) start() {
	d.t.Helper()
	d.collectord = d.rig.start(d.bins.Collectord)
	d.startShipperd()
}

func (d *fronted) startShipperd() {
	d.t.Helper()
	d.shipperd = d.rig.start(d.bins.Shipperd)
	d.base = healthAddress(d.shipperd, "shipperd")
}

// stopShipperd ends shipperd as systemd does, and notes how long it took.
func (d *fronted) stopShipperd() {
	d.t.Helper()
	begin := time.Now()
	d.shipperd.Signal(syscall.SIGTERM)
	select {
	case <-d.shipperd.Done():
		if code := d.shipperd.ExitCode(); code != 0 {
			d.t.Errorf("shipperd: exit code %d", code)
		}
	case <-time.After(time.Minute):
		d.shipperd.Kill()
	}
	took := time.Since(begin)
	d.stopped = max(d.stopped, took)
	if took > 5*time.Second {
		d.t.Errorf("stopping shipperd took %v, want at most 5 s", took)
	}
	d.logs = append(d.logs, d.shipperd.Stderr())
}

// during lets a trouble last, and watches that shipperd stays alive.
func (d *fronted) during(m front.Mode, lasts time.Duration) {
	d.t.Helper()
	d.setMode(m)
	d.watch(lasts, nil)
}

// setMode begins a trouble, or its next part. The tally is that of the last part.
func (d *fronted) setMode(m front.Mode) { d.tally = d.front.Set(m) }

// watch lets the trouble last until something holds, and fails the test when it does
// not within limit; nil never holds.
func (d *fronted) watch(limit time.Duration, holds func() error) {
	d.t.Helper()
	var last error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Second) {
		if code, body := d.get("/health/live"); code != http.StatusOK && d.notLive == "" {
			d.notLive = fmt.Sprintf("%d %.200s", code, body)
			d.t.Errorf("shipperd is not alive: %s", d.notLive)
		}
		if holds == nil {
			continue
		}
		if last = holds(); last == nil {
			return
		}
	}
	if last != nil {
		d.t.Errorf("after %v: %v", limit, last)
	}
}

// get asks shipperd's health port.
func (d *fronted) get(path string) (status int, body string) {
	d.t.Helper()
	return get(d.t, d.base+path)
}

// awaitCondition waits for a condition of shipperd's health.
func (d *fronted) awaitCondition(limit time.Duration, code string) {
	d.t.Helper()
	begin := time.Now()
	d.watch(limit, func() error {
		if report := health(d.t, d.base); !report.has(code) {
			return fmt.Errorf("health does not have %s: %+v", code, report)
		}
		return nil
	})
	d.t.Logf("%s was looked for during %.0f s", code, time.Since(begin).Seconds())
}

// awaitConditionIfLong waits for a condition that takes minutes to tell.
func (d *fronted) awaitConditionIfLong(code string) {
	d.t.Helper()
	if *frontsLong {
		d.awaitCondition(5*time.Minute, code)
	}
}

// command runs a command of shipperd beside it.
func (d *fronted) command(args ...string) (code int, text string) {
	d.t.Helper()
	p := d.rig.start(d.bins.Shipperd, args...)
	code = p.Wait(testkit.WaitLimit)
	return code, p.Stdout() + p.Stderr()
}

// finish ends the trouble and judges what it has left.
func (d *fronted) finish() {
	d.t.Helper()
	d.end(front.Pass())
	d.judge(d.compare(d.vm.Client))
}

// end ends the trouble, lets the device go on in the mode, and waits until everything
// is proven.
func (d *fronted) end(m front.Mode) {
	d.t.Helper()
	d.verified = d.ledger().verified
	trouble := d.tally
	d.setMode(m)
	d.tally = trouble
	if d.loses {
		d.goOn()
	}
	time.Sleep(3 * time.Second)
	d.stopDaemon(d.collectord)
	begin := time.Now()
	d.watch(drainLimit(), func() error {
		if l := d.ledger(); l.pending+l.accepted > 0 {
			return fmt.Errorf("not everything is proven: %v", l)
		}
		return nil
	})
	d.drained = time.Since(begin)
	d.stopShipperd()
}

// judge checks what every case promises, and logs the figures.
func (d *fronted) judge(found difference) {
	d.t.Helper()
	l := d.ledger()
	reads := []front.Kind{front.Query, front.Export}
	d.t.Logf("%.0f s of trouble: %v; %d dead letters, %d samples verified in it, %.2f reads a second (at most %d) and %.2f imports; SIGTERM took %.1f s; drained in %.0f s",
		d.tally.Lasted().Seconds(), &found, l.rejected, d.verified, d.tally.PerSecond(reads...), d.tally.Busiest(reads...),
		d.tally.PerSecond(front.Import), d.stopped.Seconds(), d.drained.Seconds())
	if found.rows < 500 || !found.none() {
		d.t.Errorf("file and server differ: %v\n%s", &found, found.few())
	}
	if l.rejected+l.dropped > 0 {
		d.t.Errorf("samples are dead letters or dropped: %v", l)
	}
	d.checkFile()
	d.checkTexts("the log", strings.Join(d.logs, ""))
	for line := range strings.Lines(strings.Join(d.logs, "")) {
		if len(line) > frontText {
			d.t.Errorf("a line of the log has %d bytes: %.300s", len(line), line)
		}
		if !json.Valid([]byte(line)) {
			d.t.Errorf("a line of the log is no JSON: %.300s", line)
		}
	}
}

// checkTexts looks for what must not be in a text.
func (d *fronted) checkTexts(where, text string) {
	d.t.Helper()
	if i := strings.Index(text, frontToken[:len(frontToken)/2]); i >= 0 {
		d.t.Errorf("%s has a half of the token or more: …%s…", where, text[max(0, i-200):min(len(text), i+100)])
	}
}

// checkPages looks for long texts and for the token in what shipperd shows.
func (d *fronted) checkPages() {
	d.t.Helper()
	for _, path := range []string{"/health", "/"} {
		_, body := d.get(path)
		d.checkTexts(path, body)
		if path == "/health" && len(body) > frontPage {
			d.t.Errorf("%s has %d bytes", path, len(body))
		}
	}
	for _, args := range [][]string{{"status"}, {"status", "-json"}} {
		_, text := d.command(args...)
		d.checkTexts(fmt.Sprint(args), text)
		if len(text) > frontPage {
			d.t.Errorf("%v has %d bytes", args, len(text))
		}
	}
}

// checkClock checks that health does not blame the device's clock, which is right.
func (d *fronted) checkClock() {
	d.t.Helper()
	if reason := health(d.t, d.base).find("clock_skew"); reason != nil {
		d.t.Errorf("health blames the clock: %+v", reason)
	}
}
