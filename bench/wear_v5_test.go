//go:build bench

package bench

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/migrations"
	_ "belabox-metrics/shared/store" // registers the functions that the migrations call
)

// wearVersion5 drives a database of schema version 5 in the rhythm of the daemons:
// a commit a tick, every tenth one synced, each upload acknowledged in one
// statement, pruned once a minute, checkpointed at the end.
func wearVersion5(b *testing.B, disk *disk) (w wear) {
	path := filepath.Join(disk.Dir, "metrics.db")
	db, err := openVersion5(b.Context(), path)
	if err != nil {
		b.Error(err)
		return w
	}
	defer db.Close()
	v := version5{ctx: b.Context(), db: db, brd: newBoard(*wearTick)}
	v.checkpoint() // the empty schema
	before := disk.written()

	end := time.Now().Add(*wearFor)
	for now := range time.Tick(*wearTick) {
		if now.After(end) || v.err != nil {
			break
		}
		w.ticks++
		if w.ticks%int64(*wearUpload / *wearTick) == 0 {
			v.synced(func() { v.insert(now); v.upload(now) })
		} else {
			v.insert(now)
		}
		if w.ticks%60 == 0 {
			w.pruned += v.prune(now.Add(-wearRetention))
		}
	}
	v.checkpoint()
	if v.err != nil {
		b.Error("version 5 layout: ", v.err)
	}
	w.rows, w.bytes, w.file = w.ticks*int64(len(v.brd.series)), disk.written()-before, fileSize(b, path)
	return w
}

// openVersion5 makes the file by migrations 1 to 5. Package store brings the
// functions that they call.
func openVersion5(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	for _, m := range migrations.All()[:5] {
		if _, err := db.ExecContext(ctx, m.SQL); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// version5 works until the first error, which it keeps.
type version5 struct {
	ctx     context.Context
	db      *sql.DB
	brd     *board
	shipped int64 // the last row that was
	err     error
}

func (v *version5) exec(query string, args ...any) (rows int64) {
	if v.err != nil {
		return 0
	}
	var res sql.Result
	if res, v.err = v.db.ExecContext(v.ctx, query, args...); v.err == nil {
		rows, v.err = res.RowsAffected()
	}
	return rows
}

func (v *version5) synced(work func()) {
	v.exec("PRAGMA synchronous = FULL")
	work()
	v.exec("PRAGMA synchronous = NORMAL")
}

func (v *version5) insert(now time.Time) {
	v.exec("BEGIN IMMEDIATE")
	for _, s := range v.brd.tick() {
		tags := s.Series.Tags
		v.exec(`INSERT INTO metrics (timestamp_ms, name, value, tags, device_id, dedup_key)
			VALUES (?1, ?2, ?3, ?4, ?5, bx_dedup_key_v5(?5, ?2, ?4, ?1, 0))`,
			now.UnixMilli(), s.Series.Name, s.Value, tags, deviceID)
	}
	v.exec("COMMIT")
}

// upload acknowledges what came in since the last one, as two chunks.
func (v *version5) upload(now time.Time) {
	v.exec("BEGIN IMMEDIATE")
	n := v.exec("UPDATE metrics SET uploaded = 1 WHERE id > ? AND uploaded = 0", v.shipped)
	v.shipped += n
	for chunk := range 2 {
		v.exec("INSERT INTO upload_checkpoints (batch_id, chunk_index, status, metric_count, http_status, created_ms) VALUES (?, ?, 'accepted', ?, 204, ?)",
			now.Format(time.RFC3339Nano), chunk, n/2, now.UnixMilli())
	}
	v.exec("COMMIT")
}

func (v *version5) prune(before time.Time) int64 {
	return v.exec("DELETE FROM metrics WHERE timestamp_ms < ? AND uploaded = 1", before.UnixMilli())
}

func (v *version5) checkpoint() { v.exec("PRAGMA wal_checkpoint(TRUNCATE)") }
