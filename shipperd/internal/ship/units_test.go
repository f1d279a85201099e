package ship

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

func TestBackoff_Values(t *testing.T) {
	t.Parallel()
	c := RetryConfig{InitialBackoff: time.Second, MaxBackoff: time.Minute, Multiplier: 2}
	r := rand.New(rand.NewPCG(1, 1))
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := backoff(c, attempt, r); got != want {
			t.Errorf("attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

// TestBackoff_Jitter: ± 20 %, and all of that range.
func TestBackoff_Jitter(t *testing.T) {
	t.Parallel()
	c := RetryConfig{InitialBackoff: time.Second, MaxBackoff: time.Minute, Multiplier: 2, JitterPercent: 20}
	for attempt, base := range map[int]time.Duration{1: time.Second, 3: 4 * time.Second, 9: time.Minute} {
		least, most := time.Duration(math.MaxInt64), time.Duration(0)
		dice := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			d := backoff(c, attempt, dice)
			least, most = min(least, d), max(most, d)
		}
		if least < base*80/100 || least > base*82/100 || most > base*120/100 || most < base*118/100 {
			t.Errorf("attempt %d: %v to %v, want %v ± 20 %%", attempt, least, most, base)
		}
	}
}

// TestBackoff_NeverBelowRetryAfter: a wait that the server demands is only made longer.
func TestBackoff_NeverBelowRetryAfter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		if d := beyond(10*time.Second, 20, rand.New(rand.NewPCG(seed, 1))); d < 10*time.Second || d > 12*time.Second {
			t.Fatalf("%v is not 10 s + 20 %%", d)
		}
	})
}

func TestEarliestAndLater(t *testing.T) {
	t.Parallel()
	none, a := time.Time{}, time.Now()
	b := a.Add(time.Second)
	f := func(got, want time.Time) {
		t.Helper()
		if !got.Equal(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	f(earliest(a, b), a)
	f(earliest(b, a), a)
	f(earliest(none, b), b)
	f(earliest(a, none), a)
	f(earliest(none, none), none)
	f(later(a, b), b)
	f(later(b, a), b)
	f(later(none, a), a)
}

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	unlimited := pace{}
	if next := unlimited.spent(1<<30, now); next.After(now) {
		t.Errorf("unlimited, and yet a wait of %v", next.Sub(now))
	}
	p := pace{bytesPerSecond: 1000}
	f := func(n int, at, want time.Duration) {
		t.Helper()
		if got := p.spent(n, now.Add(at)).Sub(now); got != want {
			t.Errorf("%d bytes at %v: next at %v, want %v", n, at, got, want)
		}
	}
	f(500, 0, 500*time.Millisecond)
	f(500, 100*time.Millisecond, time.Second)
	f(1000, 5*time.Second, 6*time.Second) // time that was not used is not saved up
}

func TestSizer(t *testing.T) {
	t.Parallel()
	var z sizer
	now := time.Now()
	f := func(want int) {
		t.Helper()
		if got := z.of(100_000); got != want {
			t.Errorf("%d of 100,000 rows, want %d", got, want)
		}
	}
	f(100_000)
	z.broke(50_000, now)
	f(100_000) // one may be an accident
	z.accepted(50_000, 100_000, now)
	z.broke(50_000, now)
	f(100_000)
	z.broke(50_000, now)
	f(25_000)
	z.broke(25_000, now)
	f(12_500)
	z.broke(300, now) // that small, it was not the size
	f(12_500)
	for range 10 {
		z.broke(z.limit, now)
	}
	f(smallest)
	z.accepted(smallest, 100_000, now.Add(regrow/2))
	f(smallest)
	now = now.Add(regrow)
	z.accepted(100, 100_000, now)
	f(smallest) // a small one shows nothing
	z.accepted(smallest, 100_000, now)
	f(2 * smallest)
	for range 10 {
		z.accepted(z.limit, 100_000, now)
	}
	f(100_000)
	if !z.fits(1 << 30) {
		t.Error("a limit that has grown away still holds")
	}
	z.tooLarge(4000, now)
	f(2000)
	for range 20 {
		z.tooLarge(z.limit, now)
	}
	f(1)
}

func TestInterval(t *testing.T) {
	t.Parallel()
	var v interval
	if v.overlaps(-1<<62, 1<<62) {
		t.Error("the empty interval overlaps")
	}
	v.add(10, 20)
	v.add(15, 30)
	v.add(5, 6)
	for _, c := range []struct {
		from, to int64
		want     bool
	}{{0, 4, false}, {0, 5, true}, {7, 9, true}, {30, 40, true}, {31, 40, false}} {
		if got := v.overlaps(c.from, c.to); got != c.want {
			t.Errorf("%d to %d: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestResendDelay(t *testing.T) {
	t.Parallel()
	for times, want := range map[int]time.Duration{
		0: 0, 1: 0, 2: 30 * time.Second, 3: time.Minute, 5: 4 * time.Minute, 7: 10 * time.Minute, 100: 10 * time.Minute,
	} {
		if got := resendDelay(times); got != want {
			t.Errorf("after %d times: %v, want %v", times, got, want)
		}
	}
}

// TestView_ExplainedBy tells deduplication from loss.
func TestView_ExplainedBy(t *testing.T) {
	t.Parallel()
	// f takes a sample each step of which keep tells what is there.
	f := func(what string, step int64, keep func(i int) bool, want int64) {
		t.Helper()
		v := view{shown: map[string][]int64{}}
		for _, text := range []string{"a", "b"} {
			for i := range 60 {
				if ms := 1_000_000_000_000 + int64(i)*step; keep(i) {
					v.shown[text] = append(v.shown[text], ms)
				} else {
					v.missing = append(v.missing, missingSample{text: text, ms: ms, key: store.Key(len(v.missing) + 1)})
				}
			}
		}
		v.all = v.shown
		got := int64(0)
		for _, ms := range intervals {
			if v.explainedBy(ms) {
				got = ms
				break
			}
		}
		if got != want {
			t.Errorf("%s: deduplicated by %d ms, want %d", what, got, want)
		}
		if want > 0 && len(v.covered(want)) != len(v.missing) {
			t.Errorf("%s: %d of %d are covered", what, len(v.covered(want)), len(v.missing))
		}
	}
	f("each second, one of ten", 1000, func(i int) bool { return i%10 == 0 || i == 59 }, 10_000)
	f("each second, one of seven", 1000, func(i int) bool { return (1_000_000_000+i)%7 == 0 || i == 59 }, 7000)
	f("each 300 ms, one of a second", 300, func(i int) bool { return end(int64(i)*300, 1000) != end(int64(i+1)*300, 1000) || i == 59 }, 1000)
	f("each ten seconds, one of a minute", 10_000, func(i int) bool { return (100_000_000+i)%6 == 0 || i == 59 }, 60_000)
	f("the end is lost", 1000, func(i int) bool { return i < 50 }, 0)
	f("the beginning is lost", 1000, func(i int) bool { return i > 5 }, 0)
	f("each third is lost", 1000, func(i int) bool { return i%3 > 0 }, 0)
	f("two of three are lost, but not the last ones", 1000, func(i int) bool { return i%3 == 0 }, 0)
	f("one is lost", 10_000, func(i int) bool { return i != 30 }, 0)
	f("all is lost", 1000, func(i int) bool { return false }, 0)
}

// TestInflights_Owner finds the owner of each row, and of no other.
func TestInflights_Owner(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b inflights
		owned := map[store.Key]bool{}
		for range rapid.IntRange(0, 5).Draw(t, "chunks") {
			keys := store.KeySet{}
			for _, k := range rapid.SliceOfNDistinct(rapid.Int64Range(0, 100), 1, 20, rapid.ID[int64]).Draw(t, "keys") {
				if !owned[store.Key(k)] {
					keys = append(keys, store.Key(k))
				}
			}
			if len(keys) == 0 {
				continue
			}
			p := newInflight(&store.Chunk{Keys: keys.Sorted(), State: rapid.SampledFrom([]store.ChunkState{store.Sending, store.Requeued, store.Accepted}).Draw(t, "state")}, store.Timeline{{}})
			p.pack()
			for _, k := range keys {
				owned[k] = p.State != store.Accepted
			}
			b.add(p)
		}
		owner := b.owner()
		for k := store.Key(0); k <= 100; k++ {
			if got := owner != nil && owner(k); got != owned[k] {
				t.Fatalf("row %d is owned: %v, want %v", k, got, owned[k])
			}
		}
	})
}

// TestInflight_Pack: a packed chunk unpacks to what it was.
func TestInflight_Pack(t *testing.T) {
	t.Parallel()
	keys := store.KeySet{5, 6, 1 << 40, 1<<62 - 1}
	p := newInflight(&store.Chunk{Keys: keys, State: store.Accepted}, store.Timeline{{}})
	p.pack()
	if p.Keys != nil || p.n != 4 || p.first != 5 || p.last != 1<<62-1 {
		t.Errorf("packed: %+v", p)
	}
	for range 2 {
		if err := p.unpack(); err != nil || len(p.Keys) != 4 || p.Keys[2] != 1<<40 {
			t.Errorf("unpacked: %v, %v", p.Keys, err)
		}
	}
	p.packed = []byte{0x80}
	if err := p.unpack(); err == nil {
		t.Error("no error for what nobody packed")
	}
}
