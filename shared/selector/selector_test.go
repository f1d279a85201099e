package selector

import (
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type series = map[string]string

func TestParse_Matches(t *testing.T) {
	t.Parallel()
	cpu := series{"__name__": "cpu_usage_percent", "device_id": "d", "core": "all"}
	f := func(text string, want bool) {
		t.Helper()
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(cpu); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	// Names.
	f(`cpu_usage_percent`, true)
	f(`  cpu_usage_percent  `, true)
	f(`cpu_usage_percent{}`, true)
	f(`cpu_usage`, false)
	f(`{__name__="cpu_usage_percent"}`, true)
	// The four operators, white space, a last comma, the three quotes, or.
	f(`cpu_usage_percent{device_id="d"}`, true)
	f("{ device_id = 'd' , core=`all`, }", true)
	f(`{device_id="e"}`, false)
	f(`{device_id!="d"}`, false)
	f(`{device_id!="e"}`, true)
	f(`{core=~"a.*"}`, true)
	f(`{core=~"a"}`, false) // the whole value
	f(`{core=~"x|a.."}`, true)
	f(`{core=~"ll"}`, false)
	f(`{core!~"a.*"}`, false)
	f(`{core!~"[0-9]+"}`, true)
	f(`{core=~"0|all|1"}`, true)
	f(`{core=~"0|1"}`, false)
	f(`{core!~"0|1"}`, true)
	f(`{core="all",device_id="x"}`, false)
	f(`{core="0" or device_id="d"}`, true)
	f(`{core="0" or device_id="e"}`, false)
	// A missing label is empty.
	f(`{mode="",core="all"}`, true)
	f(`{mode!=""}`, false)
	f(`{mode=~".+"}`, false)
	f(`{mode=~"|x",core="all"}`, true)
	// Escapes, and . matches the end of a line too.
	f(`{core="\x61l\u006c"}`, true)
	f(`{core=~"\\w+"}`, true)
	f("{core=~`\\w+`}", true)
	s, err := Parse(`{a=~"x.y"}`)
	if err != nil || !s.Matches(series{"a": "x\ny"}) {
		t.Errorf(`x.y against "x\ny": got no match, %v`, err)
	}
}

func TestParse_Errors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `{}`, `{`, `{a}`, `{a=}`, `{a="b}`, `{a="b" c="d"}`, `{="b"}`, `a{a=~"("}`, `a b`, `{a="b"}}`, `{a=b}`, `{a==“b”}`,
		`cpu[5m]`, `cpu offset 5m`, `rate(cpu[5m])`, `a+b`, `-a`, `1`, `"a" + "b"`, `{a=~"(?<n"}`, `{a=~"a)|(b"}`,
		`WITH (x = y) x`, `WITH (x(a) = a+a+a+a) x(x(x(x(x(x(x(x(b))))))))`,
		`{a=~"((x{10}){10}){10}y{1000}(ab){1000}(abcdefgh){1000}"}`,
		`{a=~"` + strings.Repeat("(", 1500) + strings.Repeat(")", 1500) + `"}`,
		strings.Repeat("x", 5000) + "(", strings.Repeat("x", maxBytes+1), strings.Repeat("-", maxBytes),
	} {
		s, err := Parse(text)
		if err == nil {
			t.Errorf("Parse(%.80q) = %v, want an error", text, s)
		} else if !strings.HasPrefix(err.Error(), `parse selector "`) || len(err.Error()) > 500 {
			t.Errorf("Parse(%.80q): got %q", text, err)
		}
	}
}

func TestSelector_Equal(t *testing.T) {
	t.Parallel()
	f := func(text, name, want string) {
		t.Helper()
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Equal(name); got != want {
			t.Errorf("%s: got %q for %s, want %q", text, got, name, want)
		}
	}
	f(`cpu{device_id="d"}`, "__name__", "cpu")
	f(`cpu{device_id="d"}`, "device_id", "d")
	f(`cpu{device_id!="d"}`, "device_id", "")
	f(`cpu{device_id=~"d.*"}`, "device_id", "")
	f(`{device_id="d" or device_id="e"}`, "device_id", "")
}

// Selectors made of random conditions give the answer that the conditions themselves give.
func TestParse_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "_c9"})
		value := rapid.SampledFrom([]string{"", "x", "xy", "a|b", "é", "\n", "\"'`\\", ".", "x.y", "(", "with"})
		labels := rapid.MapOf(name, value).Draw(t, "labels")
		conditions := []string{`z=""`}
		want := true
		for range rapid.IntRange(1, 5).Draw(t, "conditions") {
			n, v := name.Draw(t, "name"), value.Draw(t, "value")
			op := rapid.SampledFrom([]string{"=", "!=", "=~", "!~"}).Draw(t, "op")
			holds := labels[n] == v
			if strings.HasSuffix(op, "~") {
				// A regular expression that means just the value, at times one that means more.
				v = regexp.QuoteMeta(v)
				if rapid.Bool().Draw(t, "open") {
					v += ".?"
				}
				holds = regexp.MustCompile(`\A(?s:` + v + `)\z`).MatchString(labels[n])
			}
			want = want && holds != (op[0] == '!')
			conditions = append(conditions, n+op+strconv.Quote(v))
		}
		text := "{" + strings.Join(conditions, rapid.SampledFrom([]string{",", " , "}).Draw(t, "comma")) + "}"
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(maps.Clone(labels)); got != want {
			t.Fatalf("%s against %q: got %v, want %v", text, labels, got, want)
		}
	})
}

// Whatever is asked is answered or refused, and space around it does not matter.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`cpu{a="b",c!='d',e=~"f.*|g",h!~` + "`i`" + `,}`, `{__name__=~"a|b|c"}`, `{a="\u00e9\x00\377"}`, `{`, `a:b`,
		`{a=~"(x{9}){9}" or b="c"}`, `WITH (x=y) x`,
	} {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		s, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		metric := series{"a": value, "__name__": value}
		again, err := Parse(" " + text + "\n")
		if err != nil || again.Matches(metric) != s.Matches(metric) {
			t.Fatalf("%q reads otherwise with space around it: %v", text, err)
		}
		if must := s.Equal("a"); must != "" && s.Matches(series{"a": must + "x", "__name__": value}) {
			t.Fatalf("%q: matches although a must be %q", text, must)
		}
	})
}
