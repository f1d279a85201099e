package store

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// insert stores a tick. Few moments and series make for many collisions, for
// ticks behind all others, and for rows that slip in between those of a chunk.
func (m *model) insert(t *rapid.T) {
	ts := tick0.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "ms")) * time.Millisecond)
	var all []Sample
	for _, s := range m.series {
		take := rapid.Bool().Draw(t, "take")
		if take && !m.gone[PackKey(ts.UnixMilli(), s.id)] {
			all = append(all, Sample{Series: s, Value: rapid.Float64Range(-1e9, 1e9).Draw(t, "value"), Text: "x"})
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "synced") == 0 {
		m.in.w.lastSync = time.Now().Add(-2 * time.Hour)
	}
	r, err := m.in.Insert(background, ts, all)
	noError(t, err)
	var want InsertResult
	for _, s := range all {
		k := PackKey(ts.UnixMilli(), s.Series.id)
		if _, exists := m.rows[k]; exists {
			want.Duplicates++
			continue
		}
		want.Inserted++
		m.rows[k] = false
	}
	m.inserted += want.Inserted
	if r != want {
		t.Fatalf("insert: got %+v, want %+v", r, want)
	}
}

// send records pending rows in some chunks, as the shipper does.
func (m *model) send(t *rapid.T) {
	limit := rapid.IntRange(1, 40).Draw(t, "limit")
	keys := pendingKeys(t, m.ob, limit, m.owned)
	want := m.pending(false)
	if want = want[:min(limit, len(want))]; !slices.Equal(keys, want) {
		t.Fatalf("pending: got %v, want %v", []Key(keys), []Key(want))
	}
	groups := make([]KeySet, rapid.IntRange(1, 3).Draw(t, "chunks"))
	var text KeySet
	byTime := rapid.Bool().Draw(t, "by time")
	for i, k := range keys {
		switch {
		case m.isText(k):
			text = append(text, k)
		case byTime:
			groups[i*len(groups)/len(keys)] = append(groups[i*len(groups)/len(keys)], k)
		default:
			groups[i%len(groups)] = append(groups[i%len(groups)], k)
		}
	}
	noError(t, m.ob.MarkUnsendable(background, text))
	m.mark(text, true)
	var chunks []*Chunk
	for _, group := range groups {
		if len(group) > 0 {
			chunks = append(chunks, newChunk(group, m.contiguous(group)))
		}
	}
	noError(t, m.ob.RecordSending(background, chunks...))
	m.open = append(m.open, chunks...)
}

// contiguous reports whether keys are all pending rows of their range.
func (m *model) contiguous(keys KeySet) bool {
	n := 0
	for _, k := range m.pending(true) {
		if keys[0] <= k && k <= keys[len(keys)-1] {
			n++
		}
	}
	return n == len(keys)
}

func (m *model) accept(t *rapid.T) {
	c := m.pick(t, Sending)
	var rejected []Rejection
	var again KeySet
	if rapid.Bool().Draw(t, "in part") {
		again = subset(t, c.Keys, "again")
		for _, k := range subset(t, c.Keys.Without(again), "rejected") {
			rejected = append(rejected, Rejection{Key: k, Reason: "rejected"})
		}
	}
	noError(t, m.ob.MarkUploaded(background, c, rejected, again))
	for _, r := range rejected {
		delete(m.rows, r.Key)
		m.dead[r.Key]++
	}
	m.mark(c.Keys, true)
	if len(c.Keys) == 0 {
		m.settled(c)
	}
}

func (m *model) verify(t *rapid.T) {
	c := m.pick(t, Sending, Accepted)
	noError(t, m.ob.MarkVerified(background, c))
	m.mark(c.Keys, true)
	m.settled(c)
}

func (m *model) requeue(t *rapid.T) {
	c := m.pick(t, Sending, Accepted)
	all, missing := c.Keys, subset(t, c.Keys, "missing")
	noError(t, m.ob.Requeue(background, c, missing))
	m.mark(all, true)
	m.mark(missing, false)
	if len(missing) == 0 {
		m.settled(c)
	}
}

func (m *model) resend(t *rapid.T) {
	noError(t, m.ob.RecordSending(background, m.pick(t, Requeued)))
}

func (m *model) withdraw(t *rapid.T) {
	c := m.pick(t, Sending, Requeued)
	noError(t, m.ob.Withdraw(background, c))
	m.settled(c)
}

func (m *model) reject(t *rapid.T) {
	var rejected []Rejection
	for _, k := range subset(t, m.pending(false), "rows") {
		rejected = append(rejected, Rejection{Key: k, Reason: "no_value"})
		delete(m.rows, k)
		m.dead[k]++
	}
	noError(t, m.ob.MoveToDeadLetters(background, rejected))
}

// retry makes a dead letter a row again, unless it holds a text or the series
// has got another row at that moment.
func (m *model) retry(t *rapid.T) {
	letters, err := m.ob.DeadLetters(background, 0, 1000)
	noError(t, err)
	if len(letters) == 0 {
		t.Skip("no dead letter")
	}
	l := letters[rapid.IntRange(0, len(letters)-1).Draw(t, "letter")]
	i := slices.IndexFunc(m.series, func(s *Series) bool { return s.Name == l.Name && s.Tags == l.Tags && s.Type == l.Type })
	k := PackKey(l.TimestampMS, m.series[i].id)
	if m.gone[k] {
		t.Skip("another sample of that moment is gone")
	}
	_, taken := m.rows[k]
	retried, err := retryDeadLetter(background, m.ob.w, l.ID)
	noError(t, err)
	if want := !taken && l.Type == Number; retried != want {
		t.Fatalf("retry of %+v: %v, want %v", l, retried, want)
	}
	if retried {
		m.rows[k] = false
		if m.dead[k]--; m.dead[k] == 0 {
			delete(m.dead, k)
		}
	}
}

// prune wants proven rows of the time given gone and no other, the oldest first. From the
// millisecond of the last row before the first that is not proven it may be a whole chunk, however
// many rows that has: the low-water mark may be in that millisecond, which then stays together.
func (m *model) prune(t *rapid.T) {
	before := tick0.Add(time.Duration(rapid.IntRange(0, 14).Draw(t, "before ms")) * time.Millisecond)
	limit := rapid.IntRange(1, 20).Draw(t, "limit")
	n, err := m.ob.Prune(background, before, limit)
	noError(t, err)
	kept := map[Key]bool{}
	for _, k := range m.fileKeys(t) {
		kept[k] = true
	}
	oldest := true // so far
	gone := 0
	keys := slices.Sorted(maps.Keys(m.rows))
	proven := int64(math.MaxInt64) // before this millisecond
	if i := slices.IndexFunc(keys, func(k Key) bool { return !m.rows[k] || m.owned(k) }); i >= 0 {
		proven = keys[max(0, i-1)].TimestampMS()
	}
	for _, k := range keys {
		if kept[k] {
			oldest = false
			continue
		}
		if gone++; oldest && gone > limit && n > limit && gone == n && k.TimestampMS() < proven {
			t.Fatalf("%d of the oldest rows pruned, limit %d", n, limit)
		}
		if !m.rows[k] || m.owned(k) || k.TimestampMS() >= before.UnixMilli() {
			t.Fatalf("row %d of %d ms is gone: uploaded %v, in an open chunk %v", k, k.TimestampMS()-tick0.UnixMilli(), m.rows[k], m.owned(k))
		}
		delete(m.rows, k)
		m.gone[k] = true
	}
	if gone != n {
		t.Fatalf("%d rows pruned, %d are gone", n, gone)
	}
}

// narrow and split leave a chunk in its state with some of its rows.
func (m *model) narrow(t *rapid.T) {
	c := m.pick(t, Sending, Accepted)
	all, absent := c.Keys, subset(t, c.Keys, "absent")
	if len(absent) == 0 {
		t.Skip("nothing is absent")
	}
	state := c.State
	noError(t, m.ob.Narrow(background, c, absent))
	if c.State != state || !slices.Equal(c.Keys, absent) {
		t.Fatalf("narrowed to %+v, want %v", c, absent)
	}
	m.mark(all.Without(absent), true)
}

func (m *model) split(t *rapid.T) {
	c := m.pick(t, Sending, Accepted)
	all, some := c.Keys, subset(t, c.Keys, "some")
	if len(some) == 0 || len(some) == len(all) {
		t.Skip("nothing to split")
	}
	part, err := m.ob.Split(background, c, some, uuid.NewString())
	noError(t, err)
	if part.State != c.State || !slices.Equal(part.Keys, some) || !slices.Equal(c.Keys, all.Without(some)) {
		t.Fatalf("split into %+v and %+v", c, part)
	}
	m.open = append(m.open, part)
}

// budget leaves no room at all, so that all goes that may go: proven rows, pending
// ones that no open chunk spans, dead letters.
func (m *model) budget(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "seldom") > 0 {
		t.Skip("not this time")
	}
	freed, err := m.ob.EnforceBudget(background, 0)
	noError(t, err)
	kept := map[Key]bool{}
	for _, k := range m.fileKeys(t) {
		kept[k] = true
	}
	got := Freed{}
	m.open = slices.DeleteFunc(m.open, func(c *Chunk) bool {
		if c.State != Accepted {
			return false
		}
		for _, k := range c.Keys {
			if kept[k] {
				t.Fatalf("row %d of an accepted chunk is still there", k)
			}
			delete(m.rows, k)
			m.gone[k] = true
			got.Unproven++
		}
		return true
	})
	for k, uploaded := range m.rows {
		spanned := slices.ContainsFunc(m.open, func(c *Chunk) bool { return c.Keys[0] <= k && k <= c.Keys[len(c.Keys)-1] })
		switch {
		case kept[k] && (uploaded || spanned):
			continue
		case kept[k]:
			t.Fatalf("the pending row %d is still there", k)
		case uploaded && !m.owned(k):
			got.Verified++
		case !uploaded && !spanned:
			got.Pending++
		default:
			t.Fatalf("row %d is gone: uploaded %v, in the span of an open chunk %v", k, uploaded, spanned)
		}
		delete(m.rows, k)
		m.gone[k] = true
	}
	for _, n := range m.dead {
		got.DeadLetters += n
	}
	m.dead, m.letters = map[Key]int{}, m.letters+got.DeadLetters
	if freed != got {
		t.Fatalf("freed %+v, gone are %+v", freed, got)
	}
}

func (m *model) fileKeys(t tester) (keys KeySet) {
	t.Helper()
	rows, err := m.db.Query("SELECT dedup_key FROM metrics")
	noError(t, err)
	defer rows.Close()
	for rows.Next() {
		var k Key
		noError(t, rows.Scan(&k))
		keys = append(keys, k)
	}
	noError(t, rows.Err())
	return keys
}

// restart is another run of the shipper, which knows what the file says.
func (m *model) restart(t *rapid.T) {
	if rapid.Bool().Draw(t, "killed") {
		abandon(m.ob)
	} else {
		noError(t, m.ob.Close(background))
	}
	var err error
	m.ob, err = OpenOutbox(background, m.in.o)
	noError(t, err)
	chunks, err := m.ob.OpenChunks(background)
	noError(t, err)
	if len(chunks) != len(m.open) {
		t.Fatalf("%d open chunks, want %d", len(chunks), len(m.open))
	}
	for i, c := range chunks {
		if i > 0 && chunks[i-1].Keys[0] > c.Keys[0] {
			t.Fatalf("chunk %d is out of order", c.ID)
		}
		j := slices.IndexFunc(m.open, func(o *Chunk) bool { return o.ID == c.ID })
		if j < 0 || c.State != m.open[j].State || !slices.Equal(c.Keys, m.open[j].Keys) {
			t.Fatalf("chunk %+v is not as it was", c)
		}
	}
	m.open = chunks
}

func (m *model) checkpoint(t *rapid.T) {
	r, err := m.in.Checkpoint(background)
	if err != nil || !r.Complete {
		t.Fatalf("%+v, %v", r, err)
	}
}
