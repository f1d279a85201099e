package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var (
	crashRounds = flag.Int("crash.rounds", 10, "rounds of TestCrash")
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash's dice; 0 takes one from the clock")
)

// fullCrash is from how many rounds on TestCrash has vmagent beside ours.
const fullCrash = 50

// TestCrash kills both binaries, collecting ten times a second, and a stock
// VictoriaMetrics with SIGKILL at random moments, sometimes together, and starts
// them again. A killed VictoriaMetrics forgets up to
// ten seconds of what it has answered 204 to. At the end every row of the file is
// at the server exactly once, the ledger adds up and the file is whole.
//
// The seed repeats who is killed and after which pause; the moment within a
// process's work it cannot repeat. A failed run leaves its files behind.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d rounds; repeat with -crash.seed=%d", *crashRounds, seed)
	server := t.TempDir()
	vm := testkit.StartVM(t, testkit.VMConfig{Dir: server})
	r := newRig(t, vm.ImportURL(), map[string]string{"collection": "interval: 100ms\ncollectors:\n  filesystem: {enabled: false}", "logging": "level: debug"})
	var d difference
	defer func() { keepFiles(t, seed, vm, &d, map[string]string{"device": r.dir, "server": server}) }()
	exportMeanwhile(t, vm)

	start := time.Now()
	c, peers := runKillRounds(r, vm, rand.New(rand.NewPCG(seed, 0)))
	killing := time.Since(start)
	start = time.Now()
	r.deliver(deliverLimit)
	d = r.compare(vm.Client)
	l := r.ledger()
	report := []string{
		fmt.Sprintf("%d rounds in %.0f s, then %.0f s to settle; kills: %v", *crashRounds, killing.Seconds(), time.Since(start).Seconds(), c),
		fmt.Sprintf("belabox-metrics: %v", &d),
		fmt.Sprintf("%d ticks, %d chunks, %d of them sent more than once; %v",
			r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows"),
			r.count("SELECT count(*) FROM upload_checkpoints"),
			r.count("SELECT count(*) FROM upload_checkpoints WHERE attempts > 1"), l),
	}
	for _, p := range peers {
		report = append(report, p.finish())
	}
	t.Log(strings.Join(report, "\n"))

	if d.rows == 0 || !d.none() {
		t.Errorf("file and server differ: %v\n%s", &d, d.few())
	}
	if l.pending+l.accepted+l.rejected+l.dropped != 0 {
		t.Errorf("not all is verified: %v", l)
	}
	r.checkFile()
}

// runKillRounds runs the rounds; at the end the daemons have been stopped in order
// and the server is there.
func runKillRounds(r *rig, vm *testkit.VM, dice *rand.Rand) (c *processes, peers []*peer) {
	c = startProcesses(r, vm)
	if *crashRounds >= fullCrash {
		peers = []*peer{startPeer(r.t, false), startPeer(r.t, true)}
	}
	for round := range *crashRounds {
		b := drawKillRound(dice)
		c.kill(b)
		for _, p := range peers {
			p.kill(b)
		}
		if r.t.Failed() {
			r.t.Fatalf("in round %d: %v", round+1, b)
		}
	}
	c.stopAll()
	return c, peers
}

// exportMeanwhile is another user of the server, who exports twice a second. Only raw
// exports are affected by that, see testkit.Client.ExportRaw.
func exportMeanwhile(t *testing.T, vm *testkit.VM) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
				_, _ = vm.Export(`{__name__=~"network_receive_.*"}`) // the server may be away
			}
		}
	})
}

// keepFiles copies the folders of a failed run to where the test's end does not
// delete them, with what the comparison found.
func keepFiles(t *testing.T, seed uint64, vm *testkit.VM, found *difference, dirs map[string]string) {
	if !t.Failed() {
		return
	}
	err := vm.Stop()
	root, failure := os.MkdirTemp("", fmt.Sprintf("crash-%d-", seed))
	err = errors.Join(err, failure)
	for name, dir := range dirs {
		err = errors.Join(err, os.CopyFS(filepath.Join(root, name), os.DirFS(dir)))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(root, "faults"), []byte(strings.Join(found.faults, "\n")), 0o600))
	t.Logf("database, logs and the server's data are kept in %s (%v)", root, err)
}
