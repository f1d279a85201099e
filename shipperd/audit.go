package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/audit"
	"belabox-metrics/shipperd/internal/victoria"
)

const auditUsage = `audit [-since 24h] [-json]

Compares the file with the server, sample by sample, and prints the ledger. It
changes nothing on either side and runs beside the daemons. It compares series and
timestamps, not values. Samples older than the oldest row are not compared: their
rows have been pruned. Exit code 1: they differ, or the comparison failed.
`

// auditCommand checks the delivery independently of the delivery loop.
func auditCommand(ctx context.Context, env daemon.Env) (err error) {
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	since := fs.Duration("since", 0, "compare only samples that are at most this old, such as 24h; 0 = all")
	asJSON := fs.Bool("json", false, "write JSON")
	if _, err := parseFlags(env, fs, env.Args, 0, auditUsage); err != nil {
		return helped(err)
	}
	if *since < 0 {
		return misused("audit", errors.New("-since is negative"))
	}
	client, err := victoria.New(clientConfig(env.Config.Remote, env))
	if err != nil {
		return fmt.Errorf("remote: %w", err)
	}
	defer client.Close()
	file, err := store.OpenReader(ctx, env.Config.Storage.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	progress := newProgressLine(env.Stderr)
	report, err := audit.Run(ctx, file, client.Export, audit.Config{
		Since: *since, MaxPast: env.Config.Remote.MaxPast, MaxFuture: env.Config.Remote.MaxFuture,
		Gap: max(10*time.Minute, 3*env.Config.Collection.Interval),
	}, progress.rows)
	progress.end()
	if err != nil {
		return err
	}
	r := auditReport{Database: env.Config.Storage.Path, Report: report, Ledger: ledgerOf(report.Ledger)}
	if *asJSON {
		err = printJSON(env.Stdout, r)
	} else {
		r.print(env.Stdout)
	}
	if err == nil && (report.Different() > 0 || r.Ledger.Difference != 0) {
		return daemon.ErrSilent
	}
	return err
}

// auditReport is what "audit -json" writes.
type auditReport struct {
	Database string `json:"database"`
	*audit.Report
	Ledger ledger `json:"ledger"`
}

// kindTexts has for each kind of difference its description and what to check.
var kindTexts = map[audit.Kind][2]string{
	audit.Missing:          {"missing: verified according to the file, not at the server", "check whether series were deleted at the server; 'belabox-shipperd doctor' shows its retention and deduplication"},
	audit.StoredTwice:      {"duplicates", "check for a second sender with this device.id; a cluster with replication needs -dedup.minScrapeInterval=1ms at vmselect"},
	audit.Unknown:          {"unknown: at the server, not in the file", "check for a second sender with this device.id, or a database restored from a backup"},
	audit.PendingStored:    {"at the server, pending in the file", "they will be stored twice; check whether the database was restored from a backup"},
	audit.DeadLetterStored: {"at the server, dead letters in the file", "do not retry these: they have arrived"},
}

func (r auditReport) print(w io.Writer) {
	fmt.Fprintf(w, "database  %s\n", r.Database)
	switch {
	case r.From.IsZero() && r.Pending > 0:
		fmt.Fprint(w, "compared  nothing: the rows wait for their true time (docs/time.md); 'belabox-shipperd status' says why\n\n")
	case r.From.IsZero():
		fmt.Fprint(w, "compared  nothing: the file has no rows in that time\n\n")
	default:
		fmt.Fprintf(w, "compared  %s to %s UTC, device %s\n          older samples at the server are not compared: their rows may have been pruned\n\n", human.Time(r.From), human.Time(r.To), human.Printable(strings.Join(r.Devices, ", ")))
	}
	r.Ledger.print(w)
	fmt.Fprintln(w, "\nsamples compared")
	line := func(n int64, show bool, text string, args ...any) {
		if show {
			fmt.Fprintf(w, "  %12d  %s\n", n, fmt.Sprintf(text, args...))
		}
	}
	line(r.Proven, true, "delivered, and at the server exactly once")
	line(r.Moved, r.Moved > 0, "  of them with another timestamp: theirs was out of the server's range")
	line(r.Unsettled, r.Unsettled > 0, "in flight, %d of them at the server already", r.UnsettledThere)
	line(r.Pending, r.Pending > 0, "pending, and not at the server")
	line(r.Unsendable, r.Unsendable > 0, "strings, which are never sent")
	line(r.TooOld, r.TooOld > 0, "verified, and no longer at the server: older than remote.max_past")
	line(r.Gone, r.Gone > 0, "deleted from the file meanwhile")
	for _, kind := range audit.Kinds() {
		for _, d := range r.Differences {
			if d.Kind == kind {
				printDifference(w, d)
			}
		}
	}
	fmt.Fprintln(w)
	if n := r.Different(); n > 0 {
		fmt.Fprintf(w, "result    %d DIFFERENCES\n", n)
		return
	}
	fmt.Fprintln(w, "result    file and server agree: nothing is missing, duplicate or unknown")
}

func printDifference(w io.Writer, d *audit.Difference) {
	texts := kindTexts[d.Kind]
	fmt.Fprintf(w, "\n  %12d  DIFFERENCE: %s\n", d.Samples, texts[0])
	for _, m := range d.Metrics {
		var examples []string
		for _, ms := range m.Examples {
			examples = append(examples, time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000"))
		}
		fmt.Fprintf(w, "  %12s  %8d  %s, for example at %s\n", "", m.Samples, human.Excerpt(m.Name), strings.Join(examples, ", "))
	}
	if d.Others > 0 {
		fmt.Fprintf(w, "  %12s  %8d  of other metrics\n", "", d.Others)
	}
	fmt.Fprintf(w, "  %12s  %s\n", "", texts[1])
}
