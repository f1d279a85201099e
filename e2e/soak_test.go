package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
)

var (
	soakFor      = flag.Duration("soak.for", 15*time.Second, "how long TestSoak disturbs")
	soakInterval = flag.Duration("soak.interval", time.Second, "collection.interval of TestSoak")
	soakTextfile = flag.Int("soak.textfile", 20, "series that TestSoak has in a textfile, beside those with timestamps")
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

// TestSoak runs both daemons while the server, and the network in front of it, fail at
// random. At the end all is drained, every row of the file must
// be at the server exactly once with its value, the WAL must have stayed small,
// and the daemons must hold no more files and goroutines than at the start. It
// prints one report.
//
//   - faults: VictoriaMetrics is killed and stopped; meanwhile connections are
//     refused and reset, packets vanish, the line is slow, and now and then the line
//     leads to a front that is a captive portal, a queue or worse.
//   - transport: only VictoriaMetrics goes, about every minute; connections are
//     kept and used again in between.
//
// The seed repeats what happens and for how long, not the moment within a request.
func TestSoak(t *testing.T) {
	t.Parallel()
	if *soakFor > soakMost {
		t.Fatalf("-soak.for=%v: at most %v, for older rows are pruned and can no longer be compared", *soakFor, soakMost)
	}
	server := func(dice *rand.Rand, pause time.Duration) *faultSource {
		return &faultSource{dice: dice, kinds: []string{killed, stopped}, pause: pause, longest: part(*soakFor, 30, 3*time.Second, time.Minute)}
	}
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		soakRun(t, func(s *soak, seed uint64) {
			s.server = server(rand.New(rand.NewPCG(seed, 0)), part(*soakFor, 20, 4*time.Second, 30*time.Second))
			s.network = &faultSource{
				dice: rand.New(rand.NewPCG(seed, 1)), kinds: []string{refused, reset, blackHole, slow},
				pause: part(*soakFor, 30, 2*time.Second, 10*time.Second), longest: s.server.longest,
			}
			s.fronts = &faultSource{
				dice: rand.New(rand.NewPCG(seed, 2)), kinds: frontKinds(),
				pause: part(*soakFor, 30, 2*time.Second, 20*time.Second), longest: s.server.longest,
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
	procs *processes
	vm    *testkit.VM
	proxy *testkit.Proxy
	front *front.Front // where the proxy leads now and then

	textfiles string // directory

	server, network, fronts *faultSource // nil = is left alone

	mu     sync.Mutex
	counts map[string]int           // faults by kind
	away   map[string]time.Duration // and how long they lasted in all

	disturbed, drained time.Duration // how long the faults and the drain took
	monitor            *monitor
	logs               []string // of shipperd's lives
}

// soakRun is one soak from the start to its verdict.
func soakRun(t *testing.T, plan func(s *soak, seed uint64)) *soak {
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%v of faults; repeat with -soak.seed=%d", *soakFor, seed)
	server := t.TempDir()
	s := &soak{t: t, vm: testkit.StartVM(t, testkit.VMConfig{Dir: server}), counts: map[string]int{}, away: map[string]time.Duration{}}
	s.proxy, s.front = testkit.StartProxy(t, s.vm.Addr()), front.Start(t, s.vm.URL())
	s.textfiles = t.TempDir()
	s.r = newRig(t, s.proxy.URL()+"/api/v1/import", map[string]string{
		"collection": "interval: " + soakInterval.String() + "\ncollectors:\n  filesystem: {enabled: false}" +
			fmt.Sprintf("\ntextfile:\n  directory: %s\n  max_series: %d", s.textfiles, *soakTextfile+10),
		"remote": "url: " + s.proxy.URL() + "/api/v1/import\nupload_interval: 1s\ntimeout: " + soakTimeout.String() +
			"\nverify:\n  delay: 15s\n  settle: 15s",
		"logging": "level: info",
	})
	plan(s, seed)
	var d difference
	defer func() { keepFiles(t, seed, s.vm, &d, map[string]string{"device": s.r.dir, "server": server}) }()

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := feedTextfile(ctx, s.textfiles, *soakTextfile); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	s.measureUndisturbed()
	s.disturb()
	s.settle()
	d = s.r.compare(s.vm.Client)
	l := s.r.ledger()
	t.Log(s.report(seed, &d, l))
	s.check(&d, l)
	return s
}

// measureUndisturbed runs the daemons without faults, to know how many files and
// goroutines they have, and starts them again for the soak.
func (s *soak) measureUndisturbed() {
	s.procs = startProcesses(s.r, s.vm)
	s.monitor = newMonitor(s.r)
	testkit.Eventually(s.t, testkit.WaitLimit, "the start of shipperd", func() bool {
		log, err := os.ReadFile(s.procs.logOf(s.r.bins.Shipperd))
		return err == nil && strings.Contains(string(log), "shipperd started")
	})
	testkit.Eventually(s.t, testkit.WaitLimit, "5 accepted chunks", func() bool {
		return s.r.count("SELECT count(*) FROM upload_checkpoints WHERE state = 'accepted'") >= 5
	})
	collectord, shipperd := s.usages()
	collectord.before = s.procs.endState(s.procs.collectord, s.r.bins.Collectord)
	shipperd.before = s.procs.endState(s.procs.shipperd, s.r.bins.Shipperd)
	s.procs.collectord, s.procs.shipperd = s.procs.startLogged(s.r.bins.Collectord), s.procs.startLogged(s.r.bins.Shipperd)
	collectord.begin(s.procs.collectord)
	shipperd.begin(s.procs.shipperd)
}

func (s *soak) usages() (collectord, shipperd *usage) {
	return &s.monitor.collectord, &s.monitor.shipperd
}

// disturb makes all faults, and measures meanwhile. Faults of the server and of the
// network may overlap.
func (s *soak) disturb() {
	start := time.Now()
	ctx, cancel := context.WithDeadline(s.t.Context(), start.Add(*soakFor))
	defer cancel()
	var wg sync.WaitGroup
	if s.server != nil {
		wg.Go(func() { s.breakThings(ctx, s.server, s.breakServer) })
	}
	if s.network != nil {
		wg.Go(func() { s.breakThings(ctx, s.network, s.breakNetwork) })
	}
	if s.fronts != nil {
		wg.Go(func() { s.breakThings(ctx, s.fronts, s.lead) })
	}
	for pause(ctx, 100*time.Millisecond) {
		s.monitor.look()
		if s.procs.checkAlive(); s.t.Failed() {
			cancel()
		}
	}
	wg.Wait()
	s.disturbed = time.Since(start)
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// settle ends the daemons: collectord first, shipperd when all is proven.
func (s *soak) settle() {
	start := time.Now()
	s.r.goOn()
	collectord, shipperd := s.usages()
	collectord.finish(s.t)
	collectord.after = s.procs.endState(s.procs.collectord, s.r.bins.Collectord)
	testkit.Eventually(s.t, soakDrain, "shipperd to prove everything", func() bool {
		s.monitor.look()
		return s.r.count(`SELECT (SELECT count(*) FROM metrics WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0)
			+ (SELECT count(*) FROM upload_checkpoints WHERE state <> 'verified')`) == 0
	})
	shipperd.finish(s.t)
	shipperd.after = s.procs.endState(s.procs.shipperd, s.r.bins.Shipperd)
	once := s.r.deliver(soakDrain)
	s.monitor.look()
	s.drained = time.Since(start)
	log, err := os.ReadFile(s.procs.logOf(s.r.bins.Shipperd))
	if err != nil {
		s.t.Fatal(err)
	}
	s.logs = append(strings.Split(string(log), `"msg":"shipperd started"`), once)
}

// endState ends a daemon with SIGQUIT, which makes the Go runtime print the stacks of
// all goroutines.
func (c *processes) endState(p *testkit.Proc, bin string) (found endState) {
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

// check fails the test where a promise is broken.
func (s *soak) check(d *difference, l ledger) {
	t := s.t
	if d.rows == 0 || !d.none() {
		t.Errorf("file and server differ: %v\n%s", d, d.few())
	}
	if l.pending+l.accepted+l.rejected+l.dropped != 0 || l.verified != d.rows {
		t.Errorf("not all %d rows are verified: %v", d.rows, l)
	}
	s.r.checkFile()
	if s.monitor.wal.most == 0 || s.monitor.wal.most >= soakWAL {
		t.Errorf("the WAL was up to %d bytes, want less than %d", s.monitor.wal.most, int64(soakWAL))
	}
	collectord, shipperd := s.usages()
	collectord.check(t)
	shipperd.check(t)
}

// connectionsMost is how many connections are enough: two for each restart of the
// server, for the first request after it may find it not there yet, and two a
// minute for those that were idle for too long.
func (s *soak) connectionsMost() int {
	return 6 + 2*(s.counts[killed]+s.counts[stopped]) + 2*int((s.disturbed+s.drained)/time.Minute)
}
