package e2e

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

const (
	upgradeSeries = 5
	upgradeTicks  = 200
)

// schema6 makes the file that 1.0.0 (schema 6) would leave after an outage. The server has the
// first half of the samples: one chunk of them was accepted. Of the second chunk, a quarter, the
// answer was lost. The rest waits.
func (r *rig) schema6(vm *testkit.VM) (rows []row) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	do := func(text string, args ...any) {
		r.t.Helper()
		if _, err := db.Exec(text, args...); err != nil {
			r.t.Fatalf("%s: %v", text, err)
		}
	}
	for _, m := range migrations.All()[:6] {
		do(m.SQL)
	}
	do("PRAGMA user_version = 6")
	for id := range upgradeSeries {
		do(`INSERT INTO series (id, dedup_key, device_id, name, tags, value_type)
			VALUES (?1, bx_series_key(?2, ?3, '{}', 0), ?2, ?3, '{}', 0)`, id+1, r.device, fmt.Sprintf("old.metric_%d", id))
	}
	var at [3]store.KeySet // of the two chunks, and what waits
	var lines strings.Builder
	first := time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()
	for tick := range upgradeTicks {
		part := max(0, tick*4/upgradeTicks-1) // 0, 0, 1, 2
		for id := range upgradeSeries {
			ms, name := first+int64(tick)*1000, fmt.Sprintf("old.metric_%d", id)
			key := store.PackKey(ms, int64(id+1))
			value := float64(tick*upgradeSeries + id)
			series, err := serverName(r.device, name, "{}")
			if err != nil {
				r.t.Fatal(err)
			}
			rows = append(rows, row{sample{series, ms}, value})
			do("INSERT INTO metrics (dedup_key, value, uploaded) VALUES (?, ?, ?)", int64(key), value, part == 0)
			at[part] = append(at[part], key)
			if part < 2 {
				fmt.Fprintf(&lines, `{"metric":{"__name__":%q,"device_id":%q},"values":[%v],"timestamps":[%d]}`+"\n",
					strings.ReplaceAll(name, ".", "_"), r.device, value, ms)
			}
		}
	}
	if err := vm.Import(lines.String()); err != nil {
		r.t.Fatal(err)
	}
	for i, state := range []string{"accepted", "sending"} {
		do(`INSERT INTO upload_checkpoints
			(batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash, created_ms, accepted_ms)
			VALUES ('old', ?, ?, ?, ?, ?, ?, 1000, zeroblob(32), ?, CASE ?2 WHEN 'accepted' THEN ?7 END)`,
			i, state, int64(at[i][0]), int64(at[i][len(at[i])-1]), at[i].Pack(), len(at[i]), first+upgradeTicks*1000)
	}
	do("UPDATE ledger SET samples = ? WHERE account = 'inserted'", len(rows))
	do("UPDATE outbox SET low_water = ?", int64(at[1][0]))
	return rows
}

// TestUpgrade_Pending starts both daemons on a file of 1.0.0: what waits in it arrives at its time,
// and nothing arrives twice.
func TestUpgrade_Pending(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), nil)
	old := r.schema6(vm)
	collectord, shipperd := r.start(r.bins.Collectord), r.start(r.bins.Shipperd)
	r.goOn()
	r.stopDaemon(collectord)
	r.stopDaemon(shipperd)
	r.deliver(deliverLimit)
	rows := r.rows()
	kept := map[row]bool{}
	for _, s := range rows {
		kept[s] = true
	}
	for _, s := range old {
		if !kept[s] {
			t.Errorf("%v has gone, or has another time", s)
		}
	}
	if len(rows) == len(old) {
		t.Error("no sample was taken")
	}
	if d := r.compareRows(vm.Client, rows); !d.none() {
		t.Errorf("%v", &d)
	}
	r.checkFile()
}
