// Package docker tests what is beside it: the Compose files as YAML, and the Dockerfiles by their
// own build commands. With the tag dockertest also everything together, with a Docker engine:
// engine_test.go.
package docker

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// service has every key that a service of the Compose files uses, in the forms that they use:
// another key is an error.
// https://docs.docker.com/reference/compose-file/services/
type service struct {
	Image, User, Restart string
	Build                struct{ Context, Dockerfile, Target string }
	Command              []string
	Profiles             []string
	ReadOnly             bool     `yaml:"read_only"`
	CapDrop              []string `yaml:"cap_drop"`
	SecurityOpt          []string `yaml:"security_opt"`
	Networks, DNS        []string
	PIDsLimit            int    `yaml:"pids_limit"`
	MemLimit             string `yaml:"mem_limit"`
	CPUs                 float64
	StopGracePeriod      time.Duration `yaml:"stop_grace_period"`
	Environment          map[string]string
	Logging              struct {
		Driver  string
		Options map[string]string
	}
	Ports   []string // HOST_IP:PUBLISHED:TARGET
	Tmpfs   []string
	Volumes []volume
}

type volume struct {
	Type, Source, Target string
	ReadOnly             bool `yaml:"read_only"`
	Bind                 struct {
		Propagation    string
		CreateHostPath *bool `yaml:"create_host_path"`
	}
}

type network struct {
	IPv6 *bool `yaml:"enable_ipv6"`
	IPAM struct {
		Config []struct {
			Subnet       netip.Prefix
			AuxAddresses map[string]netip.Addr `yaml:"aux_addresses"`
		}
	}
}

// UnmarshalYAML reads the long form, or SOURCE:TARGET[:ro].
func (v *volume) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.MappingNode || node.Kind == yaml.AliasNode {
		type long volume
		return node.Decode((*long)(v))
	}
	parts := strings.Split(node.Value, ":")
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" {
		return fmt.Errorf("line %d: volume %q is not SOURCE:TARGET[:ro]", node.Line, node.Value)
	}
	*v = volume{Type: "volume", Source: parts[0], Target: parts[1], ReadOnly: len(parts) == 3}
	if strings.ContainsAny(v.Source[:1], "./") {
		v.Type = "bind"
	}
	return nil
}

// services reads a Compose file. Its volumes with a name are declared.
func services(t testing.TB, file string) map[string]service {
	t.Helper()
	all, _ := read(t, file)
	return all
}

func read(t testing.TB, file string) (map[string]service, map[string]network) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var project struct {
		Name       string
		Services   map[string]service
		Volumes    map[string]struct{}
		Networks   map[string]network
		Extensions map[string]any `yaml:",inline"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&project); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for key := range project.Extensions {
		if !strings.HasPrefix(key, "x-") {
			t.Errorf("%s: unknown key %q", file, key)
		}
	}
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			if _, declared := project.Volumes[v.Source]; v.Type == "volume" && !declared {
				t.Errorf("%s: %s uses the volume %s, which is not declared", file, name, v.Source)
			}
		}
	}
	return project.Services, project.Networks
}

func TestCompose(t *testing.T) {
	t.Parallel()
	all, networks := read(t, "docker-compose.yml")
	for _, name := range []string{"victoriametrics", "collectord", "shipperd", "receiver"} {
		s, ok := all[name]
		if !ok {
			t.Errorf("there is no service %s", name)
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.PIDsLimit <= 0 ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		if s.Logging.Driver != "json-file" || s.Logging.Options["max-size"] != "10m" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s: the log may grow: %+v", name, s.Logging)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, p)
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
			t.Errorf("%s: GOMEMLIMIT is %q with %s in all", name, s.Environment["GOMEMLIMIT"], s.MemLimit)
		}
		if name != "victoriametrics" && s.User != "65532:65532" {
			t.Errorf("%s runs as %q", name, s.User)
		}
		if (name == "receiver") != slices.Equal(s.Profiles, []string{"receiver"}) {
			t.Errorf("%s has the profiles %q", name, s.Profiles)
		}
	}

	vm := all["victoriametrics"]
	image := readDockerfile(t, filepath.Base(vm.Build.Dockerfile)).args["VICTORIAMETRICS"]
	if version, ok := strings.CutPrefix(image, "victoriametrics/victoria-metrics:v"); !ok || older(t, version, "1.97.1") {
		t.Errorf("VictoriaMetrics is %s, want a pinned version from 1.97.1 on", image)
	} else if text, err := os.ReadFile("README.md"); err != nil || !strings.Contains(string(text), "VictoriaMetrics v"+version+":") {
		t.Errorf("README.md does not say that VictoriaMetrics is v%s, %v", version, err)
	}
	for _, flag := range []string{"-retentionPeriod=30d", "-dedup.minScrapeInterval=1ms"} {
		if !slices.Contains(vm.Command, flag) {
			t.Errorf("VictoriaMetrics has no %s: %q", flag, vm.Command)
		}
	}
	if !slices.Equal(vm.Ports, []string{"127.0.0.1:8428:8428"}) {
		t.Errorf("VictoriaMetrics has the ports %v", vm.Ports)
	}

	mounts := map[string]string{}
	for _, v := range all["collectord"].Volumes {
		mounts[v.Target] = v.Source
	}
	if mounts["/host/proc"] != "/proc" || mounts["/host/sys"] != "/sys" || mounts["/var/lib/belabox-metrics"] != "data" {
		t.Errorf("collectord sees %v", mounts)
	}
	for _, port := range []string{"collectord 127.0.0.1:9100:9100", "shipperd 127.0.0.1:9101:9101"} {
		name, port, _ := strings.Cut(port, " ")
		if got := all[name].Ports; !slices.Equal(got, []string{port}) {
			t.Errorf("%s has the ports %v, want %s", name, got, port)
		}
	}
	// Alone in its network, whose gateway is an address within it that nobody has.
	own := networks["collectord"]
	for name, s := range all {
		if slices.Contains(s.Networks, "collectord") != (name == "collectord") {
			t.Errorf("%s has the networks %q", name, s.Networks)
		}
	}
	if c := all["collectord"]; !slices.Equal(c.DNS, []string{"127.0.0.1"}) || len(c.Networks) != 1 {
		t.Errorf("collectord has the name servers %q and the networks %q", c.DNS, c.Networks)
	}
	if len(own.IPAM.Config) != 1 || own.IPv6 == nil || *own.IPv6 {
		t.Fatalf("the network of collectord is %+v", own)
	}
	if c := own.IPAM.Config[0]; !c.Subnet.Contains(c.AuxAddresses["DefaultGatewayIPv4"]) {
		t.Errorf("the gateway of collectord is %v in %v", c.AuxAddresses, c.Subnet)
	}
	if !slices.ContainsFunc(all["shipperd"].Volumes, func(v volume) bool { return v.Source == "data" }) {
		t.Error("shipperd has another database than collectord")
	}
}

// below reports whether a limit for Go (MiB) is below one for a container (m).
func below(t testing.TB, goLimit, limit string) bool {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(goLimit, "MiB"))
	most, err2 := strconv.Atoi(strings.TrimSuffix(limit, "m"))
	return err == nil && err2 == nil && n > 0 && n < most
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

// Each service that is built is a stage of its Dockerfile, and the flags it is given are flags of
// its program.
func TestCompose_Builds(t *testing.T) {
	t.Parallel()
	for name, s := range services(t, "docker-compose.yml") {
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
}

// The second file adds to collectord the host's root, read-only, and its configuration, and nothing
// else.
func TestCompose_Filesystems(t *testing.T) {
	t.Parallel()
	all := services(t, "docker-compose.filesystems.yml")
	collectord := all["collectord"]
	var root, settings volume
	for _, v := range collectord.Volumes {
		switch v.Target {
		case "/host/root":
			root = v
		case "/etc/belabox-metrics/config.yaml": // in place of the other one: Compose merges volumes by target
			settings = v
		}
	}
	if root.Source != "/" || !root.ReadOnly || root.Bind.Propagation != "rslave" || !settings.ReadOnly {
		t.Errorf("collectord has %+v and %+v", root, settings)
	}
	if want := map[string]service{"collectord": {Volumes: []volume{root, settings}}}; !reflect.DeepEqual(all, want) &&
		!reflect.DeepEqual(all, map[string]service{"collectord": {Volumes: []volume{settings, root}}}) {
		t.Errorf("got %+v\nwant %+v", all, want)
	}
	program := testkit.Binaries(t).Collectord
	if out, err := exec.Command(program, "-check-config", "-config", settings.Source).CombinedOutput(); err != nil {
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

// The configuration in the images is valid for both daemons, and fits the Compose file.
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
	// Else the server accepts samples at the edge and drops them.
	const retention = 30 * 24 * time.Hour // -retentionPeriod=30d, see TestCompose
	if c.Remote.MaxPast > retention-12*time.Hour {
		t.Errorf("remote.max_past is %v, and the server keeps %v", c.Remote.MaxPast, retention)
	}
	for _, want := range []string{"procfs_path: /host/proc", "sysfs_path: /host/sys", "url: http://victoriametrics:8428/api/v1/import", "collectord_listen: 0.0.0.0:9100", "shipperd_listen: 0.0.0.0:9101"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("config.yaml lacks %q", want)
		}
	}
}
