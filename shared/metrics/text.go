package metrics

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

// contentType is that of the text format, see
// https://prometheus.io/docs/instrumenting/exposition_formats/
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler answers GET /metrics.
func (s *Set) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_ = s.WriteText(w) // the client has disconnected
	})
}

// WriteText writes all numbers in the Prometheus text format, dots as underscores.
func (s *Set) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	points := s.Points()
	for _, m := range s.metrics() {
		name := prometheusName(m.Name)
		out.WriteString("# HELP " + name + " " + escapeHelp.Replace(m.Help) + "\n# TYPE " + name + " " + string(m.Kind) + "\n")
		for _, p := range points {
			if p.Name == m.Name || m.Kind == Histogram && strings.HasPrefix(p.Name, m.Name+"_") {
				out.WriteString(prometheusName(p.Name))
				writeLabels(out, p.Tags)
				out.WriteString(" " + strconv.FormatFloat(p.Value, 'g', -1, 64) + "\n")
			}
		}
	}
	return out.Flush()
}

// metrics returns each metric once, in the order in which they came.
func (s *Set) metrics() []*Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[*Metric]bool{}
	var all []*Metric
	for _, f := range s.families {
		if !seen[f.metric] {
			seen[f.metric] = true
			all = append(all, f.metric)
		}
	}
	return all
}

func prometheusName(name string) string { return strings.ReplaceAll(name, ".", "_") }

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func writeLabels(out *bufio.Writer, tags []store.Tag) {
	if len(tags) == 0 {
		return
	}
	for i, t := range tags {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		out.WriteString(sep + t.Name + `="` + escapeLabel.Replace(human.PrintableBut(t.Value, "\n")) + `"`)
	}
	out.WriteByte('}')
}
