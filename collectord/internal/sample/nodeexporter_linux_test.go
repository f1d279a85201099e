package sample

import (
	"io"
	"maps"
	"math"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// These tests compare every metric that node_exporter has too with its reading
// of the same kernel.

const nodeExporter = "prometheus-node-exporter" // Debian's package and its program

// startNodeExporter runs it with flags and returns its page.
func startNodeExporter(t *testing.T, flags ...string) (scrape func() page) {
	t.Helper()
	path, err := exec.LookPath(nodeExporter)
	if err != nil {
		t.Fatalf("%s is not on the PATH: run scripts/test-deps.sh once (it installs what the tests need), then the test again", nodeExporter)
	}
	addr := testkit.FreeAddr(t)
	testkit.StartProc(t, testkit.Command{Path: path, Args: append([]string{"--web.listen-address=" + addr}, flags...)})
	client := &http.Client{Timeout: time.Minute}
	get := func() (page, error) {
		resp, err := client.Get("http://" + addr + "/metrics")
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		return parsePage(string(body)), nil
	}
	testkit.Eventually(t, 2*time.Minute, "node_exporter to answer", func() error {
		_, err := get()
		return err
	})
	return func() page {
		t.Helper()
		p, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// page is what node_exporter says, by series as it writes them.
type page map[string]float64

func parsePage(text string) page {
	p := page{}
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			series += "}"
		} else if series, value, ok = strings.Cut(series, " "); !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			p[series] = v
		}
	}
	return p
}

// sum adds all series of a name that have all the labels, each written
// name="value". It is NaN if there are none, which no comparison survives.
func (p page) sum(name string, labels ...string) float64 {
	sum, n := 0.0, 0
series:
	for series, v := range p {
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, "{"+l) && !strings.Contains(series, ","+l) {
				continue series
			}
		}
		sum += v
		n++
	}
	if n == 0 {
		return math.NaN()
	}
	return sum
}

// reading is what our collectors say in one tick.
type reading struct {
	values
	at map[string]time.Time // by collector
}

func readAll(t *testing.T, collectors []Collector) reading {
	t.Helper()
	r := reading{values{}, map[string]time.Time{}}
	var b Batch
	for _, c := range collectors {
		b.Begin(time.Now(), nil)
		r.at[c.Name()] = time.Now()
		if err := c.Collect(r.at[c.Name()], &b); err != nil {
			t.Logf("%s: %v", c.Name(), err)
		}
		maps.Copy(r.values, valuesOf(b.Samples))
	}
	return r
}
