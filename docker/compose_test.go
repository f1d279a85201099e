// Package docker tests what is beside it: the Compose files by their schema, and the Dockerfiles by their own build
// commands. Images themselves take a Docker engine and are not built.
package docker

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// service is what the test wants to know of a service, as Compose itself reads it.
type service struct {
	Image       string
	Build       struct{ Context, Dockerfile, Target string }
	Command     []string
	User        string
	Profiles    []string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	CapAdd      []string `json:"cap_add"`
	Privileged  bool
	SecurityOpt []string `json:"security_opt"`
	NetworkMode string   `json:"network_mode"`
	PIDsLimit   int      `json:"pids_limit"`
	MemLimit    string   `json:"mem_limit"`
	Environment map[string]string
	Logging     struct {
		Driver  string
		Options map[string]string
	}
	Ports []struct {
		HostIP    string `json:"host_ip"`
		Target    int
		Published string
	}
	Volumes     []volume
	Healthcheck struct{ Test []string }
	Secrets     []struct{ Source, Target string }
}

type volume struct {
	Type, Source, Target string
	ReadOnly             bool `json:"read_only"`
	Bind                 struct {
		Propagation    string
		CreateHostPath *bool `json:"create_host_path"`
	}
}

// services loads the Compose file, with its schema, by the library of Docker Compose.
func services(t testing.TB) map[string]service {
	t.Helper()
	all, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var plain = sync.OnceValues(func() (map[string]service, error) { return load("../docker-compose.yml") })

func load(files ...string) (map[string]service, error) {
	cmd := exec.Command("go", append([]string{"-C", "composecheck", "run", ".", "receiver"}, files...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd, err, errs.String())
	}
	var project struct{ Services map[string]service }
	err := json.Unmarshal([]byte(out.String()), &project)
	return project.Services, err
}

func TestCompose(t *testing.T) {
	t.Parallel()
	all := services(t)
	for _, name := range []string{"victoriametrics", "collectord", "shipperd", "receiver"} {
		s, ok := all[name]
		if !ok {
			t.Errorf("there is no service %s", name)
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged || s.PIDsLimit <= 0 ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		if s.Logging.Driver != "json-file" || s.Logging.Options["max-size"] != "10m" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s: the log may grow: %+v", name, s.Logging)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network", name, p.Published)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == "bind" && !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
			// Else Docker would make a folder of it on a host without one.
			if v.Source == "/etc/machine-id" && (v.Bind.CreateHostPath == nil || *v.Bind.CreateHostPath) {
				t.Errorf("%s may make %s", name, v.Source)
			}
		}
		if s.MemLimit != "" && !below(t, s.Environment["GOMEMLIMIT"], s.MemLimit) {
			t.Errorf("%s: GOMEMLIMIT is %q with %s bytes in all", name, s.Environment["GOMEMLIMIT"], s.MemLimit)
		}
		if name != "victoriametrics" && s.User != "65532:65532" {
			t.Errorf("%s runs as %q", name, s.User)
		}
		if (name == "receiver") != slices.Equal(s.Profiles, []string{"receiver"}) {
			t.Errorf("%s has the profiles %q", name, s.Profiles)
		}
	}

	vm := all["victoriametrics"]
	if version, ok := strings.CutPrefix(vm.Image, "victoriametrics/victoria-metrics:v"); !ok || older(t, version, "1.97.1") {
		t.Errorf("VictoriaMetrics is %s, want a pinned version from 1.97.1 on", vm.Image)
	}
	for _, flag := range []string{"-retentionPeriod=30d", "-dedup.minScrapeInterval=1ms"} {
		if !slices.Contains(vm.Command, flag) {
			t.Errorf("VictoriaMetrics has no %s: %q", flag, vm.Command)
		}
	}
	if len(vm.Healthcheck.Test) == 0 || !strings.HasSuffix(vm.Healthcheck.Test[len(vm.Healthcheck.Test)-1], "8428/health") {
		t.Errorf("VictoriaMetrics has the health check %q", vm.Healthcheck.Test)
	}
	if len(vm.Ports) != 1 || vm.Ports[0].Published != "8428" {
		t.Errorf("VictoriaMetrics has the ports %v", vm.Ports)
	}

	mounts := map[string]string{}
	for _, v := range all["collectord"].Volumes {
		mounts[v.Target] = v.Source
	}
	if mounts["/host/proc"] != "/proc" || mounts["/host/sys"] != "/sys" || mounts["/var/lib/belabox-metrics"] != "data" {
		t.Errorf("collectord sees %v", mounts)
	}
	if got := all["collectord"].NetworkMode; got != "none" {
		t.Errorf("collectord has the network %q, want none", got)
	}
	if !slices.ContainsFunc(all["shipperd"].Volumes, func(v volume) bool { return v.Source == "data" }) {
		t.Error("shipperd has another database than collectord")
	}
	if s := all["receiver"].Secrets; len(s) != 1 || !slices.Contains(all["receiver"].Command, "-tokens="+s[0].Target) {
		t.Errorf("the receiver has the secrets %v and the flags %q", s, all["receiver"].Command)
	}
}

// below tells whether a limit in MiB is below one in bytes.
func below(t testing.TB, mib, bytes string) bool {
	t.Helper()
	number, ok := strings.CutSuffix(mib, "MiB")
	n, err := strconv.Atoi(number)
	most, err2 := strconv.Atoi(bytes)
	return ok && err == nil && err2 == nil && n > 0 && n<<20 < most
}

// older compares versions of three numbers.
func older(t testing.TB, version, than string) bool {
	t.Helper()
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range b {
		if i >= len(a) {
			return true
		}
		x, err := strconv.Atoi(a[i])
		y, err2 := strconv.Atoi(b[i])
		if err != nil || err2 != nil {
			t.Fatalf("version %q: %v, %v", version, err, err2)
		}
		if x != y {
			return x < y
		}
	}
	return false
}

// Each service that is built is a stage of its Dockerfile, and the flags it is given are flags of its program.
func TestCompose_Builds(t *testing.T) {
	t.Parallel()
	for name, s := range services(t) {
		if s.Image != "" {
			continue
		}
		if s.Build.Context != ".." {
			t.Errorf("%s: the context is %q", name, s.Build.Context)
		}
		d := readDockerfile(t, filepath.Base(s.Build.Dockerfile))
		if s.Build.Target != "" && !slices.ContainsFunc(d.stages, func(st stage) bool { return st.name == s.Build.Target }) {
			t.Errorf("%s: %s has no stage %s", name, s.Build.Dockerfile, s.Build.Target)
		}
	}
	receiver := testkit.Binaries(t).Receiver
	args := append([]string{"-version"}, services(t)["receiver"].Command...)
	if out, err := exec.Command(receiver, args...).CombinedOutput(); err != nil {
		t.Errorf("receiver %q: %v\n%s", args, err, out)
	}
}

// With the second file collectord sees the host's root, read-only, and nothing else differs.
func TestCompose_Filesystems(t *testing.T) {
	t.Parallel()
	all, err := load("../docker-compose.yml", "../docker-compose.filesystems.yml")
	if err != nil {
		t.Fatal(err)
	}
	base := services(t)
	got := all["collectord"]
	var root, settings volume
	for i, v := range slices.Backward(got.Volumes) {
		switch v.Target {
		case "/host/root":
			root = v
			got.Volumes = slices.Delete(got.Volumes, i, i+1)
		case "/etc/belabox-metrics/config.yaml":
			settings = v
			got.Volumes[i].Source = "./config.yaml"
		}
	}
	if root.Source != "/" || !root.ReadOnly || root.Bind.Propagation != "rslave" || !settings.ReadOnly {
		t.Errorf("collectord has %+v and %+v", root, settings)
	}
	if all["collectord"] = got; !reflect.DeepEqual(all, base) {
		t.Errorf("got %+v\nwant %+v", all, base)
	}
	collectord := testkit.Binaries(t).Collectord
	if out, err := exec.Command(collectord, "-check-config", "-config", settings.Source).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", settings.Source, err, out)
	}
	// It is config.yaml but for this.
	want := strings.NewReplacer("  collectors:\n    filesystem: {enabled: false} # takes docker-compose.filesystems.yml\n", "  rootfs_path: /host/root\n").
		Replace(body(t, "config.yaml"))
	if got := body(t, settings.Source); got != want {
		t.Errorf("%s is\n%swant\n%s", settings.Source, got, want)
	}
}

// body is a file without the comment at its beginning.
func body(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	return rest
}

// The configuration in the images is one that both daemons take, and says what the Compose file does.
func TestConfig(t *testing.T) {
	t.Parallel()
	bins := testkit.Binaries(t)
	for _, bin := range []string{bins.Collectord, bins.Shipperd} {
		if out, err := exec.Command(bin, "-check-config", "-config", "config.yaml").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", bin, err, out)
		}
	}
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Else the server says yes to samples at the edge and throws them away.
	const retention = 30 * 24 * time.Hour // -retentionPeriod=30d, see TestCompose
	if c.Remote.MaxPast > retention-12*time.Hour {
		t.Errorf("remote.max_past is %v, and the server keeps %v", c.Remote.MaxPast, retention)
	}
	for _, want := range []string{"procfs_path: /host/proc", "sysfs_path: /host/sys", "url: http://victoriametrics:8428/api/v1/import"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("config.yaml lacks %q", want)
		}
	}
}
