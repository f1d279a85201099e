package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// peerSeries is how many samples the peer is fed each time, ten times a second:
// about what a device collects.
const peerSeries = 80

// peer is Debian's vmagent with a disk queue and a VictoriaMetrics of its own,
// killed like ours: the agent whenever shipperd is, the server whenever ours is,
// or, where it is spared, never. It is fed by import, and what it did not answer
// with 204 is not held against it. Its collector, the feeder, is never killed.
type peer struct {
	t      testing.TB
	spared bool // its server
	vm     *testkit.VM
	agent  *testkit.VMAgent
	back   sync.WaitGroup // starts under way
	starts chan error

	stop     chan struct{}
	fed      sync.WaitGroup
	accepted []int64 // timestamps of the ticks answered 204; read after fed

	kills struct{ agent, server int }
}

func startPeer(t testing.TB, spared bool) *peer {
	p := &peer{t: t, spared: spared, vm: testkit.StartVM(t, testkit.VMConfig{}), stop: make(chan struct{}), starts: make(chan error, 2)}
	p.agent = testkit.StartVMAgent(t, testkit.VMAgentConfig{Remote: p.vm.URL()})
	p.fed.Go(p.feed)
	return p
}

func (p *peer) feed() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var lines strings.Builder
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			lines.Reset()
			ts := now.UnixMilli()
			for i := range peerSeries {
				fmt.Fprintf(&lines, `{"metric":{"__name__":"fed","n":"%d"},"values":[%d],"timestamps":[%d]}`+"\n", i, ts%1000, ts)
			}
			if p.agent.Import(lines.String()) == nil {
				p.accepted = append(p.accepted, ts)
			}
		}
	}
}

// kill kills what a round kills and returns while it is being started again.
func (p *peer) kill(b killRound) {
	b.server = b.server && !p.spared
	if !b.shipperd && !b.server {
		return
	}
	p.await()
	if b.shipperd {
		p.agent.Proc().Signal(os.Kill)
		p.kills.agent++
	}
	if b.server {
		p.vm.Proc().Signal(os.Kill)
		p.kills.server++
	}
	if b.shipperd {
		<-p.agent.Proc().Done()
		p.back.Go(func() {
			time.Sleep(b.daemonAway)
			p.starts <- p.agent.Start()
		})
	}
	if b.server {
		<-p.vm.Proc().Done()
		p.back.Go(func() {
			time.Sleep(b.serverAway)
			p.starts <- p.vm.Start()
		})
	}
}

func (p *peer) await() {
	p.back.Wait()
	for len(p.starts) > 0 {
		if err := <-p.starts; err != nil {
			p.t.Fatal(err)
		}
	}
}

// finish lets vmagent deliver all it has and compares.
func (p *peer) finish() string {
	p.await()
	close(p.stop)
	p.fed.Wait()
	// The last samples are in no block for a second, so nothing queued means
	// something only when it lasts.
	quiet := time.Now()
	testkit.Eventually(p.t, testkit.WaitLimit, "vmagent to deliver its queue", func() bool {
		bytes, blocks, err := p.agent.Queued()
		if err != nil || bytes+blocks != 0 {
			quiet = time.Now()
		}
		return time.Since(quiet) > 3*time.Second
	})
	if err := p.agent.Stop(); err != nil {
		p.t.Error(err)
	}
	if err := p.vm.ForceFlush(); err != nil {
		p.t.Fatal(err)
	}
	exported, err := p.vm.Export("fed")
	if err != nil {
		p.t.Fatal(err)
	}
	missing, doubled := p.count(exported)
	name := "vmagent, the same kills"
	if p.spared {
		name = "vmagent, its own kills alone"
	}
	return fmt.Sprintf("%s: %d samples answered 204: %d missing at the server, %d there more than once; kills: vmagent %d, VictoriaMetrics %d", name,
		len(p.accepted)*peerSeries, missing, doubled, p.kills.agent, p.kills.server)
}

// count compares what was accepted with what the server has of it.
func (p *peer) count(exported []testkit.ExportedSeries) (missing, doubled int) {
	have := map[sample]int{}
	for _, s := range exported {
		name := s.Key()
		for _, ts := range s.Timestamps {
			have[sample{name, ts}]++
		}
	}
	for i := range peerSeries {
		name := fmt.Sprintf(`fed{n="%d"}`, i)
		for _, ts := range p.accepted {
			switch n := have[sample{name, ts}]; {
			case n == 0:
				missing++
			case n > 1:
				doubled++
			}
		}
	}
	return missing, doubled
}
