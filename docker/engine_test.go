//go:build dockertest

package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/testkit"
)

// project is not the name in the Compose file, so that the containers, networks, volumes and images
// of the test are its own. The ports are those of the file, so the stack must not run beside it.
const project = "belabox-metrics-test"

// buildLimit is for one command, with the build of the images in it.
const buildLimit = 10 * time.Minute

// ports are those that the Compose file publishes, by service.
var ports = map[string]string{"victoriametrics": "8428", "collectord": "9100", "shipperd": "9101", "receiver": "8427"}

// stack is what docker/docker-compose.yml makes, and the commands of README.md that have not been
// run yet.
type stack struct {
	t        *testing.T
	env      []string
	commands map[string]bool
}

// newStack checks that there is an engine, makes the images that the Dockerfiles start from, and
// has everything removed that the test makes.
func newStack(t *testing.T) *stack {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the test enters networks and changes the root mount: run 'make test-docker' as root")
	}
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Fatalf("no Docker engine answers: install Debian's docker.io, start it with 'service docker start', then run 'make test-docker' again\n%v\n%s", err, out)
	}
	s := &stack{t: t, env: append(os.Environ(), "COMPOSE_PROJECT_NAME="+project), commands: map[string]bool{}}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ {4,}((?:docker|curl|mount) .*)$`).FindAllStringSubmatch(string(text), -1) {
		s.commands[m[1]] = true
	}
	if dir := composeDir(t); dir != "" {
		s.env = append(s.env, "DOCKER_CONFIG="+dir)
	}
	const down = "docker compose -f docker/docker-compose.yml --profile receiver down -v --rmi local"
	s.run(testkit.WaitLimit, down) // what a killed test left
	for service, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("the port of %s is taken: %v; stop what listens there, then run 'make test-docker' again", service, err)
		}
		l.Close()
	}
	for name := range strings.Lines(s.run(buildLimit, "./standins.sh")) {
		name = strings.TrimSpace(name)
		t.Logf("stand-in for %s", name)
		t.Cleanup(func() { s.run(testkit.WaitLimit, "docker rmi "+name) })
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.try(testkit.WaitLimit, "docker compose -f docker/docker-compose.yml --profile receiver ps -a; docker compose -f docker/docker-compose.yml --profile receiver logs --tail 20 collectord shipperd"))
		}
		s.run(testkit.WaitLimit, down)
	})
	return s
}

// try runs a command line in the root of the checkout, and returns all that it printed.
func (s *stack) try(limit time.Duration, line string) (string, error) {
	cmd := exec.Command("timeout", strconv.Itoa(int(limit.Seconds())), "sh", "-c", line)
	cmd.Dir, cmd.Env = testkit.ModuleRoot(s.t), s.env
	if strings.HasPrefix(line, "./") {
		cmd.Dir = filepath.Join(cmd.Dir, "docker")
	}
	var stdout, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &all), &all
	if err := cmd.Run(); err != nil {
		return all.String(), fmt.Errorf("%s: %w\n%s", line, err, all.String())
	}
	return stdout.String(), nil
}

// run is try of a command that must succeed; it returns the standard output.
func (s *stack) run(limit time.Duration, line string) string {
	s.t.Helper()
	out, err := s.try(limit, line)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// readme runs the command of README.md that ends like that, to the letter.
func (s *stack) readme(end string) string {
	s.t.Helper()
	for line := range s.commands {
		if strings.HasSuffix(line, end) {
			delete(s.commands, line)
			began := time.Now()
			out := s.run(buildLimit, line)
			s.t.Logf("%v: %s", time.Since(began).Round(time.Second), line)
			return out
		}
	}
	s.t.Fatalf("README.md has no command that ends with %q", end)
	return ""
}

// container is what the tests want to know of one.
type container struct {
	State struct {
		Pid    int
		Health struct{ Status string }
	}
	HostConfig      struct{ ReadonlyRootfs bool }
	NetworkSettings struct {
		Networks map[string]struct{ Gateway string }
	}
}

func (s *stack) inspect(service string) (c container, err error) {
	out, err := s.try(testkit.WaitLimit, "docker inspect "+project+"-"+service+"-1")
	if err != nil {
		return c, err
	}
	list := []container{}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		return c, fmt.Errorf("%d containers: %w", len(list), err)
	}
	return list[0], nil
}

// healthy waits until the health checks of the services have passed, in processes other than
// before.
func (s *stack) healthy(before map[string]int, services ...string) map[string]int {
	s.t.Helper()
	pids := map[string]int{}
	for _, service := range services {
		testkit.Eventually(s.t, 2*testkit.WaitLimit, service+": healthy", func() error {
			c, err := s.inspect(service)
			if err == nil && (c.State.Health.Status != "healthy" || c.State.Pid == 0 || c.State.Pid == before[service]) {
				err = fmt.Errorf("process %d, before %d, is %q", c.State.Pid, before[service], c.State.Health.Status)
			}
			pids[service] = c.State.Pid
			return err
		})
	}
	return pids
}

// composeVersion is the last of version 2. Its module has "exclude" directives, with which "go
// install" refuses it, so a module of the test's own requires it.
const composeVersion = "v2.40.3"

// composeDir returns a folder for DOCKER_CONFIG with Compose as a plugin; "" if docker has it
// already. It is built once, which takes minutes, and kept in the user's cache.
func composeDir(t *testing.T) string {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() == nil {
		return ""
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "belabox-metrics", "compose-"+composeVersion)
	program := filepath.Join(dir, "cli-plugins", "docker-compose")
	if _, err := os.Stat(program); err == nil {
		return dir
	}
	began, module := time.Now(), t.TempDir()
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte("module compose\n\ngo 1.26\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Renamed when it is complete: a run that was killed leaves nothing under the name.
	for _, line := range []string{
		"go get github.com/docker/compose/v2/cmd@" + composeVersion,
		"go build -trimpath -ldflags '-s -w -X github.com/docker/compose/v2/internal.Version=" + composeVersion +
			"' -o '" + program + ".new' github.com/docker/compose/v2/cmd",
		"mv '" + program + ".new' '" + program + "'",
	} {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env = module, append(os.Environ(), "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build Compose: %s: %v\n%s", line, err, out)
		}
	}
	t.Logf("%v: Compose %s built", time.Since(began).Round(time.Second), composeVersion)
	return dir
}

// TestEngine walks through README.md with a real engine, to the letter: start, look, ask, kill,
// stop, start, and the receiver and file systems.
func TestEngine(t *testing.T) {
	s := newStack(t)
	vm := testkit.Client{BaseURL: "http://127.0.0.1:8428"}
	services := []string{"victoriametrics", "collectord", "shipperd"}

	s.readme("docker-compose.yml up -d --build")
	pids := s.healthy(nil, services...)
	t.Log(s.readme("docker-compose.yml ps"))
	s.hardened(services, pids)
	s.pages()
	s.isolated(pids)
	s.hostSeen(vm, pids["collectord"])
	t.Log(s.readme("belabox-shipperd status"))
	s.queries(vm)
	t.Log(s.readme("belabox-shipperd doctor"))

	// kill -9 of both: Docker starts them again. "docker kill" would count as a wish to stop them.
	for _, service := range []string{"collectord", "shipperd"} {
		if err := syscall.Kill(pids[service], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	pids = s.healthy(map[string]int{"collectord": pids["collectord"], "shipperd": pids["shipperd"]}, services...)
	s.run(buildLimit, "docker compose -f docker/docker-compose.yml down")
	s.run(buildLimit, "docker compose -f docker/docker-compose.yml up -d")
	s.healthy(pids, services...)
	testkit.Eventually(t, 2*testkit.WaitLimit, "an audit that agrees", func() error {
		out, err := s.try(testkit.WaitLimit, "docker compose -f docker/docker-compose.yml exec -T shipperd belabox-shipperd audit")
		if err == nil {
			t.Log(out)
		}
		return err
	})

	s.receiver()
	s.filesystems(vm)
	if len(s.commands) > 0 {
		t.Errorf("commands of README.md that the test does not run: %q", slices.Collect(maps.Keys(s.commands)))
	}
}

// hardened: no user's rights, no capabilities, nothing to write to but the volumes, and small
// images.
func (s *stack) hardened(services []string, pids map[string]int) {
	s.t.Helper()
	for _, service := range services {
		c, err := s.inspect(service)
		if err != nil {
			s.t.Fatal(err)
		}
		if !c.HostConfig.ReadonlyRootfs {
			s.t.Errorf("%s can write to its image", service)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[service]))
		if err != nil {
			s.t.Fatal(err)
		}
		want := []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"}
		if service != "victoriametrics" {
			want = append(want, "Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n")
			size, err := strconv.Atoi(strings.TrimSpace(s.run(testkit.WaitLimit, "docker image inspect -f '{{.Size}}' "+project+"-"+service)))
			if s.t.Logf("the image of %s has %.1f MB", service, float64(size)/1e6); err != nil || size > 25e6 {
				s.t.Errorf("the image of %s has %d bytes, %v, want about 20 MB at most", service, size, err)
			}
		}
		for _, line := range want {
			if !strings.Contains(string(status), line) {
				s.t.Errorf("%s lacks %q in\n%s", service, line, status)
			}
		}
	}
}

// pages: each daemon answers on its own port of the loopback address, with its page, and on no
// other address.
func (s *stack) pages() {
	s.t.Helper()
	for _, daemon := range []string{"collectord", "shipperd"} {
		for path, want := range map[string]string{"/": "<html", "/health/live": "", "/health": `"name": "` + daemon + `"`, "/metrics": "\n"} {
			resp, err := http.Get("http://127.0.0.1:" + ports[daemon] + path)
			if err != nil {
				s.t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				s.t.Errorf("%s%s: %s, %v, want %q in\n%s", daemon, path, resp.Status, err, want, body)
			}
		}
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, a := range addresses {
			if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
				if conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), ports[daemon]), testkit.WaitLimit); err == nil {
					conn.Close()
					s.t.Errorf("%s answers on %v, too", daemon, ip)
				}
			}
		}
	}
}

// isolated: what shipperd reaches through its gateway, collectord does not, and no name server
// answers it. The world is a listener on the host, at the address of another network.
func (s *stack) isolated(pids map[string]int) {
	s.t.Helper()
	c, err := s.inspect("shipperd")
	if err != nil {
		s.t.Fatal(err)
	}
	gateway := c.NetworkSettings.Networks[project+"_default"].Gateway
	world, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer world.Close()
	dial := func(service string) error {
		return inNetwork(pids[service], func() error {
			conn, err := net.DialTimeout("tcp", world.Addr().String(), testkit.WaitLimit)
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
	if err := dial("shipperd"); err != nil {
		s.t.Errorf("shipperd reaches nobody: %v", err)
	}
	if err := dial("collectord"); !errors.Is(err, syscall.EHOSTUNREACH) {
		s.t.Errorf("collectord and the world: %v, want no route", err)
	} else {
		s.t.Log("collectord and the world:", err)
	}
	// Docker's own name server, which asks those of the host. RFC 1035: a question for the address
	// of example.com.
	question := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
	err = inNetwork(pids["collectord"], func() error {
		conn, err := net.Dial("udp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, question); err != nil {
			return err
		}
		answer := make([]byte, 512)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := conn.Read(answer); err == nil && n > 7 && answer[3]&15 == 0 {
			return fmt.Errorf("an answer of %d bytes", n)
		}
		return nil
	})
	if err != nil {
		s.t.Errorf("collectord and the name servers: %v", err)
	}
}

// inNetwork calls f in the network of a process.
func inNetwork(pid int, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			defer network.Close()
			err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// hostSeen: what collectord samples on the host itself, under which id, it samples in the
// container, too. File systems are a variant of their own.
func (s *stack) hostSeen(vm testkit.Client, pid int) {
	s.t.Helper()
	out, err := exec.Command(testkit.Binaries(s.t).Collectord, "-once").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	missing := map[string]bool{"time_clock_synchronised{}": true} // adjtimex is allowed in the container
	id := ""
	for line := range strings.Lines(string(out)) {
		var sample struct {
			ID   string `json:"device_id"`
			Name string
			Tags map[string]string
			Text string `json:"value_text"`
		}
		if err := json.Unmarshal([]byte(line), &sample); err != nil {
			s.t.Fatalf("%v in %s", err, line)
		}
		id = sample.ID
		if sample.Text == "" && !strings.HasPrefix(sample.Name, "filesystem.") { // texts are not sent
			sample.Tags["__name__"] = strings.ReplaceAll(sample.Name, ".", "_")
			missing[testkit.SeriesKey(sample.Tags)] = true
		}
	}
	s.t.Logf("%d series of the host", len(missing))
	testkit.Eventually(s.t, testkit.WaitLimit, "the host's series", func() error {
		list, err := vm.Export(`{device_id="` + id + `"}`)
		for _, series := range list {
			delete(series.Metric, "device_id")
			delete(missing, series.Key())
		}
		if err == nil && len(missing) > 0 {
			err = fmt.Errorf("%d are missing: %q", len(missing), slices.Sorted(maps.Keys(missing)))
		}
		return err
	})
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/class", "/sys/block"} { // of units, boards, disks
		here, err := os.ReadDir(dir)
		there, err2 := os.ReadDir(fmt.Sprintf("/proc/%d/root/host%s", pid, dir))
		if err != nil || err2 != nil || len(here) == 0 || len(here) != len(there) {
			s.t.Errorf("%s has %d entries here and %d in the container, %v, %v", dir, len(here), len(there), err, err2)
		}
	}
}

// queries: all queries of README.md have a result. One asks for a device that has been silent for a
// while.
func (s *stack) queries(vm testkit.Client) {
	s.t.Helper()
	if err := vm.Import(fmt.Sprintf(`{"metric":{"__name__":"system_uptime_seconds","device_id":"silent"},"values":[1],"timestamps":[%d]}`,
		time.Now().Add(-time.Hour).UnixMilli())); err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```promql\n")
	block, _, _ = strings.Cut(block, "```")
	n := 0
	for query := range strings.Lines(block) {
		if strings.HasPrefix(query, "#") {
			continue
		}
		n++
		testkit.Eventually(s.t, testkit.WaitLimit, "a result of "+query, func() error {
			results, err := vm.Query(query, time.Now())
			if err == nil && len(results) == 0 {
				err = errors.New("no result")
			}
			return err
		})
	}
	if s.t.Logf("%d queries of README.md have results", n); n < 10 {
		s.t.Errorf("README.md has %d queries", n)
	}
}

// receiver: its profile starts, takes a sample, and exports it by the command of README.md.
func (s *stack) receiver() {
	s.t.Helper()
	s.readme("--profile receiver up -d --build")
	s.hardened([]string{"receiver"}, s.healthy(nil, "receiver"))
	receiver := testkit.Client{BaseURL: "http://127.0.0.1:" + ports["receiver"]}
	if err := receiver.Import(fmt.Sprintf(`{"metric":{"__name__":"m","device_id":"encoder-07"},"values":[42],"timestamps":[%d]}`, time.Now().UnixMilli())); err != nil {
		s.t.Fatal(err)
	}
	if out := s.readme(`'match[]={device_id="encoder-07"}'`); !strings.Contains(out, `"values":[42]`) {
		s.t.Errorf("the receiver exports %q", out)
	}
}

// filesystems: the variant starts with a shared root mount. With a private one Docker refuses it,
// and README.md has its words and the command that helps. All mounts are afterwards what they were.
func (s *stack) filesystems(vm testkit.Client) {
	s.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		for line := range strings.Lines(string(mounts)) { // proc_pid_mountinfo(5)
			if optional, _, _ := strings.Cut(line, " - "); !strings.Contains(optional, " shared:") {
				_ = unix.Mount("", strings.Fields(line)[4], "", unix.MS_PRIVATE, "") // those of containers are gone
			}
		}
	})
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE, ""); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.try(buildLimit, "docker compose -f docker/docker-compose.yml -f docker/docker-compose.filesystems.yml up -d")
	if want := "path / is mounted on / but it is not a shared or slave mount"; err == nil || !strings.Contains(out, want) {
		s.t.Errorf("with a private root: %v, %s\nwant %q", err, out, want)
	}
	s.readme("mount --make-rshared /")
	began := time.Now()
	s.readme("docker-compose.filesystems.yml up -d --build")
	s.healthy(nil, "collectord")
	testkit.Eventually(s.t, testkit.WaitLimit, "the size of /", func() error {
		list, err := vm.Export(`filesystem_size_bytes{mountpoint="/"}`)
		if err == nil && !slices.ContainsFunc(list, func(e testkit.ExportedSeries) bool {
			return slices.Max(e.Timestamps) > began.UnixMilli()
		}) {
			err = errors.New("no new sample")
		}
		return err
	})
}
