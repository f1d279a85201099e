package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// KeySet is a set of keys in ascending order, without duplicates.
type KeySet []Key

// Contains reports whether k is in the set.
func (s KeySet) Contains(k Key) bool {
	_, found := slices.BinarySearch(s, k)
	return found
}

// Without returns the keys of s that are not in drop.
func (s KeySet) Without(drop KeySet) KeySet {
	rest := make(KeySet, 0, len(s))
	for _, k := range s {
		for len(drop) > 0 && drop[0] < k {
			drop = drop[1:]
		}
		if len(drop) == 0 || drop[0] != k {
			rest = append(rest, k)
		}
	}
	return rest
}

// encode writes the keys as uvarints: the first, then differences. Neighbours
// within a tick differ by a series id, so most keys take one byte.
func (s KeySet) encode() []byte {
	b := make([]byte, 0, 8+2*len(s))
	last := Key(0)
	for _, k := range s {
		b = binary.AppendUvarint(b, uint64(k-last))
		last = k
	}
	return b
}

func decodeKeySet(b []byte) (KeySet, error) {
	s := make(KeySet, 0, len(b))
	last := uint64(0)
	for i := 0; len(b) > 0; i++ {
		diff, n := binary.Uvarint(b)
		if n <= 0 || (i > 0 && diff == 0) || last+diff < last || last+diff > 1<<63-1 {
			return nil, errors.New("row_keys: not ascending keys")
		}
		last += diff
		s = append(s, Key(last))
		b = b[n:]
	}
	return s, nil
}

// Pack returns the set in one to two bytes a key, for keeping many of them;
// UnpackKeySet reads it.
func (s KeySet) Pack() []byte { return s.encode() }

// UnpackKeySet is the inverse of KeySet.Pack.
func UnpackKeySet(packed []byte) (KeySet, error) { return decodeKeySet(packed) }

// json writes the keys as a JSON array, for json_each.
func (s KeySet) json() string {
	b := make([]byte, 0, 2+20*len(s))
	b = append(b, '[')
	for i, k := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(k), 10)
	}
	return string(append(b, ']'))
}

// String names the set for an error text: how many, and the span.
func (s KeySet) String() string {
	if len(s) == 0 {
		return "no rows"
	}
	return fmt.Sprintf("%d rows from %d ms to %d ms", len(s), s[0].TimestampMS(), s[len(s)-1].TimestampMS())
}

// Sorted makes a KeySet of keys in any order: it sorts them in place and drops
// duplicates.
func (s KeySet) Sorted() KeySet {
	slices.Sort(s)
	return slices.Compact(s)
}
