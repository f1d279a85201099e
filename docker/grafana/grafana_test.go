// Package grafana tests the dashboards beside it: each query of theirs gives an
// answer on a real VictoriaMetrics that has the project's metrics, and asks for no
// other.
package grafana

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/testkit"
)

// dashboard is what the test wants to know of one.
type dashboard struct {
	UID        string
	Title      string
	Schema     int `json:"schemaVersion"`
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name       string
	Definition string
	Query      struct{ Query string }
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("got %q, %v, want one for a device and one for a fleet", files, err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

// metric is a row of docs/metrics.md, which is generated from the tables that the
// daemons use.
type metric struct {
	name, kind string // name with underscores
	labels     []string
}

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (gauge|counter|histogram) \\| [^|]* \\| ([^|]*) \\|")

func catalogue(t *testing.T) (all []metric) {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		found := metric{name: strings.ReplaceAll(m[1], ".", "_"), kind: m[2]}
		for _, label := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			found.labels = append(found.labels, label[1])
		}
		all = append(all, found)
	}
	if len(all) < 70 {
		t.Fatalf("docs/metrics.md has %d metrics: its form must have changed", len(all))
	}
	return all
}

// values are what labels can be; "all" is what cpu.usage_percent has.
func values(label string) []string {
	switch label {
	case "core":
		return []string{"all", "0"}
	case "daemon":
		return []string{"collectord", "shipperd"}
	}
	return []string{label + "-a", label + "-b"}
}

const device = "box-1"

// fill imports an hour of every metric for three devices.
func fill(t *testing.T, vm *testkit.VM, all []metric, now time.Time) {
	t.Helper()
	var lines strings.Builder
	line := func(name string, labels map[string]string, value func(i int) float64) {
		l := struct {
			Metric     map[string]string `json:"metric"`
			Values     []float64         `json:"values"`
			Timestamps []int64           `json:"timestamps"`
		}{Metric: map[string]string{"__name__": name}}
		maps.Copy(l.Metric, labels)
		for i := range 61 {
			l.Values = append(l.Values, value(i))
			l.Timestamps = append(l.Timestamps, now.Add(time.Duration(i-60)*time.Minute).UnixMilli())
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	for _, id := range []string{device, "box-2", "box-3"} {
		for _, m := range all {
			gauge := func(i int) float64 { return 40 + float64(i%7) }
			counter := func(i int) float64 { return 1000 + 60*float64(i) }
			switch m.kind {
			case "histogram":
				for j, le := range []string{"0.1", "1", "+Inf"} {
					line(m.name+"_bucket", map[string]string{"device_id": id, "le": le}, func(i int) float64 { return float64((j + 1) * i) })
				}
				line(m.name+"_sum", map[string]string{"device_id": id}, counter)
				line(m.name+"_count", map[string]string{"device_id": id}, counter)
			default:
				value := gauge
				if m.kind == "counter" {
					value = counter
				}
				for i := range 2 {
					labels := map[string]string{"device_id": id}
					for _, label := range m.labels {
						labels[label] = values(label)[i]
					}
					line(m.name, labels, value)
					if len(m.labels) == 0 {
						break
					}
				}
			}
		}
	}
	if err := vm.Import(lines.String()); err != nil {
		t.Fatal(err)
	}
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
}

// filled puts values in the place of the variables, as Grafana does.
var filled = strings.NewReplacer("$device", device, "$__rate_interval", "5m", "$__range", "1h")

func TestDashboards_EveryQueryAnswers(t *testing.T) {
	t.Parallel()
	all := catalogue(t)
	vm := testkit.StartVM(t, testkit.VMConfig{})
	now := time.Now().Add(-time.Minute).Truncate(time.Second) // queries hide the last half minute
	fill(t, vm, all, now)
	known := map[string]bool{}
	for _, m := range all {
		known[m.name] = true
		if m.kind == "histogram" {
			known[m.name+"_bucket"], known[m.name+"_sum"], known[m.name+"_count"] = true, true, true
		}
	}
	queries := 0
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				queries++
				query := filled.Replace(target.Expr)
				if strings.Contains(query, "$") {
					t.Errorf("%s, %q: a variable is left in %s", file, p.Title, query)
				}
				for _, name := range metricName.FindAllString(withoutLabels(query), -1) {
					if !known[name] && !functions[name] {
						t.Errorf("%s, %q: there is no metric %s", file, p.Title, name)
					}
				}
				if p.Type == "timeseries" { // Grafana asks for a range
					if draws(t, vm, query, now) == 0 {
						t.Errorf("%s, %q: %s draws nothing", file, p.Title, query)
					}
					continue
				}
				results, err := vm.Query(query, now)
				if err != nil {
					t.Errorf("%s, %q: %s: %v", file, p.Title, query, err)
				} else if len(results) == 0 {
					t.Errorf("%s, %q: %s gives nothing", file, p.Title, query)
				}
			}
		}
	}
	if queries < 60 {
		t.Errorf("got %d queries", queries)
	}
}

// functions are those of the query language whose names look like metrics.
var functions = map[string]bool{
	"last_over_time": true, "tlast_over_time": true, "histogram_quantile": true, "sort_desc": true, "topk_last": true, "device_id": true,
}

// withoutLabels leaves out what stands in braces and quotes.
func withoutLabels(query string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(query, "")
}

func TestDashboards_Form(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for file, d := range dashboards(t) {
		if d.UID == "" || d.Title == "" || uids[d.UID] {
			t.Errorf("%s: uid %q, title %q", file, d.UID, d.Title)
		}
		uids[d.UID] = true
		// Grafana upgrades older dashboards when it loads them; 39 is that of Grafana 10.3,
		// and an older Grafana 10 takes it as it is.
		if d.Schema < 37 || d.Schema > 39 {
			t.Errorf("%s: schema %d", file, d.Schema)
		}
		taken := map[[2]int]string{}
		var ids []int
		for _, p := range d.Panels {
			if slices.Contains(ids, p.ID) || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
				t.Errorf("%s: panel %d, %q, %d queries", file, p.ID, p.Title, len(p.Targets))
			}
			ids = append(ids, p.ID)
			for _, target := range p.Targets {
				if target.Datasource.UID != "victoriametrics" {
					t.Errorf("%s, %q: asks %q", file, p.Title, target.Datasource.UID)
				}
			}
			g := p.GridPos
			if g.W < 1 || g.X+g.W > 24 {
				t.Errorf("%s, %q: %d wide at %d", file, p.Title, g.W, g.X)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q lies on %q", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

func TestProvisioning(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var any map[string]any
		if err := yaml.Unmarshal(text, &any); err != nil || fmt.Sprint(any["apiVersion"]) != "1" {
			t.Errorf("%s: %v, %v", path, any["apiVersion"], err)
		}
		return string(text)
	}
	source := read("provisioning/datasources/victoriametrics.yaml")
	for _, want := range []string{"uid: victoriametrics", "url: http://victoriametrics:8428", "type: prometheus"} {
		if !strings.Contains(source, want) {
			t.Errorf("the data source lacks %q", want)
		}
	}
	if boards := read("provisioning/dashboards/belabox-metrics.yaml"); !strings.Contains(boards, "path: /etc/grafana/belabox-metrics") {
		t.Error("the dashboards are looked for elsewhere than the Compose file puts them")
	}
}

// TestCompose: Grafana finds in its container what stands here, and its port is open
// to this machine alone.
func TestCompose(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services struct{ Grafana yaml.Node } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var g struct {
		Image       string
		Profiles    []string
		Ports       []string
		Volumes     []string
		Environment map[string]string
	}
	if err := file.Services.Grafana.Decode(&g); err != nil || !slices.Equal(g.Profiles, []string{"grafana"}) {
		t.Fatalf("got %+v, %v, want a service grafana with a profile of its own", g, err)
	}
	if major, _, _ := strings.Cut(strings.TrimPrefix(g.Image, "grafana/grafana-oss:"), "."); !slices.Contains([]string{"10", "11", "12"}, major) {
		t.Errorf("got the image %q, want Grafana 10 to 12, pinned", g.Image)
	}
	for _, port := range g.Ports {
		if !strings.HasPrefix(port, "127.0.0.1:") {
			t.Errorf("port %s is open to the network", port)
		}
	}
	for _, mount := range []string{"./grafana/provisioning:/etc/grafana/provisioning:ro", "./grafana/dashboards:/etc/grafana/belabox-metrics:ro"} {
		if !slices.Contains(g.Volumes, mount) {
			t.Errorf("got the mounts %q, want %s", g.Volumes, mount)
		}
	}
	home := strings.TrimPrefix(g.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], "/etc/grafana/belabox-metrics/")
	if _, err := os.Stat(filepath.Join("dashboards", home)); home == "" || err != nil {
		t.Errorf("the first dashboard is %q: %v", home, err)
	}
}
