package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

// spent is what this process has used so far.
type spent struct {
	cpu   time.Duration // user and system
	wrote int64         // wchar of /proc/self/io: bytes handed to write(2) and its kin
	dirty int64         // write_bytes of /proc/self/io: bytes of pages made dirty
}

func measure(b *testing.B) (s spent) {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	s.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && key == "wchar" {
			s.wrote = n
		} else if err == nil && key == "write_bytes" {
			s.dirty = n
		}
	}
	return s
}

const (
	benchRows = 1_000_000
	benchTick = 100 // rows of a transaction
	// What the layout was chosen for, see docs/decisions/0002-compact-layout.md.
	targetWritten = 150 // bytes written per row
	targetKept    = 30  // bytes kept per row
)

// insertCost is what a million rows have cost in one layout.
type insertCost struct{ rowsPerCPU, written, dirty, kept float64 }

func (c insertCost) report(b *testing.B) {
	b.ReportMetric(c.rowsPerCPU, "rows/cpu-s")
	b.ReportMetric(c.written, "written-B/row")
	b.ReportMetric(c.dirty, "dirtied-B/row")
	b.ReportMetric(c.kept, "kept-B/row")
}

// BenchmarkInsert inserts a million rows, 100 a transaction, into the compact
// layout and into that of version 5, both as the daemon does it: NORMAL, and a
// checkpoint whenever the WAL passes its bound and at the end.
//
// written is what SQLite hands to the kernel for both files (wchar): the same on
// every machine and file system. dirtied (write_bytes) is what the kernel had to
// bring to the device for that: whole 4 KiB pages, but a page that is written
// twice before it leaves counts once, so it depends on memory and timing.
func BenchmarkInsert(b *testing.B) {
	var compact, old insertCost
	b.Run("compact", func(b *testing.B) {
		for b.Loop() {
			compact = insertInto(b, newPath(b), openCompact)
		}
		compact.report(b)
		if compact.written > targetWritten || compact.kept > targetKept {
			b.Errorf("a row costs %.1f B written and %.1f B kept, want at most %d and %d", compact.written, compact.kept, targetWritten, targetKept)
		}
	})
	b.Run("version5", func(b *testing.B) {
		for b.Loop() {
			old = insertInto(b, newPath(b), openVersion5)
		}
		old.report(b)
		if compact.kept > 0 {
			b.ReportMetric(compact.rowsPerCPU/old.rowsPerCPU, "x-slower")
			b.ReportMetric(old.written/compact.written, "x-written")
			b.ReportMetric(old.kept/compact.kept, "x-kept")
		}
	})
}

// layout inserts one tick of benchTick rows and can copy the WAL.
type layout interface {
	insert(ctx context.Context, tick int) error
	checkpoint(ctx context.Context) error
	close(ctx context.Context) error
}

func insertInto(b *testing.B, path string, open func(b *testing.B, path string) layout) insertCost {
	b.Helper()
	ctx := b.Context()
	maxWAL := config.Default().Storage.WALCheckpointSizeMB << 20
	l := open(b, path)
	before := measure(b)
	for tick := range benchRows / benchTick {
		if err := l.insert(ctx, tick); err != nil {
			b.Fatal(err)
		}
		if WALSize(path) > maxWAL {
			if err := l.checkpoint(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.checkpoint(ctx); err != nil {
		b.Fatal(err)
	}
	after := measure(b)
	if err := l.close(ctx); err != nil {
		b.Fatal(err)
	}
	return insertCost{
		rowsPerCPU: benchRows / (after.cpu - before.cpu).Seconds(),
		written:    float64(after.wrote-before.wrote) / benchRows,
		dirty:      float64(after.dirty-before.dirty) / benchRows,
		kept:       float64(FileSize(path)) / benchRows,
	}
}

// compactLayout is what collectord uses.
type compactLayout struct {
	in      *Inserter
	samples []Sample
}

func openCompact(b *testing.B, path string) layout {
	return &compactLayout{openInserter(b, options(path), config.Default().Storage.Durability), samples(numberSeries(benchTick), 0)}
}

func (l *compactLayout) insert(ctx context.Context, tick int) error {
	for i := range l.samples {
		l.samples[i].Value = benchValue(tick, i)
	}
	r, err := l.in.Insert(ctx, tick0.Add(time.Duration(tick)*time.Second), l.samples)
	if err == nil && r.Inserted != benchTick {
		err = fmt.Errorf("tick %d: %+v", tick, r)
	}
	return err
}

func (l *compactLayout) checkpoint(ctx context.Context) error {
	_, err := l.in.Checkpoint(ctx)
	return err
}

func (l *compactLayout) close(ctx context.Context) error { return l.in.Close(ctx) }

// benchValue changes with every row, as measured values do.
func benchValue(tick, i int) float64 { return float64(tick) + float64(i)/7 }

// version5Layout is one wide row a sample, with a random SHA-256 key. A new file
// of that version had SQLite's default page size.
type version5Layout struct {
	db     *sql.DB
	stmt   *sql.Stmt
	series []*Series
}

func openVersion5(b *testing.B, path string) layout {
	db := rawDB(b, path)
	mustExec(b, db, "PRAGMA page_size = 4096")
	mustExec(b, db, "PRAGMA journal_mode = WAL")
	migrateTo(b, db, 5)
	stmt, err := db.Prepare("INSERT INTO metrics (timestamp_ms, name, value, tags, device_id, dedup_key) VALUES (?,?,?,?,?,?)")
	if err != nil {
		b.Fatal(err)
	}
	return &version5Layout{db, stmt, numberSeries(benchTick)}
}

func (l *version5Layout) insert(ctx context.Context, tick int) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	insert := tx.StmtContext(ctx, l.stmt)
	ms := tick0.Add(time.Duration(tick) * time.Second).UnixMilli()
	for i, s := range l.series {
		key := identity(s.Device, s.Name, s.Tags, strconv.FormatInt(ms, 10), "0")
		if _, err := insert.ExecContext(ctx, ms, s.Name, benchValue(tick, i), s.Tags, s.Device, hex.EncodeToString(key[:])); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (l *version5Layout) checkpoint(ctx context.Context) error {
	_, err := l.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func (l *version5Layout) close(context.Context) error { return l.db.Close() }

const benchPending = 200_000

// pendingRows makes a file with benchPending pending rows.
func pendingRows(b *testing.B) *Outbox {
	b.Helper()
	path := newPath(b)
	l := openCompact(b, path)
	for tick := range benchPending / benchTick {
		if err := l.insert(b.Context(), tick); err != nil {
			b.Fatal(err)
		}
	}
	return openOutbox(b, options(path))
}

// BenchmarkPending reads a backlog as the shipper does when it catches up.
func BenchmarkPending(b *testing.B) {
	ob := pendingRows(b)
	rows := 0
	before := measure(b)
	for b.Loop() {
		got, err := ob.Pending(b.Context(), 0, benchPending, nil)
		if err != nil || len(got) != benchPending {
			b.Fatalf("%d rows, %v", len(got), err)
		}
		rows += len(got)
	}
	b.ReportMetric(float64(rows)/(measure(b).cpu-before.cpu).Seconds(), "rows/cpu-s")
}

// BenchmarkMarkUploaded records, marks and verifies a backlog in chunks of the
// given size, a batch of the default size or one chunk recorded at a time.
func BenchmarkMarkUploaded(b *testing.B) {
	for _, size := range []int{50, 2500, 20_000} {
		for name, contiguous := range map[string]bool{"range": true, "keys": false} {
			b.Run(fmt.Sprintf("%s-%d", name, size), func(b *testing.B) {
				ob := pendingRows(b)
				keys := pendingKeys(b, ob, benchPending, nil)
				var cpu time.Duration
				var wrote int64
				rows := 0
				for b.Loop() {
					before := measure(b)
					batch := max(size, config.Default().Remote.BatchSize)
					for keys := range slices.Chunk(keys, batch) {
						if err := deliver(b.Context(), ob, keys, size, contiguous); err != nil {
							b.Fatal(err)
						}
					}
					after := measure(b)
					cpu += after.cpu - before.cpu
					wrote += after.wrote - before.wrote
					rows += len(keys)

					b.StopTimer()
					mustExec(b, ob.db, "DELETE FROM upload_checkpoints")
					mustExec(b, ob.db, "UPDATE metrics SET uploaded = 0")
					mustExec(b, ob.db, "UPDATE outbox SET low_water = 0")
					if _, err := ob.Checkpoint(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(rows)/cpu.Seconds(), "rows/cpu-s")
				b.ReportMetric(float64(wrote)/float64(rows), "written-B/row")
			})
		}
	}
}

// deliver does with a batch what the shipper does, without a server.
func deliver(ctx context.Context, ob *Outbox, batch KeySet, size int, contiguous bool) error {
	var chunks []*Chunk
	for keys := range slices.Chunk(batch, size) {
		chunks = append(chunks, newChunk(keys, contiguous))
	}
	if err := ob.RecordSending(ctx, chunks...); err != nil {
		return err
	}
	for _, c := range chunks {
		if err := ob.MarkUploaded(ctx, c, nil, nil); err != nil {
			return err
		}
		if err := ob.MarkVerified(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
