package store

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonicalTags(t *testing.T) {
	t.Parallel()
	f := func(want string, tags ...Tag) {
		t.Helper()
		if got := CanonicalTags(tags); got != want {
			t.Errorf("%q: got %s, want %s", tags, got, want)
		}
	}
	f(`{}`)
	f(`{"core":"0"}`, Tag{"core", "0"})
	f(`{"a":"1","b":"2","c":"3"}`, Tag{"c", "3"}, Tag{"a", "1"}, Tag{"b", "2"})
	// Bytes decide, not letters.
	f(`{"B":"1","a":"2","é":"3"}`, Tag{"é", "3"}, Tag{"a", "2"}, Tag{"B", "1"})
	f(`{"":""}`, Tag{"", ""})
	// Of doubles the last wins, wherever it stands.
	f(`{"a":"3","b":"2"}`, Tag{"a", "1"}, Tag{"b", "2"}, Tag{"a", "3"})
	f(`{"a":"1"}`, Tag{"a", "2"}, Tag{"a", "3"}, Tag{"a", "1"})
	// Escapes: what JSON demands, and what encoding/json adds for JavaScript.
	f(`{"q":"\"\\\n\t\u0000\u001f"}`, Tag{"q", "\"\\\n\t\x00\x1f"})
	f(`{"html":"<a&b>"}`, Tag{"html", "<a&b>"})
	f(`{"\u2028":"\u2029"}`, Tag{"\u2028", "\u2029"})
	f(`{"zone":"CPU-température ☀ 𝄞"}`, Tag{"zone", "CPU-température ☀ 𝄞"})
	// Each byte that is no UTF-8 becomes U+FFFD, and only then are names compared.
	f(`{"a":"x��y"}`, Tag{"a", "x\xff\xfey"})
	f(`{"�":"2"}`, Tag{"\xff", "1"}, Tag{"\xfe", "2"})
	f(`{"z":"1","�":"2","𝄞":"3"}`, Tag{"𝄞", "3"}, Tag{"\x80", "2"}, Tag{"z", "1"})
}

func TestCanonicalTags_LeavesItsArgumentAlone(t *testing.T) {
	t.Parallel()
	tags := []Tag{{"b", "\xff"}, {"a", "1"}}
	CanonicalTags(tags)
	if want := []Tag{{"b", "\xff"}, {"a", "1"}}; !slices.Equal(tags, want) {
		t.Errorf("got %q, want %q", tags, want)
	}
}

func TestParseTags(t *testing.T) {
	t.Parallel()
	f := func(object string, want ...Tag) {
		t.Helper()
		got, err := ParseTags(object)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", object, got, err, want)
		}
	}
	f(``)
	f(`{}`)
	f(` { } `)
	f(`{"b":"2","a":"1"}`, Tag{"a", "1"}, Tag{"b", "2"})
	f(`{"a":"1","a":"2"}`, Tag{"a", "2"})
	f(`{"a":"\u00e9\"<"}`, Tag{"a", `é"<`})
	// Values that are no strings keep their text.
	f(`{"core": 0 , "load":1.50, "on":true, "off":null}`,
		Tag{"core", "0"}, Tag{"load", "1.50"}, Tag{"off", "null"}, Tag{"on", "true"})
	f(`{"list":[1, 2],"map":{"x": 1}}`, Tag{"list", "[1, 2]"}, Tag{"map", `{"x": 1}`})
	f("{\"\xff\":\"\xfe\",\"raw\":[\"\xff\"]}", Tag{"raw", `["�"]`}, Tag{"�", "�"})
}

func TestParseTags_Malformed(t *testing.T) {
	t.Parallel()
	for _, object := range []string{"x", "{", `{"a"}`, `{"a":}`, `{"a":"1"} x`, "[]", `"a"`, "1", `{a:1}`, "{'a':'1'}"} {
		got, err := ParseTags(object)
		if err == nil || !strings.Contains(err.Error(), "tags ") {
			t.Errorf("%s: got %q, %v, want an error that shows the tags", object, got, err)
		}
	}
}

// anyTags draws sets of tags that are likely to hold doubles, escapes and bytes
// that are no UTF-8.
func anyTags() *rapid.Generator[[]Tag] {
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "b", "B", "core", "\xff", "\xfe\x80", "é", "\"", "\\", "<&>", "\u2028", "\x00"}),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }),
	)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Tag {
		return Tag{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
	}), 0, 8)
}

func TestCanonicalTags_EveryOrderGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		byName := map[string]string{}
		for _, tag := range anyTags().Draw(t, "tags") {
			byName[validUTF8(tag.Name)] = tag.Value
		}
		var tags []Tag
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			tags = append(tags, Tag{name, byName[name]})
		}
		want := CanonicalTags(tags)
		if got := CanonicalTags(rapid.Permutation(tags).Draw(t, "order")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestCanonicalTags_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tags := anyTags().Draw(t, "tags")
		canonical := CanonicalTags(tags)
		parsed, err := ParseTags(canonical)
		if err != nil {
			t.Fatal(err)
		}
		if again := CanonicalTags(parsed); again != canonical {
			t.Errorf("%q: %s read and written again is %s", tags, canonical, again)
		}
		// What another JSON reader makes of it is what went in.
		got, want := map[string]string{}, map[string]string{}
		if err := json.Unmarshal([]byte(canonical), &got); err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			want[validUTF8(tag.Name)] = validUTF8(tag.Value)
		}
		if !maps.Equal(got, want) || len(parsed) != len(want) {
			t.Errorf("%s: got %q, want %q", canonical, got, want)
		}
	})
}

func FuzzParseTags(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"a":"1","b":2}`, `{"a":{"b":[1,"x"]}}`, `{"a":"\ud800"}`, "{\"\xff\":\"\xfe\"}", `{"a":1e999}`, `[`, `{"a":"1","a":"2"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, object string) {
		tags, err := ParseTags(object)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%q: not sorted: %q", object, tags)
		}
		again, err := ParseTags(CanonicalTags(tags))
		if err != nil || len(tags)+len(again) > 0 && !reflect.DeepEqual(again, tags) {
			t.Errorf("%q: got %q, then %q, %v", object, tags, again, err)
		}
	})
}
