package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// killRound is what one round of TestCrash does.
type killRound struct {
	collectord, shipperd, server bool // who is killed, all at the same moment

	pause time.Duration // since the last round
	aimed bool          // then wait until a target is at work, and for a moment more
	late  time.Duration // that moment

	daemonAway, serverAway time.Duration // until they are started again
}

func (b killRound) String() string {
	return fmt.Sprintf("%+v", struct {
		Collectord, Shipperd, Server, Aimed bool
		Pause, Late, Away, ServerAway       time.Duration
	}{b.collectord, b.shipperd, b.server, b.aimed, b.pause, b.late, b.daemonAway, b.serverAway})
}

// drawKillRound decides a round. The server is killed less often than the daemons, so
// that it sometimes lives long enough to make something durable. Most rounds are
// aimed: a daemon works for a few milliseconds of its interval, and only then can a
// kill do harm.
func drawKillRound(dice *rand.Rand) (b killRound) {
	span := func(most time.Duration) time.Duration { return time.Duration(dice.Int64N(int64(most))) }
	switch n := dice.IntN(20); {
	case n < 6:
		b.collectord = true
	case n < 13:
		b.shipperd = true
	case n < 15:
		b.server = true
	case n < 17:
		b.collectord, b.shipperd = true, true
	case n < 19:
		b.shipperd, b.server = true, true
	default:
		b.collectord, b.shipperd, b.server = true, true, true
	}
	b.pause, b.aimed, b.late = span(1500*time.Millisecond), dice.IntN(4) > 0, span(8*time.Millisecond)
	b.daemonAway, b.serverAway = span(200*time.Millisecond), span(200*time.Millisecond)
	if dice.IntN(4) == 0 {
		b.serverAway = time.Second + span(3*time.Second)
	}
	return b
}

// processes are the daemons and the server of a test that kills them, and counts the kills.
type processes struct {
	r                    *rig
	collectord, shipperd *testkit.Proc
	vm                   *testkit.VM
	vmBack               chan error // the server's start under way; nil = it is up

	kills struct{ collectord, shipperd, server, aimed, together int }
}

func startProcesses(r *rig, vm *testkit.VM) *processes {
	c := &processes{r: r, vm: vm}
	c.collectord, c.shipperd = c.startLogged(r.bins.Collectord), c.startLogged(r.bins.Shipperd)
	return c
}

func (c *processes) String() string {
	k := c.kills
	return fmt.Sprintf("collectord %d, shipperd %d, VictoriaMetrics %d; %d times two or three at once, %d times in the middle of work",
		k.collectord, k.shipperd, k.server, k.together, k.aimed)
}

func (c *processes) startLogged(bin string) *testkit.Proc {
	return testkit.StartProc(c.r.t, testkit.Command{Path: bin, Args: []string{"-config", c.r.config}, Output: c.logOf(bin)})
}

func (c *processes) logOf(bin string) string {
	return filepath.Join(c.r.dir, filepath.Base(bin)+".log")
}

// kill does one round. A killed server is started again in the background.
func (c *processes) kill(b killRound) {
	time.Sleep(b.pause)
	if b.server {
		c.awaitServer()
	}
	var targets []*testkit.Proc
	for _, v := range []struct {
		killed bool
		proc   *testkit.Proc
		count  *int
	}{{b.collectord, c.collectord, &c.kills.collectord}, {b.shipperd, c.shipperd, &c.kills.shipperd}, {b.server, c.vm.Proc(), &c.kills.server}} {
		if v.killed {
			targets = append(targets, v.proc)
			*v.count++
		}
	}
	if len(targets) > 1 {
		c.kills.together++
	}
	if b.aimed {
		worker := c.shipperd // its requests are the server's work too
		if !b.shipperd && !b.server {
			worker = c.collectord
		}
		if waitUntilBusy(worker, 1500*time.Millisecond) {
			c.kills.aimed++
		}
		time.Sleep(b.late)
	}
	c.checkAlive()
	for _, p := range targets {
		p.Signal(os.Kill)
	}
	for _, p := range targets {
		<-p.Done()
	}
	if b.server {
		back := make(chan error, 1)
		c.vmBack = back
		go func() {
			time.Sleep(b.serverAway)
			back <- c.vm.Start()
		}()
	}
	if b.collectord || b.shipperd {
		time.Sleep(b.daemonAway)
	}
	if b.collectord {
		c.collectord = c.startLogged(c.r.bins.Collectord)
	}
	if b.shipperd {
		c.shipperd = c.startLogged(c.r.bins.Shipperd)
	}
}

// checkAlive fails the test when a daemon has ended by itself.
func (c *processes) checkAlive() {
	for bin, p := range map[string]*testkit.Proc{c.r.bins.Collectord: c.collectord, c.r.bins.Shipperd: c.shipperd} {
		select {
		case <-p.Done():
			log, _ := os.ReadFile(c.logOf(bin))
			c.r.t.Errorf("%s ended by itself, exit code %d; its log:\n%s", filepath.Base(bin), p.ExitCode(), tail(string(log)))
		default:
		}
	}
}

func (c *processes) awaitServer() {
	if c.vmBack == nil {
		return
	}
	if err := <-c.vmBack; err != nil {
		c.r.t.Fatal(err)
	}
	c.vmBack = nil
}

// stopAll stops the daemons once the server is there again.
func (c *processes) stopAll() {
	c.awaitServer()
	for _, p := range []*testkit.Proc{c.collectord, c.shipperd} {
		// One that has just been started does not know SIGTERM yet.
		testkit.Eventually(c.r.t, testkit.WaitLimit, "the daemons to be up", func() bool {
			n, ok := written(p.PID())
			return n > 0 || !ok
		})
	}
	c.checkAlive()
	c.r.stopDaemon(c.collectord)
	c.r.stopDaemon(c.shipperd)
}

// waitUntilBusy waits until a process writes to a file or to the network. It returns
// false when it did not within limit, or where the kernel does not tell.
func waitUntilBusy(p *testkit.Proc, limit time.Duration) bool {
	before, ok := written(p.PID())
	deadline := time.Now().Add(limit)
	for ok && time.Now().Before(deadline) {
		time.Sleep(200 * time.Microsecond)
		now, still := written(p.PID())
		if still && now > before+64 { // a wake-up of the Go runtime writes 8 bytes
			return true
		}
		ok = still
	}
	return false
}

// written is wchar of /proc/PID/io: bytes given to write and the like.
func written(pid int) (int64, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, err == nil
}

func TestKillRound_SameSeedSameKills(t *testing.T) {
	t.Parallel()
	a, b := rand.New(rand.NewPCG(7, 0)), rand.New(rand.NewPCG(7, 0))
	seen := map[[3]bool]bool{}
	for range 200 {
		x, y := drawKillRound(a), drawKillRound(b)
		if x != y {
			t.Fatalf("%v and %v from one seed", x, y)
		}
		seen[[3]bool{x.collectord, x.shipperd, x.server}] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d kinds of rounds in 200, want all 6", len(seen))
	}
}
