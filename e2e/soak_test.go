package e2e

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var (
	soakFor      = flag.Duration("soak.for", 15*time.Second, "how long TestSoak disturbs")
	soakInterval = flag.Duration("soak.interval", time.Second, "collection.interval of TestSoak")
	soakSeed     = flag.Uint64("soak.seed", 0, "seed of TestSoak's dice; 0 takes one from the clock")
)

const (
	// soakMost keeps a soak below storage.retention: what is pruned cannot be compared.
	soakMost = 20 * time.Hour
	// soakWAL is what the WAL stays below under any load.
	soakWAL = 64 << 20
	// soakDrain bounds the time in which all must be proven once nothing disturbs
	// any more. Samples that were missed several times wait for minutes.
	soakDrain = 20 * time.Minute
	// soakTimeout is remote.timeout: shorter than by default, so that many requests
	// end without an answer.
	soakTimeout = 5 * time.Second
)

// TestSoak leaves both daemons alone while the server, and the network in front of
// it, come and go at random. At the end all is drained, every row of the file must
// be at the server exactly once with its value, the WAL must have stayed small,
// and the daemons must hold no more files and goroutines than at the start. It
// prints one report.
//
//   - faults: VictoriaMetrics is killed and stopped; meanwhile connections are
//     refused and reset, packets vanish, the line is slow.
//   - transport: only VictoriaMetrics goes, about every minute; connections are
//     kept and used again in between.
//
// The seed repeats what happens and for how long, not the moment within a request.
func TestSoak(t *testing.T) {
	t.Parallel()
	if *soakFor > soakMost {
		t.Fatalf("-soak.for=%v: at most %v, for older rows are pruned and can no longer be compared", *soakFor, soakMost)
	}
	server := func(dice *rand.Rand, pause time.Duration) *dealer {
		return &dealer{dice: dice, kinds: []string{killed, stopped}, pause: pause, longest: part(*soakFor, 30, 3*time.Second, time.Minute)}
	}
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		soakRun(t, func(s *soak, seed uint64) {
			s.server = server(rand.New(rand.NewPCG(seed, 0)), part(*soakFor, 20, 4*time.Second, 30*time.Second))
			s.network = &dealer{
				dice: rand.New(rand.NewPCG(seed, 1)), kinds: []string{refused, reset, blackHole, slow},
				pause: part(*soakFor, 30, 2*time.Second, 10*time.Second), longest: s.server.longest,
			}
		})
	})
	t.Run("transport", func(t *testing.T) {
		t.Parallel()
		s := soakRun(t, func(s *soak, seed uint64) {
			s.server = server(rand.New(rand.NewPCG(seed, 0)), part(*soakFor, 60, 6*time.Second, time.Minute))
		})
		// A new connection for each request would be one a second and more.
		if got, most := s.proxy.Stats().Connections, s.connectionsMost(); got > most {
			t.Errorf("%d connections, want at most %d: they are not used again", got, most)
		}
	})
}

// part is a share of the whole time, within bounds.
func part(whole time.Duration, share int, least, most time.Duration) time.Duration {
	return min(most, max(least, whole/time.Duration(share)))
}

// soak is a run of TestSoak.
type soak struct {
	t     *testing.T
	r     *rig
	crew  *crew
	vm    *testkit.VM
	proxy *testkit.Proxy

	server, network *dealer // nil = is left alone

	mu     sync.Mutex
	counts map[string]int           // troubles by kind
	away   map[string]time.Duration // and how long they lasted in all

	fired, drained time.Duration // how long the troubles and the drain took
	watch          *watch
	logs           []string // of shipperd's lives
}

// soakRun is one soak from the start to its verdict.
func soakRun(t *testing.T, plan func(s *soak, seed uint64)) *soak {
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%v of trouble; repeat with -soak.seed=%d", *soakFor, seed)
	server := t.TempDir()
	s := &soak{t: t, vm: testkit.StartVM(t, testkit.VMConfig{Dir: server}), counts: map[string]int{}, away: map[string]time.Duration{}}
	s.proxy = testkit.StartProxy(t, s.vm.Addr())
	s.r = newRig(t, s.proxy.URL()+"/api/v1/import", map[string]string{
		"collection": "interval: " + soakInterval.String(),
		"remote": "url: " + s.proxy.URL() + "/api/v1/import\nupload_interval: 1s\ntimeout: " + soakTimeout.String() +
			"\nverify:\n  delay: 15s\n  settle: 15s",
		"logging": "level: info",
	})
	plan(s, seed)
	var d difference
	defer func() { keepEvidence(t, seed, s.vm, &d, map[string]string{"device": s.r.dir, "server": server}) }()

	s.measureCalm()
	s.underTrouble()
	s.settle()
	d = s.r.compare(s.vm.Client)
	l := s.r.ledger()
	t.Log(s.report(seed, &d, l))
	s.judge(&d, l)
	return s
}

// measureCalm runs the daemons for a moment in peace, to know how many files and
// goroutines they have, and starts them again for the soak.
func (s *soak) measureCalm() {
	s.crew = newCrew(s.r, s.vm)
	s.watch = newWatch(s.r)
	testkit.Eventually(s.t, testkit.WaitLimit, "the start of shipperd", func() bool {
		log, err := os.ReadFile(s.crew.logOf(s.r.bins.Shipperd))
		return err == nil && strings.Contains(string(log), "shipperd started")
	})
	testkit.Eventually(s.t, testkit.WaitLimit, "5 accepted chunks", func() bool {
		return s.r.count("SELECT count(*) FROM upload_checkpoints WHERE state = 'accepted'") >= 5
	})
	collectord, shipperd := s.gauges()
	collectord.before = s.crew.autopsy(s.crew.collectord, s.r.bins.Collectord)
	shipperd.before = s.crew.autopsy(s.crew.shipperd, s.r.bins.Shipperd)
	s.crew.collectord, s.crew.shipperd = s.crew.enlist(s.r.bins.Collectord), s.crew.enlist(s.r.bins.Shipperd)
	collectord.begin(s.crew.collectord)
	shipperd.begin(s.crew.shipperd)
}

func (s *soak) gauges() (collectord, shipperd *gauge) { return &s.watch.collectord, &s.watch.shipperd }

// underTrouble lets everything happen that is to happen, and looks on. What
// happens to the server and to the network may overlap.
func (s *soak) underTrouble() {
	start := time.Now()
	ctx, cancel := context.WithDeadline(s.t.Context(), start.Add(*soakFor))
	defer cancel()
	var wg sync.WaitGroup
	if s.server != nil {
		wg.Go(func() { s.strike(ctx, s.server, s.strikeServer) })
	}
	if s.network != nil {
		wg.Go(func() { s.strike(ctx, s.network, s.strikeNetwork) })
	}
	for nap(ctx, 100*time.Millisecond) {
		s.watch.look()
		if s.crew.checkAlive(); s.t.Failed() {
			cancel()
		}
	}
	wg.Wait()
	s.fired = time.Since(start)
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// settle ends the daemons: collectord first, shipperd when it has sent all. What
// is not proven by then is left to "shipperd -once".
func (s *soak) settle() {
	start := time.Now()
	collectord, shipperd := s.gauges()
	collectord.finish(s.t)
	collectord.after = s.crew.autopsy(s.crew.collectord, s.r.bins.Collectord)
	testkit.Eventually(s.t, soakDrain, "shipperd to send everything", func() bool {
		s.watch.look()
		return s.r.count(`SELECT count(*) FROM metrics WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0`) == 0
	})
	shipperd.finish(s.t)
	shipperd.after = s.crew.autopsy(s.crew.shipperd, s.r.bins.Shipperd)
	once := s.r.deliver(soakDrain)
	s.watch.look()
	s.drained = time.Since(start)
	log, err := os.ReadFile(s.crew.logOf(s.r.bins.Shipperd))
	if err != nil {
		s.t.Fatal(err)
	}
	s.logs = append(strings.Split(string(log), `"msg":"shipperd started"`), once)
}

// autopsy ends a daemon with SIGQUIT, upon which the Go runtime writes down all
// its goroutines.
func (c *crew) autopsy(p *testkit.Proc, bin string) (found autopsy) {
	c.r.t.Helper()
	select {
	case <-p.Done():
		c.r.t.Fatalf("%s ended by itself, exit code %d", c.logOf(bin), p.ExitCode())
	default:
	}
	found.files = openFiles(p.PID())
	p.Signal(syscall.SIGQUIT)
	p.Wait(testkit.WaitLimit)
	found.goroutines = goroutines(c.r.t, c.logOf(bin))
	return found
}

// judge fails the test where a promise is broken.
func (s *soak) judge(d *difference, l ledger) {
	t := s.t
	if d.rows == 0 || !d.none() {
		t.Errorf("file and server differ: %v\n%s", d, d.few())
	}
	if l.pending+l.accepted+l.rejected+l.dropped != 0 || l.verified != d.rows {
		t.Errorf("not all %d rows are verified: %v", d.rows, l)
	}
	s.r.checkFile()
	if s.watch.wal.most == 0 || s.watch.wal.most >= soakWAL {
		t.Errorf("the WAL was up to %d bytes, want less than %d", s.watch.wal.most, int64(soakWAL))
	}
	collectord, shipperd := s.gauges()
	collectord.judge(t)
	shipperd.judge(t)
}

// connectionsMost is how many connections are enough: two for each restart of the
// server, for the first request after it may find it not there yet, and two a
// minute for those that were idle for too long.
func (s *soak) connectionsMost() int {
	return 6 + 2*(s.counts[killed]+s.counts[stopped]) + 2*int((s.fired+s.drained)/time.Minute)
}
