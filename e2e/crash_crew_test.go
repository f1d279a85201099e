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

// blow is what one round of TestCrash does.
type blow struct {
	collectord, shipperd, server bool // who is killed, all at the same moment

	pause time.Duration // since the last round
	aimed bool          // then wait until a victim is at work, and for a moment more
	late  time.Duration // that moment

	daemonAway, serverAway time.Duration // until they are started again
}

func (b blow) String() string {
	return fmt.Sprintf("%+v", struct {
		Collectord, Shipperd, Server, Aimed bool
		Pause, Late, Away, ServerAway       time.Duration
	}{b.collectord, b.shipperd, b.server, b.aimed, b.pause, b.late, b.daemonAway, b.serverAway})
}

// rollBlow decides a round. The server is killed less often than the daemons, so
// that it lives long enough now and then to make something durable. Blows are
// aimed mostly: a daemon works for a few milliseconds of its interval, and that
// is when a kill can do harm.
func rollBlow(dice *rand.Rand) (b blow) {
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

// crew is the product under fire, and counts what was done to it.
type crew struct {
	r                    *rig
	collectord, shipperd *testkit.Proc
	vm                   *testkit.VM
	vmBack               chan error // the server's start under way; nil = it is up

	kills struct{ collectord, shipperd, server, aimed, together int }
}

func newCrew(r *rig, vm *testkit.VM) *crew {
	c := &crew{r: r, vm: vm}
	c.collectord, c.shipperd = c.enlist(r.bins.Collectord), c.enlist(r.bins.Shipperd)
	return c
}

func (c *crew) String() string {
	k := c.kills
	return fmt.Sprintf("collectord %d, shipperd %d, VictoriaMetrics %d; %d times two or three at once, %d times in the middle of work",
		k.collectord, k.shipperd, k.server, k.together, k.aimed)
}

func (c *crew) enlist(bin string) *testkit.Proc {
	return testkit.StartProc(c.r.t, testkit.Command{Path: bin, Args: []string{"-config", c.r.config}, Output: c.logOf(bin)})
}

func (c *crew) logOf(bin string) string { return filepath.Join(c.r.dir, filepath.Base(bin)+".log") }

// strike does one round; a server that is away comes back by itself.
func (c *crew) strike(b blow) {
	time.Sleep(b.pause)
	if b.server {
		c.awaitServer()
	}
	var victims []*testkit.Proc
	for _, v := range []struct {
		struck bool
		proc   *testkit.Proc
		count  *int
	}{{b.collectord, c.collectord, &c.kills.collectord}, {b.shipperd, c.shipperd, &c.kills.shipperd}, {b.server, c.vm.Proc(), &c.kills.server}} {
		if v.struck {
			victims = append(victims, v.proc)
			*v.count++
		}
	}
	if len(victims) > 1 {
		c.kills.together++
	}
	if b.aimed {
		worker := c.shipperd // its requests are the server's work too
		if !b.shipperd && !b.server {
			worker = c.collectord
		}
		if atWork(worker, 1500*time.Millisecond) {
			c.kills.aimed++
		}
		time.Sleep(b.late)
	}
	c.checkAlive()
	for _, p := range victims {
		p.Signal(os.Kill)
	}
	for _, p := range victims {
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
		c.collectord = c.enlist(c.r.bins.Collectord)
	}
	if b.shipperd {
		c.shipperd = c.enlist(c.r.bins.Shipperd)
	}
}

// checkAlive: a daemon that ends by itself, whatever happens around it, is a bug.
func (c *crew) checkAlive() {
	for bin, p := range map[string]*testkit.Proc{c.r.bins.Collectord: c.collectord, c.r.bins.Shipperd: c.shipperd} {
		select {
		case <-p.Done():
			log, _ := os.ReadFile(c.logOf(bin))
			c.r.t.Errorf("%s ended by itself, exit code %d; its log:\n%s", filepath.Base(bin), p.ExitCode(), tail(string(log)))
		default:
		}
	}
}

func (c *crew) awaitServer() {
	if c.vmBack == nil {
		return
	}
	if err := <-c.vmBack; err != nil {
		c.r.t.Fatal(err)
	}
	c.vmBack = nil
}

// standDown ends the daemons in order, with the server there.
func (c *crew) standDown() {
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

// atWork waits until a process writes, to the file or to the network. It is not
// where the kernel does not tell.
func atWork(p *testkit.Proc, limit time.Duration) bool {
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

func TestRollBlow_SameSeedSameBlows(t *testing.T) {
	t.Parallel()
	a, b := rand.New(rand.NewPCG(7, 0)), rand.New(rand.NewPCG(7, 0))
	seen := map[[3]bool]bool{}
	for range 200 {
		x, y := rollBlow(a), rollBlow(b)
		if x != y {
			t.Fatalf("%v and %v from one seed", x, y)
		}
		seen[[3]bool{x.collectord, x.shipperd, x.server}] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d kinds of blows in 200, want all 6", len(seen))
	}
}
