package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel does random work with both handles on one file and compares every
// state of the file with a model in memory.
func TestModel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.db")
	if err := Migrate(t.Context(), options(empty)); err != nil {
		t.Fatal(err)
	}
	template := readFile(t, empty)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", runs))
		if err := os.WriteFile(path, []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
		m := newModel(t, path)
		defer m.close()
		t.Repeat(map[string]func(*rapid.T){
			"":           m.check,
			"insert":     m.insert,
			"send":       m.send,
			"accept":     m.accept,
			"verify":     m.verify,
			"requeue":    m.requeue,
			"narrow":     m.narrow,
			"split":      m.split,
			"resend":     m.resend,
			"withdraw":   m.withdraw,
			"reject":     m.reject,
			"retry":      m.retry,
			"prune":      m.prune,
			"budget":     m.budget,
			"restart":    m.restart,
			"checkpoint": m.checkpoint,
		})
	})
}

// model is what the file must hold.
type model struct {
	in     *Inserter
	ob     *Outbox
	db     *sql.DB
	series []*Series // the last one holds texts

	rows     map[Key]bool // whether it is uploaded
	open     []*Chunk     // Sending, Accepted and Requeued ones
	dead     map[Key]int  // dead letters by the key their row had
	gone     map[Key]bool // deleted rows; never inserted again here: that would be another sample
	letters  int          // deleted dead letters
	inserted int
}

func newModel(t tester, path string) *model {
	t.Helper()
	m := &model{rows: map[Key]bool{}, dead: map[Key]int{}, gone: map[Key]bool{}, series: append(numberSeries(6), NewSeries("device", "text", Text))}
	var err error
	if m.in, err = OpenInserter(background, options(path), time.Hour); err != nil {
		t.Fatalf("%v", err)
	}
	if m.ob, err = OpenOutbox(background, options(path)); err != nil {
		t.Fatalf("%v", err)
	}
	m.db = m.in.db
	return m
}

func (m *model) close() {
	abandon(m.ob)
	_ = m.in.close()
}

func (m *model) isText(k Key) bool { return m.series[len(m.series)-1].id == k.SeriesID() }

// pending returns the keys of pending rows, of no open chunk unless owned is set.
func (m *model) pending(owned bool) (keys KeySet) {
	for k, uploaded := range m.rows {
		if !uploaded && (owned || !m.owned(k)) {
			keys = append(keys, k)
		}
	}
	return keys.Sorted()
}

func (m *model) owned(k Key) bool {
	return slices.ContainsFunc(m.open, func(c *Chunk) bool { return c.Keys.Contains(k) })
}

func (m *model) mark(keys KeySet, uploaded bool) {
	for _, k := range keys {
		m.rows[k] = uploaded
	}
}

// pick draws an open chunk in one of the states.
func (m *model) pick(t *rapid.T, states ...ChunkState) *Chunk {
	var fit []*Chunk
	for _, c := range m.open {
		if slices.Contains(states, c.State) {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		t.Skip("no such chunk")
	}
	return fit[rapid.IntRange(0, len(fit)-1).Draw(t, "chunk")]
}

// settled forgets a chunk whose fate is no longer open.
func (m *model) settled(c *Chunk) {
	m.open = slices.DeleteFunc(m.open, func(o *Chunk) bool { return o == c })
}

func subset(t *rapid.T, keys KeySet, name string) (some KeySet) {
	share := rapid.IntRange(0, 4).Draw(t, name)
	for _, k := range keys {
		if rapid.IntRange(0, 3).Draw(t, name) < share {
			some = append(some, k)
		}
	}
	return some
}

func noError(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// check compares the file with the model.
func (m *model) check(t *rapid.T) {
	checkConsistent(t, m.db)
	got, want := queryLines(t, m.db, "SELECT dedup_key, uploaded FROM metrics ORDER BY 1"), []string{}
	for _, k := range slices.Sorted(maps.Keys(m.rows)) {
		uploaded := int64(0)
		if m.rows[k] {
			uploaded = 1
		}
		want = append(want, line(int64(k), uploaded))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("rows:\ngot  %q\nwant %q", got, want)
	}
	letters := map[Key]int{}
	all, err := m.ob.DeadLetters(background, 0, 1000)
	noError(t, err)
	for _, l := range all {
		i := slices.IndexFunc(m.series, func(s *Series) bool { return s.Name == l.Name && s.Tags == l.Tags && s.Type == l.Type })
		letters[PackKey(l.TimestampMS, m.series[i].id)]++
	}
	if !maps.Equal(letters, m.dead) {
		t.Fatalf("dead letters: got %v, want %v", letters, m.dead)
	}
	l := checkLedger(t, m.ob)
	if l.Inserted != int64(m.inserted) || l.Pending != int64(len(m.pending(true))) || l.Rejected != int64(len(all)+m.letters) {
		t.Fatalf("ledger %+v: want %d inserted, %d pending, %d rejected", l, m.inserted, len(m.pending(true)), len(all))
	}
	times, err := m.ob.Timeline(background)
	noError(t, err)
	waiting := Backlog{Rows: int64(len(m.pending(true)))}
	if waiting.Rows > 0 {
		waiting.OldestMS = times.MS(slices.Min(m.pending(true)))
	}
	for name, of := range map[string]func(context.Context) (Backlog, error){"collectord": m.in.Backlog, "shipperd": m.ob.Backlog} {
		got, err := of(background)
		noError(t, err)
		if got.Rows != waiting.Rows || got.OldestMS != waiting.OldestMS {
			t.Fatalf("%s counts %+v, want %+v", name, got, waiting)
		}
	}
	if sum := len(m.rows) + len(all) + len(m.gone) + m.letters; sum != m.inserted {
		t.Fatalf("%d samples are accounted for, want %d", sum, m.inserted)
	}
}
