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
only reads, on both sides, and runs beside the daemons. Series and timestamps are
compared, not values. Samples from before the oldest row cannot be judged: their
rows have been pruned. Exit code 1: they differ, or could not be compared.
`

// auditCommand is the independent check of the delivery.
func auditCommand(ctx context.Context, env daemon.Env) (err error) {
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	since := fs.Duration("since", 0, "compare only samples that are at most this old, such as 24h; 0 = all in the file")
	asJSON := fs.Bool("json", false, "write JSON for programs")
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

// kindWords say what a difference is and what to think of.
var kindWords = map[audit.Kind][2]string{
	audit.Missing:          {"missing: the file says delivered, and they are not there", "were series deleted at the server? 'belabox-shipperd doctor' shows its retention and deduplication"},
	audit.StoredTwice:      {"further copies of samples", "is there a second sender with this device.id? a cluster with replication wants -dedup.minScrapeInterval=1ms at vmselect"},
	audit.Unknown:          {"unknown: there, and not in the file", "is there a second sender with this device.id? was the database put back from a backup?"},
	audit.PendingStored:    {"there, and the file says never sent", "they will be stored twice: was the database put back from a backup?"},
	audit.DeadLetterStored: {"there, and dead letters", "do not retry these: they have arrived"},
}

func (r auditReport) print(w io.Writer) {
	fmt.Fprintf(w, "database  %s\n", r.Database)
	if r.From.IsZero() {
		fmt.Fprint(w, "compared  nothing: the file has no rows of that time\n\n")
	} else {
		fmt.Fprintf(w, "compared  %s to %s UTC, device %s\n          older samples at the server are not judged: their rows may have been pruned\n\n", human.Time(r.From), human.Time(r.To), strings.Join(r.Devices, ", "))
	}
	r.Ledger.print(w)
	fmt.Fprintln(w, "\nsamples of the span")
	line := func(n int64, show bool, text string, args ...any) {
		if show {
			fmt.Fprintf(w, "  %12d  %s\n", n, fmt.Sprintf(text, args...))
		}
	}
	line(r.Proven, true, "delivered, and there exactly once")
	line(r.Moved, r.Moved > 0, "  of them, under another timestamp: theirs was out of the server's range")
	line(r.Unsettled, r.Unsettled > 0, "under way, %d of them there already", r.UnsettledThere)
	line(r.Pending, r.Pending > 0, "not sent yet, and not there")
	line(r.Unsendable, r.Unsendable > 0, "texts, which are never sent")
	line(r.TooOld, r.TooOld > 0, "delivered, and no longer there: older than remote.max_past")
	line(r.Gone, r.Gone > 0, "left the file meanwhile")
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
	fmt.Fprintln(w, "result    file and server agree: nothing is missing, there twice, or unknown")
}

func printDifference(w io.Writer, d *audit.Difference) {
	words := kindWords[d.Kind]
	fmt.Fprintf(w, "\n  %12d  DIFFERENCE: %s\n", d.Samples, words[0])
	for _, m := range d.Metrics {
		var examples []string
		for _, ms := range m.Examples {
			examples = append(examples, time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000"))
		}
		fmt.Fprintf(w, "  %12s  %8d  %s, such as at %s\n", "", m.Samples, printable(m.Name), strings.Join(examples, ", "))
	}
	if d.Others > 0 {
		fmt.Fprintf(w, "  %12s  %8d  of further metrics\n", "", d.Others)
	}
	fmt.Fprintf(w, "  %12s  %s\n", "", words[1])
}
