package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// plan is what runs where.
type plan struct {
	bin, data  string
	sinkName   string
	sink       program
	sinkURL    string
	collectord string // host:port of its health
	shipperd   string
}

// ports are those that are wanted. Where one is taken, a higher one serves.
type ports struct{ collectord, shipperd, sink int }

// newPlan chooses the ports and writes the configuration of both daemons. The data
// of an earlier run is kept: the daemons go on where they stopped.
func newPlan(root, data string, wanted ports) (*plan, error) {
	p := &plan{bin: filepath.Join(root, "bin"), data: data}
	taken := map[int]bool{}
	var err error
	listen := func(port int) string {
		if err != nil {
			return ""
		}
		var addr string
		addr, err = freeAddr(port, taken)
		return addr
	}
	p.collectord, p.shipperd = listen(wanted.collectord), listen(wanted.shipperd)
	sinkAddr := listen(wanted.sink)
	if err != nil {
		return nil, err
	}
	p.sinkURL = "http://" + sinkAddr
	p.sink = program{name: "sink", addr: sinkAddr, ready: "/health"}
	if path, err := exec.LookPath("victoria-metrics"); err == nil {
		p.sinkName = "VictoriaMetrics"
		p.sink.path = path
		p.sink.args = []string{
			"-httpListenAddr=" + sinkAddr,
			"-storageDataPath=" + filepath.Join(data, "victoria-metrics"),
			"-loggerLevel=WARN",
		}
	} else {
		p.sinkName = "the receiver of this project, as victoria-metrics is not on the PATH"
		p.sink.path = filepath.Join(p.bin, "receiver")
		p.sink.args = []string{"-listen", sinkAddr, "-db", filepath.Join(data, "receiver.db")}
	}
	return p, os.WriteFile(p.config(), []byte(p.configText()), 0o644)
}

func (p *plan) config() string { return filepath.Join(p.data, "config.yaml") }

// configText has shorter intervals than the defaults: a sample every second, an
// upload every five.
func (p *plan) configText() string {
	return fmt.Sprintf(`# Written anew by every "make run".
device:
  id: devrun
collection:
  interval: 1s
storage:
  path: %s
remote:
  url: %s
  upload_interval: 5s
health:
  collectord_listen: %s
  shipperd_listen: %s
monitoring:
  clock_skew_url: %s
logging:
  format: console
`,
		strconv.Quote(filepath.Join(p.data, "metrics.db")), p.sinkURL+"/api/v1/import",
		p.collectord, p.shipperd, p.sinkURL+"/health")
}

// programs returns what to run, in the order of starting.
func (p *plan) programs() []program {
	daemon := func(name, addr string) program {
		return program{
			name: name, path: filepath.Join(p.bin, name), args: []string{"-config", p.config()},
			addr: addr, ready: "/health/live",
		}
	}
	return []program{p.sink, daemon("collectord", p.collectord), daemon("shipperd", p.shipperd)}
}

func (p *plan) welcome() string {
	return fmt.Sprintf(`
All three are running. Ctrl-C stops them.

  collectord  http://%s/   status page; also /health and /metrics
  shipperd    http://%s/   the same
  sink        %s   %s
  data        %s

Query one metric at the sink, after ten seconds:

  curl -sg '%s/api/v1/export?match[]=memory_used_bytes'

`, p.collectord, p.shipperd, p.sinkURL, p.sinkName, p.data, p.sinkURL)
}

// freeAddr returns the first loopback address from a port upwards on which nothing
// listens.
func freeAddr(port int, taken map[int]bool) (string, error) {
	for p := port; p < port+1000; p++ {
		if taken[p] {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		taken[p] = true
		return addr, l.Close()
	}
	return "", fmt.Errorf("find a free port from %d on: all are taken", port)
}
