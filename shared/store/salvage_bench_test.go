package store

import (
	"path/filepath"
	"testing"
	"time"
)

// million makes a file of a million rows, 100 a tick, closed in order.
func million(b *testing.B) *life {
	b.Helper()
	l := &life{path: newPath(b)}
	in := openInserter(b, l.options(), time.Hour)
	series := numberSeries(100)
	for tick := range 10_000 {
		if _, err := in.Insert(b.Context(), tick0.Add(time.Duration(tick)*time.Second), samples(series, float64(tick)/7)); err != nil {
			b.Fatal(err)
		}
		if tick%1000 == 999 {
			if _, err := in.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := in.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkChecks tells what a look at a file of a million rows costs: the check
// that a start makes after a stop that was not in order, and the full one that it
// does not make. The file is in the page cache: a card adds the time of reading it.
func BenchmarkChecks(b *testing.B) {
	l := million(b)
	db := rawDB(b, l.path)
	for _, check := range []string{"quick_check(1)", "integrity_check(1)"} {
		b.Run(check, func(b *testing.B) {
			for b.Loop() {
				if got := queryLines(b, db, "PRAGMA "+check); got[0] != `"ok"` {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64(FileSize(l.path))/(1<<20)/(b.Elapsed().Seconds()/float64(b.N)), "MB/s")
		})
	}
}

// BenchmarkSalvage salvages a file of a million pending rows.
func BenchmarkSalvage(b *testing.B) {
	whole := million(b)
	for b.Loop() {
		b.StopTimer()
		l := whole.copyTo(b, filepath.Join(b.TempDir(), "metrics.db"))
		if err := RequestSalvage(l.path, ErrDamaged); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := Migrate(b.Context(), l.options()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1e6/(b.Elapsed().Seconds()/float64(b.N)), "rows/s")
}
