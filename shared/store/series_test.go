package store

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSeriesKey_Fixed has keys that were computed outside this program: files in
// the field hold them, so they can never change.
func TestSeriesKey_Fixed(t *testing.T) {
	t.Parallel()
	f := func(s *Series, want string) {
		t.Helper()
		key := seriesKey(s.Device, s.Name, s.Tags, s.Type)
		if got := hex.EncodeToString(key[:]); got != want {
			t.Errorf("%+v: got %s, want %s", s, got, want)
		}
	}
	core := Tag{"core", "0"}
	f(NewSeries("box-1", "cpu.usage_percent", Number, core), "d744176e734475c2b6fc00fd0fe7d2be483cbf82f88f6efda3cbd6f5727f3981")
	f(NewSeries("box-1", "cpu.usage_percent", Text, core), "e82c8ba48dcf79f3833f5c26701eab3f23898bf4c3871d114201cc6cf8bbdbd5")
	f(NewSeries("", "", Number), "c9904f855000b29639ed8d062d6afe5ce3f92d8802c6f9a31531e69d4e022029")
}

// TestSeriesKey_ValueType: a metric that changes from number to text is another
// series, so its rows never stand in each other's way.
func TestSeriesKey_ValueType(t *testing.T) {
	t.Parallel()
	number, text := NewSeries("d", "n", Number, Tag{"a", "1"}), NewSeries("d", "n", Text, Tag{"a", "1"})
	if seriesKey(number.Device, number.Name, number.Tags, number.Type) == seriesKey(text.Device, text.Name, text.Tags, text.Type) {
		t.Error("number and text have one key")
	}
	in := openInserter(t, options(newPath(t)), time.Hour)
	mustInsert(t, in, tick0, []Sample{{Series: number, Value: 1}})
	mustInsert(t, in, tick0, []Sample{{Series: text, Text: "one"}}) // at the same millisecond
}

func TestSeriesKey_PartsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	keys := map[string]string{}
	for _, s := range []*Series{
		NewSeries("ab", "c", Number), NewSeries("a", "bc", Number), NewSeries("abc", "", Number), NewSeries("", "abc", Number),
		NewSeries("abc", "", Text),
		{Device: "ab", Name: "c", Tags: "{}0"},
		{Device: "ab", Name: "c{}"},
		{Device: "ab", Name: "c{}0"},
		{Device: "ab", Name: "", Tags: "c{}"},
		{Device: "a\x00", Name: "b"},
		{Device: "a", Name: "\x00b"},
		NewSeries("ab", "c", Number, Tag{"a", "1"}), NewSeries("ab", "c", Number, Tag{"a", ""}, Tag{"1", ""}),
		NewSeries("ab", "c", Number, Tag{"a1", ""}), NewSeries("ab", "c", Number, Tag{"", "a1"}),
	} {
		key := seriesKey(s.Device, s.Name, s.Tags, s.Type)
		name := fmt.Sprintf("%+v", *s)
		if other, taken := keys[string(key[:])]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[string(key[:])] = name
	}
}

func TestSeriesKey_DistinctIdentitiesHaveDistinctKeys(t *testing.T) {
	t.Parallel()
	part := rapid.OneOf(rapid.StringOfN(rapid.SampledFrom([]rune("ab{}\":,01\x00")), 0, 4, -1), rapid.String())
	identity := rapid.Custom(func(t *rapid.T) Series {
		return Series{
			Device: part.Draw(t, "device"), Name: part.Draw(t, "name"), Tags: part.Draw(t, "tags"),
			Type: rapid.SampledFrom([]ValueType{Number, Text}).Draw(t, "type"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := identity.Draw(t, "a"), identity.Draw(t, "b")
		sameKey := seriesKey(a.Device, a.Name, a.Tags, a.Type) == seriesKey(b.Device, b.Name, b.Tags, b.Type)
		if sameKey != (a == b) {
			t.Errorf("%+v and %+v: same key %v", a, b, sameKey)
		}
	})
}

func TestNewSeries_TagOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	a := NewSeries("d", "n", Number, Tag{"x", "1"}, Tag{"a", "2"})
	b := NewSeries("d", "n", Number, Tag{"a", "2"}, Tag{"x", "1"})
	if *a != *b || strings.Contains(a.Tags, " ") {
		t.Errorf("got %+v and %+v, want equal ones", a, b)
	}
}
