//go:build bench

package bench

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
)

// report is the small table that a benchmark prints: our figure, what it should
// be, and what the peers need for the same, with the ratio to each.
type report struct {
	title string
	ours  string   // heading of our column
	peers []string // headings
	rows  []figure
	notes []string
}

// figure is a line of a report.
type figure struct {
	name   string
	unit   string  // also of the metric that the benchmark reports; no blanks
	ours   float64 // NaN-free; what was not measured is not a line
	target string  // "" = none
	peers  []float64
}

// none stands for what a peer does not have.
const none = -1

func (r *report) add(name, unit string, ours float64, target string, peers ...float64) {
	r.rows = append(r.rows, figure{name, unit, ours, target, peers})
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// print writes the table to the benchmark's log and the figures to its result line.
func (r *report) print(b *testing.B) {
	b.Helper()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%s\ttarget\t", r.ours)
	for _, p := range r.peers {
		fmt.Fprintf(w, "%s\tratio\t", p)
	}
	fmt.Fprintln(w)
	for _, f := range r.rows {
		fmt.Fprintf(w, "%s, %s\t%s\t%s\t", f.name, f.unit, short(f.ours), f.target)
		for i := range r.peers {
			if i >= len(f.peers) || f.peers[i] == none {
				fmt.Fprint(w, "-\t-\t")
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t", short(f.peers[i]), ratio(f.ours, f.peers[i]))
		}
		fmt.Fprintln(w)
		b.ReportMetric(f.ours, f.unit)
	}
	w.Flush()
	b.ReportMetric(0, "ns/op") // means nothing here
	b.Logf("%s\n%s%s", r.title, text.String(), strings.Join(r.notes, "\n"))
}

// short prints a figure with three digits, or whole.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func ratio(ours, peer float64) string {
	if peer == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ours/peer)
}
