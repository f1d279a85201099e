package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the soak in figures.
func (s *soak) report(seed uint64, d *difference, l ledger) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("soak %s: %.1f min of faults, then %.0f s to drain; a tick every %v, an upload every second; seed %d",
		filepath.Base(s.t.Name()), s.disturbed.Minutes(), s.drained.Seconds(), *soakInterval, seed)
	for _, side := range []struct {
		name string
		*faultSource
	}{{"VictoriaMetrics", s.server}, {"network", s.network}, {"fronts", s.fronts}} {
		line("%s: %s", side.name, s.faults(side.all()))
	}
	line("rows: %d numbers and %d texts collected in %d ticks, %d ticks missed", d.rows, l.unsendable,
		s.r.count("SELECT count(DISTINCT timestamp_ms) FROM metric_rows WHERE name NOT LIKE 'soak_dated%'"),
		s.r.count("SELECT CAST(coalesce(max(value), 0) AS INTEGER) FROM metric_rows WHERE name = 'collector.ticks_missed_total'"))
	line("textfile: %d samples of %d series without and %d with a timestamp",
		s.r.count("SELECT count(*) FROM metric_rows WHERE name = 'soak_page_total'"), *soakTextfile,
		s.r.count("SELECT count(*) FROM metric_rows WHERE name LIKE 'soak_dated%'"))
	line("lost %d, duplicated %d, wrong value %d, not from here %d", d.missing, d.doubled, d.wrong, d.extra)
	line("ledger: %v; off by %d", l, l.difference())
	line("resent: %d of %d chunks had more than one attempt, %d more in all; %d samples were found forgotten by the server",
		s.r.count("SELECT count(*) FROM upload_checkpoints WHERE attempts > 1"),
		s.r.count("SELECT count(*) FROM upload_checkpoints"),
		s.r.count("SELECT coalesce(sum(attempts - 1), 0) FROM upload_checkpoints WHERE attempts > 1"),
		s.forgotten())
	wire := s.proxy.Stats()
	line("network: %d connections, %.1f MB to the server and %.1f MB back", wire.Connections, float64(wire.Up)/1e6, float64(wire.Down)/1e6)
	line("file: WAL at most %.1f MB, database at most %.1f MB", float64(s.monitor.wal.most)/1e6, float64(s.monitor.db.most)/1e6)
	line("")
	s.table(&b)
	return b.String()
}

// faults lists what happened how often and for how long.
func (s *soak) faults(kinds []string) string {
	if kinds == nil {
		return "left alone"
	}
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%s %d times (%.0f s)", kind, s.counts[kind], s.away[kind].Seconds()))
	}
	return strings.Join(parts, ", ")
}

var forgottenTotal = regexp.MustCompile(`"missing_since_start":(\d+)`)

// forgotten is how many samples the server had accepted and did not have later, as the
// logs of shipperd's lives tell.
func (s *soak) forgotten() (samples int) {
	for _, log := range s.logs {
		most := 0
		for _, match := range forgottenTotal.FindAllStringSubmatch(log, -1) {
			n, _ := strconv.Atoi(match[1]) // digits alone
			most = max(most, n)
		}
		samples += most
	}
	return samples
}

// table is what the daemons have used.
func (s *soak) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	collectord, shipperd := s.usages()
	row := func(name string, of func(g *usage) string) {
		fmt.Fprint(w, name)
		for _, g := range []*usage{collectord, shipperd} {
			fmt.Fprint(w, "\t", of(g))
		}
		fmt.Fprintln(w)
	}
	perSecond := func(g *usage) float64 { return float64(g.cpu) / float64(time.Millisecond) / g.lasted.Seconds() }
	row("", func(g *usage) string { return g.name })
	row("resident memory at most, MB", func(g *usage) string { return fmt.Sprintf("%.1f", float64(g.peakRSS)/1e6) })
	row("CPU, ms per second", func(g *usage) string { return fmt.Sprintf("%.2f", perSecond(g)) })
	row("CPU, % of a core", func(g *usage) string { return fmt.Sprintf("%.3f", perSecond(g)/10) })
	row("open files before, at most, after", func(g *usage) string {
		return fmt.Sprintf("%d, %d, %d", len(g.before.files), g.filesMost, len(g.after.files))
	})
	row("goroutines before, after", func(g *usage) string {
		return fmt.Sprintf("%d, %d", len(g.before.goroutines), len(g.after.goroutines))
	})
	w.Flush()
}
