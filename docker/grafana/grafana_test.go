// Package grafana tests the dashboards beside it: their form, what can be chosen in them, and how
// Grafana finds them. TestQueries of package e2e runs their queries.
package grafana

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
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

// TestDashboards_Variables: every variable of a query is one that Grafana has or that can be
// chosen.
func TestDashboards_Variables(t *testing.T) {
	t.Parallel()
	for file, d := range dashboards(t) {
		chosen := map[string]bool{}
		for _, v := range d.Templating.List {
			chosen["$"+v.Name] = true
			if v.Query.Query != v.Definition {
				t.Errorf("%s: the variable %s asks %q and %q", file, v.Name, v.Definition, v.Query.Query)
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				for _, name := range regexp.MustCompile(`\$[a-z_]+`).FindAllString(target.Expr, -1) {
					if !strings.HasPrefix(name, "$__") && !chosen[name] {
						t.Errorf("%s, %q: nothing sets %s", file, p.Title, name)
					}
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
