package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

var (
	damageAtOnce = flag.Int("damage.at-once", 12, "files that daemons work with at the same time")
	damageRounds = flag.Int("damage.rounds", 0, "files of TestDamage, at least one of each kind")
	damageSeed   = flag.Uint64("damage.seed", 0, "of TestDamage; 0 = a random one")
	damageKind   = flag.String("damage.kind", "", "only kinds with this text in their name")
	damageBins   = flag.String("damage.bins", "", "directory with the programs to test; empty = built from here")
	damageBound  = flag.Bool("damage.report", false, "only report what is missing: for other programs")
)

// damageLimit is how long all that is untouched may take to arrive.
const damageLimit = 2 * time.Minute

// TestDamage damages files in many ways, and lets both daemons work with them. Whatever the damage
// did not touch is at the server within two minutes, new samples are stored and delivered, and what
// was lost is counted and told, or told as not countable. The daemons are restarted when they exit,
// as by systemd; that is all the help they get.
func TestDamage(t *testing.T) {
	t.Parallel()
	seed := *damageSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-damage.seed=%d", seed)
	bins := *damageBins
	if bins == "" {
		bins = filepath.Dir(testkit.Binaries(t).Collectord)
	}
	vm := testkit.StartVM(t, testkit.VMConfig{})
	table := &damageTable{kinds: map[string]*damageSum{}}
	t.Cleanup(func() { t.Log("\n" + table.String()) })
	atOnce := make(chan struct{}, *damageAtOnce)
	var kinds []damageKindOf
	for _, k := range damageKinds {
		if strings.Contains(k.name, *damageKind) {
			kinds = append(kinds, k)
		}
	}
	for i := range max(*damageRounds, len(kinds)) {
		k := kinds[i%len(kinds)]
		t.Run(fmt.Sprintf("%s/%d", k.name, i/len(kinds)), func(t *testing.T) {
			t.Parallel()
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			f := newDamaged(t, vm.Client, bins, rand.New(rand.NewPCG(seed, uint64(i))))
			table.add(k.name, f.run(k))
		})
	}
}

// damagedFile is a file that both daemons have worked with, and the samples in it.
type damagedFile struct {
	t      *testing.T
	vm     testkit.Client
	bins   string
	dice   *rand.Rand
	dir    string
	db     string
	device string

	want    map[store.Key]sample // what should be at the server
	pages   map[string][]int64   // leaves of each table and index
	rowsOn  map[int64][]store.Key
	idsOn   map[int64][]int64 // of series
	content []byte            // before the damage
}

const damagedPage = 1024 // bytes

func newDamaged(t *testing.T, vm testkit.Client, bins string, dice *rand.Rand) *damagedFile {
	t.Helper()
	f := &damagedFile{
		t: t, vm: vm, bins: bins, dice: dice, dir: t.TempDir(), device: fmt.Sprintf("damaged-%016x", dice.Uint64()),
		want: map[store.Key]sample{}, pages: map[string][]int64{}, rowsOn: map[int64][]store.Key{}, idsOn: map[int64][]int64{},
	}
	f.db = filepath.Join(f.dir, "metrics.db")
	f.live()
	f.look()
	return f
}

// live makes the file as the daemons do, with rows and chunks in every state. What it says is at
// the server is there.
func (f *damagedFile) live() {
	f.t.Helper()
	ctx := f.t.Context()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	began := time.Now()
	stop := f.supervise("collectord")
	if f.await(func(_ map[sample]bool, newest int64) bool { return f.count() > 200 }, damageLimit) == damageLimit {
		f.t.Fatalf("collectord stores nothing: %s", tail(stop()))
	}
	stop()
	in, err := store.OpenInserter(ctx, store.Options{Path: f.db, Daemon: "collectord", Version: "1"}, 0)
	must(err)
	ob, err := store.OpenOutbox(ctx, store.Options{Path: f.db, Daemon: "shipperd", Version: "1"})
	must(err)
	// Series that go on: a sample that is later shows that the server would show an earlier one.
	var series []*store.Series
	f.rows("SELECT name, tags, value_type FROM series ORDER BY id", func(rows *sql.Rows) error {
		var name, tags string
		var typ store.ValueType
		if err := rows.Scan(&name, &tags, &typ); err != nil {
			return err
		}
		parsed, err := store.ParseTags(tags)
		series = append(series, store.NewSeries(f.device, name, typ, parsed...))
		return err
	})
	start := began.Add(-time.Hour).Truncate(time.Second)
	tick := func(n int) {
		var all []store.Sample
		for i, s := range series {
			all = append(all, store.Sample{Series: s, Value: float64(1000*n+i) + 0.5, Text: fmt.Sprint("text ", n)})
		}
		_, err := in.Insert(ctx, start.Add(time.Duration(n)*time.Second), all)
		must(err)
	}
	chunk := func(n int) *store.Chunk {
		rows, err := ob.Pending(ctx, 0, 1<<20, nil)
		must(err)
		c := &store.Chunk{BatchID: fmt.Sprint("batch-", n), Created: time.Now()}
		var texts store.KeySet
		for _, r := range rows {
			if r.Null {
				texts = append(texts, r.Key)
			} else if len(c.Keys) < 100 {
				c.Keys = append(c.Keys, r.Key)
			}
		}
		must(ob.MarkUnsendable(ctx, texts))
		must(ob.RecordSending(ctx, c))
		return c
	}
	var there []*store.Chunk
	for n := range 20 {
		tick(n)
	}
	for n := range 4 {
		c := chunk(n)
		must(ob.MarkUploaded(ctx, c, nil, nil))
		must(ob.MarkVerified(ctx, c))
		there = append(there, c)
	}
	_, err = ob.Prune(ctx, start.Add(2*time.Second), 1<<20)
	must(err)
	must(ob.SaveStats(ctx, []store.Stat{{Name: "uploader.metrics_uploaded_total", Tags: "{}", Kind: "counter", Value: 7}}))
	c := chunk(10)
	must(ob.MarkUploaded(ctx, c, []store.Rejection{{Key: c.Keys[0], Reason: "rejected", Detail: "no"}}, nil))
	there = append(there, c)
	for n := 20; n < 60; n++ {
		tick(n)
	}
	keep := map[store.Key]string{}
	f.rows("SELECT m.dedup_key, s.device_id, s.name, s.tags FROM metrics m JOIN series s ON s.id = m.dedup_key & 4194303 WHERE s.value_type = 0", func(rows *sql.Rows) error {
		var k store.Key
		var device, name, tags string
		if err := rows.Scan(&k, &device, &name, &tags); err != nil {
			return err
		}
		text, err := serverName(device, name, tags)
		f.want[k], keep[k] = sample{text, k.TimestampMS()}, tags
		return err
	})
	var lines strings.Builder
	for _, c := range there {
		for _, k := range c.Keys {
			s, here := f.want[k]
			if !here {
				continue // pruned
			}
			name, _, _ := strings.Cut(s.series, "{")
			labels := map[string]string{}
			must(json.Unmarshal([]byte(keep[k]), &labels))
			labels["__name__"], labels["device_id"] = name, f.device
			metric, err := json.Marshal(labels)
			must(err)
			fmt.Fprintf(&lines, `{"metric":%s,"values":[1],"timestamps":[%d]}`+"\n", metric, s.ts)
		}
	}
	must(f.vm.Import(lines.String()))
	// One chunk in doubt, which never arrived, and one of which half is owed.
	must(ob.Requeue(ctx, chunk(11), f.some(ob, 12)))
	must(ob.Close(ctx))
	_, err = in.Checkpoint(ctx)
	must(err)
	must(in.Close(ctx))
}

// some records a chunk and returns half of the rows of the one before it.
func (f *damagedFile) some(ob *store.Outbox, n int) store.KeySet {
	chunks, err := ob.OpenChunks(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range chunks {
		if c.State == store.Sending {
			return c.Keys // all of them: none is at the server
		}
	}
	f.t.Fatal("no chunk is in doubt", n)
	return nil
}

// count counts the rows beside collectord; 0 while there is no file.
func (f *damagedFile) count() (n int64) {
	r, err := store.OpenReader(f.t.Context(), f.db)
	if err != nil {
		return 0
	}
	defer r.Close()
	n, _ = r.RowCount(f.t.Context())
	return n
}

// rows queries the file when no daemon has it open.
func (f *damagedFile) rows(query string, scan func(*sql.Rows) error) {
	f.t.Helper()
	db, err := sql.Open("sqlite", "file:"+f.db)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
}

// look notes which rows are on which page.
func (f *damagedFile) look() {
	f.t.Helper()
	f.rows("SELECT name, pageno, pagetype FROM dbstat", func(rows *sql.Rows) error {
		var name, kind string
		var page int64
		err := rows.Scan(&name, &page, &kind)
		if kind == "leaf" {
			f.pages[name] = append(f.pages[name], page)
		}
		return err
	})
	var err error
	if f.content, err = os.ReadFile(f.db); err != nil {
		f.t.Fatal(err)
	}
	for _, page := range f.pages["metrics"] {
		for _, id := range f.rowIDs(page) {
			f.rowsOn[page] = append(f.rowsOn[page], store.Key(id))
		}
	}
	for _, page := range f.pages["series"] {
		f.idsOn[page] = f.rowIDs(page)
	}
}

// rowIDs reads the row ids of a leaf. https://sqlite.org/fileformat2.html#b_tree_pages
func (f *damagedFile) rowIDs(page int64) (ids []int64) {
	b := f.content[(page-1)*damagedPage : page*damagedPage]
	head := 0
	if page == 1 {
		head = 100
	}
	for i := range int(binary.BigEndian.Uint16(b[head+3:])) {
		at := int(binary.BigEndian.Uint16(b[head+8+2*i:]))
		_, n := sqliteVarint(b[at:])
		id, _ := sqliteVarint(b[at+n:])
		ids = append(ids, id)
	}
	return ids
}

func sqliteVarint(b []byte) (v int64, n int) {
	for n = range 8 {
		v = v<<7 | int64(b[n]&0x7f)
		if b[n] < 0x80 {
			return v, n + 1
		}
	}
	return v<<8 | int64(b[8]), 9
}

// damageKind is a way to damage a file.
type damageKindOf struct {
	name string
	do   func(f *damagedFile)
	// live: the daemons have it open.
	live bool
	// spoils names, in SQL, the rows of metrics that statements of do have touched.
	spoils string
}

var damageKinds = []damageKindOf{
	{name: "one bit anywhere", do: func(f *damagedFile) { f.flip(1 + f.dice.Int64N(int64(len(f.content)/damagedPage))) }},
	{name: "one bit in rows", do: func(f *damagedFile) { f.flip(f.pageOf("metrics")) }},
	{name: "one bit in series", do: func(f *damagedFile) { f.flip(f.pageOf("series")) }},
	{name: "one bit in the index of series", do: func(f *damagedFile) { f.flip(f.pageOf("sqlite_autoindex_series_1")) }},
	{name: "one bit in chunks", do: func(f *damagedFile) {
		f.flip(f.pageOf("upload_checkpoints", "sqlite_autoindex_upload_checkpoints_1", "upload_checkpoints_open"))
	}},
	{name: "one bit in small tables", do: func(f *damagedFile) {
		f.flip(f.pageOf("ledger", "outbox", "sessions", "daemon_stats", "dead_letters", "traffic"))
	}},
	{name: "one bit in the header", do: func(f *damagedFile) { f.flipAt(f.dice.Int64N(100)) }},
	{name: "one bit in the schema", do: func(f *damagedFile) { f.flip(f.pageOf("sqlite_schema")) }},
	{name: "a page of noise", do: func(f *damagedFile) {
		f.noise(f.dice.Int64N(int64(len(f.content)/damagedPage))*damagedPage, damagedPage)
	}},
	{name: "a page of zeros", do: func(f *damagedFile) {
		f.write(f.dice.Int64N(int64(len(f.content)/damagedPage))*damagedPage, make([]byte, damagedPage))
	}},
	{name: "32 KiB of noise", do: func(f *damagedFile) { f.noise(f.dice.Int64N(int64(len(f.content)-32768))/4096*4096, 32768) }},
	{name: "file cut off", do: func(f *damagedFile) { f.cut("", f.dice.Int64N(int64(len(f.content)))) }},
	{name: "table missing", do: func(f *damagedFile) {
		f.sql("DROP TABLE daemon_stats", "DROP TABLE sessions", "DROP TABLE dead_letters", "DROP TABLE traffic")
	}},
	{name: "ledger or outbox empty", do: func(f *damagedFile) {
		f.sql("DELETE FROM ledger", "DELETE FROM outbox", "DELETE FROM ledger WHERE account = 'inserted_through'", "UPDATE outbox SET low_water = 9223372036854775800",
			"UPDATE ledger SET samples = samples + 65536 WHERE account = 'inserted'")
	}},
	{name: "schema not ours", do: func(f *damagedFile) {
		f.sql("CREATE TRIGGER mine BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END",
			"CREATE TRIGGER mine BEFORE UPDATE ON metrics BEGIN SELECT RAISE(ABORT, 'no'); END",
			"ALTER TABLE metrics RENAME COLUMN uploaded TO uploadee", "ALTER TABLE metrics ADD COLUMN mine INTEGER NOT NULL DEFAULT 7",
			"CREATE UNIQUE INDEX mine ON metrics (uploaded) WHERE uploaded = 9", "CREATE VIEW mine AS SELECT * FROM nowhere", "DROP VIEW metric_rows")
	}},
	{name: "tags are no JSON", spoils: "dedup_key & 4194303 = 7", do: func(f *damagedFile) { f.sql(`UPDATE series SET tags = '{"part":"part-1' WHERE id = 7`) }},
	{name: "tags of 100 MB", spoils: "dedup_key & 4194303 = 7", do: func(f *damagedFile) {
		f.sql(`UPDATE series SET tags = '{"part":"' || replace(hex(zeroblob(50000000)), '0', 'x') || '"}' WHERE id = 7`)
	}},
	{name: "a chunk's rows of 100 MB", do: func(f *damagedFile) {
		f.sql("UPDATE upload_checkpoints SET row_keys = zeroblob(100000000) WHERE state = 'sending'", "UPDATE upload_checkpoints SET row_keys = zeroblob(100000000) WHERE state = 'verified'")
	}},
	{name: "rows without a series", spoils: "dedup_key & 4194303 = 7", do: func(f *damagedFile) {
		f.sql("UPDATE series SET id = 4000000 WHERE id = 7", "DELETE FROM series WHERE id = 7")
	}},
	{name: "shm cut while open", live: true, do: func(f *damagedFile) { f.cut("-shm", 0) }},
	{name: "WAL cut while open", live: true, do: func(f *damagedFile) { f.cut("-wal", 0) }},
	{name: "database cut while open", live: true, do: func(f *damagedFile) { f.cut("", f.dice.Int64N(2)*16384) }},
	{name: "WAL and shm removed while open", live: true, do: func(f *damagedFile) {
		if err := errors.Join(os.Remove(f.db+"-wal"), os.Remove(f.db+"-shm")); err != nil {
			f.t.Error(err)
		}
	}},
	{name: "a page of noise while open", live: true, do: func(f *damagedFile) {
		f.noise(f.pageOf("metrics", "series", "ledger")*damagedPage-damagedPage, damagedPage)
	}},
}

func (f *damagedFile) pageOf(tables ...string) int64 {
	var pages []int64
	for _, name := range tables {
		pages = append(pages, f.pages[name]...)
	}
	return pages[f.dice.IntN(len(pages))]
}

// flip flips a bit of a page that is in use.
func (f *damagedFile) flip(page int64) {
	f.flipAt((page-1)*damagedPage + f.dice.Int64N(damagedPage))
}

func (f *damagedFile) flipAt(at int64) {
	f.write(at, []byte{f.content[at] ^ 1<<f.dice.IntN(8)})
}

func (f *damagedFile) noise(at int64, n int) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.dice.Uint32())
	}
	f.write(at, b)
}

func (f *damagedFile) write(at int64, b []byte) {
	f.t.Helper()
	file, err := os.OpenFile(f.db, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt(b, at)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *damagedFile) cut(suffix string, size int64) {
	if err := os.Truncate(f.db+suffix, size); err != nil {
		f.t.Fatal(err)
	}
}

// sql executes one of the statements.
func (f *damagedFile) sql(statements ...string) {
	f.t.Helper()
	db, err := sql.Open("sqlite", "file:"+f.db)
	if err == nil {
		_, err = db.Exec(statements[f.dice.IntN(len(statements))])
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// touched are the rows on pages that were changed, and those of series on such pages.
func (f *damagedFile) touched() map[store.Key]bool {
	touched := map[store.Key]bool{}
	after, err := os.ReadFile(f.db)
	if err != nil {
		f.t.Fatal(err)
	}
	ids := map[int64]bool{}
	for page := int64(1); page <= int64(len(f.content)/damagedPage); page++ {
		from, to := (page-1)*damagedPage, page*damagedPage
		if to <= int64(len(after)) && bytes.Equal(f.content[from:to], after[from:to]) {
			continue
		}
		for _, k := range f.rowsOn[page] {
			touched[k] = true
		}
		for _, id := range f.idsOn[page] {
			ids[id] = true
		}
	}
	for k := range f.want {
		if ids[k.SeriesID()] {
			touched[k] = true
		}
	}
	return touched
}

// spoiled are the rows that a condition in SQL names.
func (f *damagedFile) spoiled(where string) map[store.Key]bool {
	spoiled := map[store.Key]bool{}
	if where != "" {
		f.rows("SELECT dedup_key FROM metrics WHERE "+where, func(rows *sql.Rows) error {
			var k store.Key
			err := rows.Scan(&k)
			spoiled[k] = true
			return err
		})
	}
	return spoiled
}

// damageResult is how a file did.
type damageResult struct {
	untouched, arrived int // samples
	touched            int
	lost               int64
	unknown            bool // how many were lost is not known, and the report says so
	salvaged           bool
	took               time.Duration // until all had arrived; damageLimit = never
	collected          bool
}

func (f *damagedFile) run(k damageKindOf) (r damageResult) {
	statements := strings.Contains(k.name, "missing") || strings.Contains(k.name, "empty") || strings.Contains(k.name, "ours") || strings.Contains(k.name, "100 MB") || k.spoils != ""
	touched := f.spoiled(k.spoils)
	if !k.live {
		k.do(f)
		if !statements {
			touched = f.touched()
		}
	}
	began := time.Now()
	stop := f.supervise("collectord", "shipperd")
	if k.live {
		if f.await(func(_ map[sample]bool, newest int64) bool { return newest > began.UnixMilli() }, damageLimit) == damageLimit {
			f.t.Fatalf("nothing arrives before the damage: %s", tail(stop()))
		}
		began = time.Now()
		before := f.content
		k.do(f)
		if strings.Contains(k.name, "database cut") || strings.Contains(k.name, "noise") {
			f.content = before
			touched = f.touched()
		}
	}
	var here map[sample]bool
	r.took = f.await(func(all map[sample]bool, newest int64) bool {
		here = all
		r.untouched, r.arrived, r.collected = 0, 0, newest > began.Add(2*time.Second).UnixMilli()
		for key, s := range f.want {
			if touched[key] {
				continue
			}
			if r.untouched++; all[s] {
				r.arrived++
			}
		}
		return r.arrived == r.untouched && r.collected
	}, damageLimit)
	log := stop()
	r.touched = len(touched)
	reports, err := store.DamagedFiles(f.db)
	if err != nil && !*damageBound {
		f.t.Error(err)
	}
	for _, s := range reports {
		r.salvaged = true
		if s.Lost == nil {
			r.unknown = true
		} else {
			r.lost += *s.Lost
		}
	}
	gone := 0
	for key, s := range f.want {
		if touched[key] && !here[s] {
			gone++
		}
	}
	if *damageBound {
		return r
	}
	if r.arrived < r.untouched || !r.collected {
		f.t.Errorf("%d of %d untouched samples arrived, new ones: %v\n%s", r.arrived, r.untouched, r.collected, tail(log))
	}
	// What the damage has taken is told, wherever that can be known: a bit of a key or a mark may
	// make another sample of it.
	if gone > 1 && !r.salvaged && !strings.Contains(log, store.DamagedSeries) && !strings.Contains(log, store.UnknownSeries) {
		f.t.Errorf("%d touched samples are gone without a word\n%s", gone, tail(log))
	}
	return r
}

// await waits until the server's samples of the device are enough.
func (f *damagedFile) await(enough func(all map[sample]bool, newest int64) bool, limit time.Duration) time.Duration {
	start := time.Now()
	for {
		series, err := f.vm.Export(fmt.Sprintf("{device_id=%q}", f.device))
		if err == nil {
			all, newest := map[sample]bool{}, int64(0)
			for _, s := range series {
				key := s.Key()
				for _, ts := range s.Timestamps {
					all[sample{key, ts}] = true
					newest = max(newest, ts)
				}
			}
			if enough(all, newest) {
				return time.Since(start)
			}
		}
		if time.Since(start) > limit {
			return limit
		}
		select {
		case <-time.After(time.Second):
		case <-f.t.Context().Done():
			return limit
		}
	}
}

// supervise runs both daemons, and starts them again when they exit. stop returns what they logged.
func (f *damagedFile) supervise(daemons ...string) (stop func() string) {
	config := filepath.Join(f.dir, "config.yaml")
	text := fmt.Sprintf(`device: {id: %s}
collection: {interval: 1s, collectors: {filesystem: {enabled: false}}}
storage: {path: %s}
remote: {url: %s/api/v1/import, upload_interval: 1s, verify: {delay: 15s, settle: 15s}}
health: {collectord_listen: "127.0.0.1:0", shipperd_listen: "127.0.0.1:0"}
`, f.device, f.db, f.vm.BaseURL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var logs [2]bytes.Buffer
	var wg sync.WaitGroup
	for i, name := range daemons {
		wg.Go(func() {
			for ctx.Err() == nil {
				cmd := exec.CommandContext(ctx, filepath.Join(f.bins, name), "-config", config)
				cmd.Stderr = &logs[i]
				cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
				cmd.WaitDelay = 20 * time.Second
				_ = cmd.Run()
				select {
				case <-time.After(time.Second): // as RestartSec of a unit
				case <-ctx.Done():
				}
			}
		})
	}
	return func() string {
		cancel()
		wg.Wait()
		return logs[0].String() + logs[1].String()
	}
}

// damageTable sums the results up.
type damageTable struct {
	mu    sync.Mutex
	order []string
	kinds map[string]*damageSum
}

type damageSum struct {
	files, all, standing, salvaged, unknown int
	untouched, arrived, touched             int
	lost                                    int64
	longest                                 time.Duration
}

func (d *damageTable) add(kind string, r damageResult) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.kinds[kind]
	if s == nil {
		s = &damageSum{}
		d.kinds[kind] = s
		d.order = append(d.order, kind)
	}
	s.files++
	if r.arrived == r.untouched && r.collected {
		s.all++
	}
	if !r.collected {
		s.standing++
	}
	if r.salvaged {
		s.salvaged++
	}
	if r.unknown {
		s.unknown++
	}
	s.untouched, s.arrived, s.touched = s.untouched+r.untouched, s.arrived+r.arrived, s.touched+r.touched
	s.lost += r.lost
	s.longest = max(s.longest, r.took)
}

func (d *damageTable) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.order, func(a, b string) int { return kindIndex(a) - kindIndex(b) })
	var b strings.Builder
	b.WriteString("| damage | files | all arrived | collection stands | untouched | delivered | touched | salvaged | lost, counted | not countable | longest |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, kind := range d.order {
		s := d.kinds[kind]
		longest := fmt.Sprintf("%.0f s", s.longest.Seconds())
		if s.longest >= damageLimit {
			longest = "for ever"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", kind, s.files, s.all, s.standing, s.untouched, s.arrived, s.touched, s.salvaged, s.lost, s.unknown, longest)
	}
	return b.String()
}

func kindIndex(name string) int {
	return slices.IndexFunc(damageKinds, func(k damageKindOf) bool { return k.name == name })
}
