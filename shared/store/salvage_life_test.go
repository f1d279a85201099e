package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
)

// life is what a file of some history holds.
type life struct {
	path   string
	values map[Key]string // every sample, as text
	marks  map[Key]int64  // uploaded
	sent   map[Key]bool   // may be at the server
	ledger Ledger
}

// lived makes a file in which every state of a row and of a chunk occurs, rows
// were pruned, and pages are free. Half of it stands in the WAL. No handle has it
// open afterwards, as after a kill.
func lived(t testing.TB, ticks int) *life {
	t.Helper()
	l := &life{path: newPath(t), sent: map[Key]bool{}}
	in, ob := openInserter(t, options(l.path), 0), openOutbox(t, options(l.path))
	series, text := numberSeries(60), NewSeries("device", "text", Text, Tag{"a", "b"})
	tick := func(n int) {
		all := append(samples(series, float64(n)+0.25), Sample{Series: text, Text: fmt.Sprint("text ", n)})
		mustInsert(t, in, tick0.Add(time.Duration(n)*time.Second), all)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	record := func() *Chunk {
		t.Helper()
		rows, err := ob.Pending(t.Context(), 0, 1<<20, nil)
		must(err)
		var keys, texts KeySet
		for _, r := range rows {
			if r.Null {
				texts = append(texts, r.Key)
			} else if len(keys) < 150 && !l.sent[r.Key] {
				keys = append(keys, r.Key)
				l.sent[r.Key] = true
			}
		}
		must(ob.MarkUnsendable(t.Context(), texts))
		c := newChunk(keys, false)
		must(ob.RecordSending(t.Context(), c))
		return c
	}
	ob.MeterTraffic(func() (int64, int64) { return 30_000, 20_000 }, clock.Read)
	for n := range ticks / 2 {
		tick(n)
	}
	for range ticks / 10 {
		c := record()
		must(ob.MarkUploaded(t.Context(), c, nil, nil))
		must(ob.MarkVerified(t.Context(), c))
	}
	_, err := ob.Prune(t.Context(), tick0.Add(time.Duration(ticks/20)*time.Second), 1<<20)
	must(err)
	must(ob.SaveStats(t.Context(), []Stat{{Name: "n", Tags: "{}", Kind: "counter", Value: 7}}))
	_, err = in.Checkpoint(t.Context())
	must(err)
	for n := ticks / 2; n < ticks; n++ {
		tick(n)
	}
	c := record()
	must(ob.MarkUploaded(t.Context(), c, []Rejection{{c.Keys[0], "rejected", "no"}, {c.Keys[9], "rejected", "no"}}, KeySet{c.Keys[3]}))
	delete(l.sent, c.Keys[0])
	c = record()
	must(ob.MarkUploaded(t.Context(), c, nil, nil))
	c = record()
	must(ob.Requeue(t.Context(), c, c.Keys[10:20]))
	record()
	l.ledger = checkLedger(t, ob)
	l.values, l.marks = contents(t, ob.db)
	// A copy made now is what a kill leaves: closing in order would empty the WAL.
	return l.copyTo(t, newPath(t))
}

// contents are the rows of a file.
func contents(t tester, db *sql.DB) (values map[Key]string, marks map[Key]int64) {
	t.Helper()
	values, marks = map[Key]string{}, map[Key]int64{}
	rows, err := db.Query(`SELECT m.dedup_key, m.uploaded, s.device_id || s.name || s.tags || coalesce(m.value, 'none') || coalesce(m.value_text, 'none')
		FROM metrics m JOIN series s ON s.id = m.dedup_key & 4194303`)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k Key
		var mark int64
		var text string
		if err := rows.Scan(&k, &mark, &text); err != nil {
			t.Fatalf("%v", err)
		}
		values[k], marks[k] = text, mark
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v", err)
	}
	return values, marks
}

// copyTo puts the files of a database into another folder.
func (l *life) copyTo(t testing.TB, path string) *life {
	t.Helper()
	for _, s := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(l.path + s)
		if err != nil {
			continue // none
		}
		if err := os.WriteFile(path+s, content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	other := *l
	other.path = path
	return &other
}

// patch overwrites bytes of a file.
func patch(t tester, path string, at int64, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(content, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	_, _ = io.ReadFull(r, b)
	return b
}

// check opens the file and wants it whole and in order: nothing that was not
// there before, nothing at the server that would be sent again unasked, and the
// accounts in balance.
func (l *life) check(t tester, o Options) (lost int, ledger Ledger) {
	t.Helper()
	ob, err := OpenOutbox(background, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer abandon(ob)
	checkIntegrity(t, ob.db)
	checkConsistent(t, ob.db)
	ledger = checkLedger(t, ob)
	values, marks := contents(t, ob.db)
	for k, v := range values {
		if want, known := l.values[k]; known && v != want {
			t.Errorf("row %d is %q, was %q", k, v, want)
		}
	}
	owned := map[Key]bool{}
	chunks, err := ob.OpenChunks(background)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, c := range chunks {
		for _, k := range c.Keys {
			owned[k] = true
		}
	}
	for k := range l.sent {
		if _, there := values[k]; there && marks[k] == 0 && !owned[k] {
			t.Errorf("row %d may be at the server and would be sent again unasked", k)
		}
	}
	for k := range l.values {
		if _, there := values[k]; !there {
			lost++
		}
	}
	return lost, ledger
}

func (l *life) options() Options { return options(l.path) }

// damagedFiles are the names of those set aside.
func (l *life) damagedFiles(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, name := range listFolder(t, filepath.Dir(l.path)) {
		if strings.Contains(name, asideSuffix) {
			names = append(names, name)
		}
	}
	return names
}
