package store

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// anyKeySet draws sets with neighbours, gaps and the ends of the range.
func anyKeySet() *rapid.Generator[KeySet] {
	key := rapid.OneOf(
		rapid.Map(rapid.Int64Range(0, 30), func(k int64) Key { return Key(k) }),
		rapid.Map(rapid.Int64Range(0, math.MaxInt64), func(k int64) Key { return Key(k) }),
		rapid.Just(Key(math.MaxInt64)),
		rapid.Custom(func(t *rapid.T) Key {
			return PackKey(tick0.UnixMilli()+rapid.Int64Range(0, 5000).Draw(t, "ms"), rapid.Int64Range(1, 200).Draw(t, "series"))
		}),
	)
	return rapid.Map(rapid.SliceOfN(key, 0, 50), func(keys []Key) KeySet { return KeySet(keys).Sorted() })
}

func TestKeySet_EncodeDecode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyKeySet().Draw(t, "keys")
		got, err := decodeKeySet(want.encode())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", []Key(got), err, []Key(want))
		}
	})
}

func TestKeySet_EncodedSize(t *testing.T) {
	t.Parallel()
	var keys KeySet
	for tick := range int64(25) {
		for id := range int64(100) {
			keys = append(keys, PackKey(tick0.UnixMilli()+10_000*tick, id+1))
		}
	}
	if got := float64(len(keys.encode())) / float64(len(keys)); got > 1.1 {
		t.Errorf("%.2f bytes a key in whole ticks, want hardly more than 1", got)
	}
}

func TestDecodeKeySet_Bad(t *testing.T) {
	t.Parallel()
	f := func(what string, b ...byte) {
		t.Helper()
		if got, err := decodeKeySet(b); err == nil {
			t.Errorf("%s: got %v, want an error", what, []Key(got))
		}
	}
	f("a key twice", 5, 0)
	f("cut in a number", 5, 0x80)
	f("a number of more than 64 bits", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
	f("a key of more than 63 bits", 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1)
	f("a sum of more than 63 bits", append(KeySet{math.MaxInt64}.encode(), 1)...)
	f("a sum of more than 64 bits", append(KeySet{math.MaxInt64}.encode(), KeySet{math.MaxInt64}.encode()...)...)
}

func FuzzDecodeKeySet(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{5, 0})
	f.Add([]byte{5, 0x80})
	f.Add(KeySet{1, 2, 300, math.MaxInt64}.encode())
	f.Add(KeySet{PackKey(tick0.UnixMilli(), 1), PackKey(tick0.UnixMilli(), 2)}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := decodeKeySet(b)
		if err != nil {
			return
		}
		for i, k := range keys {
			if k < 0 || i > 0 && k <= keys[i-1] {
				t.Fatalf("%x: key %d of %v is out of order", b, i, []Key(keys))
			}
		}
		again, err := decodeKeySet(keys.encode())
		if err != nil || !slices.Equal(again, keys) {
			t.Errorf("%x: got %v, then %v, %v", b, []Key(keys), []Key(again), err)
		}
	})
}

func TestKeySet_LikeAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyKeySet().Draw(t, "a"), anyKeySet().Draw(t, "b")
		dropped := map[Key]bool{}
		for _, k := range b {
			dropped[k] = true
		}
		var want KeySet
		for _, k := range a {
			if !dropped[k] {
				want = append(want, k)
			}
			if a.Contains(k) != true || b.Contains(k) != dropped[k] {
				t.Errorf("Contains(%d): %v and %v", k, a.Contains(k), b.Contains(k))
			}
		}
		before := slices.Clone(a)
		if got := a.Without(b); !slices.Equal(got, want) {
			t.Errorf("Without: got %v, want %v", []Key(got), []Key(want))
		}
		if !slices.Equal(a, before) {
			t.Error("Without changed its set")
		}
	})
}

func TestKeySet_Sorted(t *testing.T) {
	t.Parallel()
	if got, want := (KeySet{3, 1, 2, 3, 1}).Sorted(), (KeySet{1, 2, 3}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", []Key(got), []Key(want))
	}
	if got := KeySet(nil).Sorted(); len(got) != 0 {
		t.Errorf("got %v, want none", []Key(got))
	}
}

func TestKeySet_JSON(t *testing.T) {
	t.Parallel()
	for _, want := range []KeySet{{}, {1}, {0, 7, math.MaxInt64}} {
		var got KeySet
		if err := json.Unmarshal([]byte(want.json()), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", want.json(), []Key(got), err, []Key(want))
		}
	}
}

func TestKeySet_String(t *testing.T) {
	t.Parallel()
	f := func(s KeySet, want string) {
		t.Helper()
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(nil, "no rows")
	f(KeySet{PackKey(1000, 1), PackKey(1000, 2), PackKey(2500, 1)}, "3 rows from 1000 ms to 2500 ms")
}
