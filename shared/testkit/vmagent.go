package testkit

import (
	"strconv"
	"testing"
)

// VMAgentConfig is what a test may want different from a stock vmagent.
type VMAgentConfig struct {
	Remote string   // address of the server that it ships to, without a path
	Flags  []string // further flags: "-remoteWrite.flushInterval=100ms"
	Dir    string   // its queue; "" is a directory that ends with the test
}

// VMAgent is VictoriaMetrics' own agent on a loopback port, the program that ours
// is measured beside. It takes samples by Import and ships them by remote write.
type VMAgent struct {
	*server
	dir string
}

// StartVMAgent starts vmagent, which comes in Debian's package of
// VictoriaMetrics, and returns when it answers. It is killed when the test ends.
func StartVMAgent(t testing.TB, cfg VMAgentConfig) *VMAgent {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	args := append([]string{"-remoteWrite.url=" + cfg.Remote + "/api/v1/write", "-remoteWrite.tmpDataPath=" + cfg.Dir}, cfg.Flags...)
	return &VMAgent{startServer(t, "vmagent", "-remoteWrite.tmpDataPath="+strconv.Quote(cfg.Dir), args...), cfg.Dir}
}

// Dir returns where the queue is.
func (a *VMAgent) Dir() string { return a.dir }

// Start brings a vmagent that was stopped or killed back, once: one that finds its
// port taken ends, and has lost its queue.
func (a *VMAgent) Start() error { return a.launch() }

// Queued returns how much it has taken and not delivered: the bytes of the blocks
// in its queue, and the number of blocks in memory or under way. What came in
// within the last flush interval (1 s) is not in a block yet and not counted.
func (a *VMAgent) Queued() (bytes, blocks int64, err error) {
	page, err := a.Metrics()
	if err != nil {
		return 0, 0, err
	}
	for _, count := range []struct {
		to         *int64
		sign       int64
		name, also string
	}{
		{&bytes, 1, "vmagent_remotewrite_pending_data_bytes{", ""},
		{&blocks, 1, "vmagent_remotewrite_pending_inmemory_blocks{", ""},
		{&blocks, 1, "vmagent_remotewrite_blocks_sent_total{", ""}, // counted when taken from the queue
		{&blocks, -1, "vmagent_remotewrite_requests_total{", `status_code="2XX"`},
	} {
		n, err := page.Sum(count.name, count.also)
		if err != nil {
			return 0, 0, err
		}
		*count.to += count.sign * n
	}
	return bytes, blocks, nil
}
