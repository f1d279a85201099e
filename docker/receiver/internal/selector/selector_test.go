package selector

import (
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// series is what the tests match against.
type series map[string]string

func (s series) get(name string) string { return s[name] }

func TestParse_Matches(t *testing.T) {
	t.Parallel()
	cpu := series{"__name__": "cpu_usage_percent", "device_id": "d", "core": "all"}
	f := func(text string, want bool) {
		t.Helper()
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(cpu.get); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	// Names.
	f(`cpu_usage_percent`, true)
	f(`  cpu_usage_percent  `, true)
	f(`cpu_usage_percent{}`, true)
	f(`cpu_usage`, false)
	f(`{__name__="cpu_usage_percent"}`, true)
	f(`cpu_usage_percent{__name__="other"}`, false)
	// The four operators, white space, a last comma, the three quotes.
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
	// A missing label is empty.
	f(`{mode=""}`, true)
	f(`{mode!=""}`, false)
	f(`{mode=~".*"}`, true)
	f(`{mode=~".+"}`, false)
	f(`{mode=~"|x"}`, true)
	f(`{mode!~""}`, false)
	// Escapes.
	f(`{core="\x61l\u006c"}`, true)
	f(`{core='a\154l'}`, true)
	f(`{core!="\"\\\n"}`, true)
	f(`{core=~"\\w+"}`, true)
	f("{core=~`\\w+`}", true)
	// . matches the end of a line too.
	s, err := Parse(`{a=~"x.y"}`)
	if err != nil || !s.Matches(series{"a": "x\ny"}.get) {
		t.Errorf(`x.y against "x\ny": got no match, %v`, err)
	}
}

func TestParse_Errors(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		s, err := Parse(text)
		if err == nil {
			t.Fatalf("%s: got %v, want an error", text, s)
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "selector \"") || len(err.Error()) > 300 {
			t.Errorf("%.80s: got %q, want %q in it", text, err, want)
		}
	}
	f(``, `is empty; write {__name__!=""} for all series`)
	f(`{}`, "is empty")
	f(`{,}`, "expected a label name before \",}\"")
	f(`{`, "expected a label name at its end")
	f(`{a="b"`, `expected "," or "}" at its end`)
	f(`{a="b" c="d"}`, `expected "," or "}" before`)
	f(`{a="b",,}`, "expected a label name")
	f(`{a}`, "expected =, !=, =~ or !~")
	f(`{a=b}`, "expected a quoted value")
	f(`{a==“b”}`, "expected a quoted value")
	f(`{a="b}`, `closing " is missing`)
	f(`{a='b"}`, `closing ' is missing`)
	f("{a=`b}", "closing ` is missing")
	f(`{a="\q"}`, "bad escape")
	f(`{1a="b"}`, "expected a label name")
	f(`{a:b="c"}`, "expected =")
	f(`{a="b"} or {c="d"}`, "expected the end")
	f(`rate(cpu[5m])`, `expected the end before "(cpu[5m])"`)
	f(`cpu[5m]`, "expected the end")
	f(`{a=~"("}`, `regular expression "(": missing closing )`)
	f(`{a=~"(?<n"}`, "regular expression")
	// It must not be possible to break out of the anchors.
	f(`{a=~"a)|(b"}`, "regular expression")
	// Small texts that compile to millions of instructions.
	f(`{a=~"(`+strings.Repeat("abcdefghij", 100)+`){1000}"}`, "is too large")
	f(`{a=~"((x{10}){10}){10}y{1000}(ab){1000}(abcdefgh){1000}"}`, "is too large")
	f(`{a=~"`+strings.Repeat("x.", 3000)+`"}`, "is too large")
	f(`{a=~"`+strings.Repeat("(", 1500)+strings.Repeat(")", 1500)+`"}`, "expression nests too deeply")
	f(strings.Repeat("x", 5000)+"(", "expected the end")
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
	f(`cpu{device_id=~"d"}`, "device_id", "")
	f(`cpu{device_id=""}`, "device_id", "")
}

// A list of thousands of names is common, and must be cheap.
func TestParse_LongList(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 50_000 {
		names = append(names, "metric_"+strconv.Itoa(i))
	}
	start := time.Now()
	s, err := Parse(`{__name__=~"` + strings.Join(names, "|") + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !s.Matches(series{"__name__": name}.get) {
			t.Fatalf("%s is not matched", name)
		}
	}
	// An automaton would need minutes.
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// Selectors made of random conditions are read back and give the answer that the conditions themselves give.
func TestParse_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"__name__", "a", "b", "_c9"})
		value := rapid.SampledFrom([]string{"", "x", "xy", "a|b", "é", "\n", "\"'`\\", "\xff", ".", "x.y"})
		labels := rapid.MapOf(name, value).Draw(t, "labels")
		var conditions []string
		want := true
		for range rapid.IntRange(1, 5).Draw(t, "conditions") {
			n, v := name.Draw(t, "name"), value.Draw(t, "value")
			op := rapid.SampledFrom([]string{"=", "!=", "=~", "!~"}).Draw(t, "op")
			holds := labels[n] == v
			if strings.HasSuffix(op, "~") && !strings.Contains(v, "\xff") {
				// As a regular expression that means just the value, at times one that means more.
				pattern := regexp.QuoteMeta(v)
				if rapid.Bool().Draw(t, "open") {
					pattern += ".?"
					holds = regexp.MustCompile(`\A(?s:` + pattern + `)\z`).MatchString(labels[n])
				}
				v = pattern
			} else {
				op = strings.Replace(op, "~", "=", 1)
				op = strings.Replace(op, "==", "=", 1)
			}
			want = want && holds != (op[0] == '!')
			conditions = append(conditions, n+op+strconv.Quote(v))
		}
		text := "{" + strings.Join(conditions, rapid.SampledFrom([]string{",", " , "}).Draw(t, "comma")) + "}"
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(series(maps.Clone(labels)).get); got != want {
			t.Fatalf("%s against %q: got %v, want %v", text, labels, got, want)
		}
	})
}

// The set of a plain list must mean what the regular expression means.
func TestAlternatives_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab|.*_:]{0,8}`).Draw(t, "pattern")
		re, err := regexp.Compile("^(?s:" + pattern + ")$")
		m, merr := matches("l", pattern)
		if (err == nil) != (merr == nil) {
			t.Fatalf("%q: got %v, regexp says %v", pattern, merr, err)
		}
		if err != nil {
			return
		}
		for _, v := range append(strings.Split(pattern, "|"), "", "a", "b", "ab", pattern) {
			if m.test(v) != re.MatchString(v) {
				t.Fatalf("%q against %q: got %v, regexp says %v", pattern, v, m.test(v), re.MatchString(v))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`cpu{a="b",c!='d',e=~"f.*|g",h!~` + "`i`" + `,}`, `{__name__=~"a|b|c"}`, `{a="\u00e9\x00\377"}`, `{`, `a:b`, `{a=~"(x{9}){9}"}`,
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
		if len(s.matchers) == 0 {
			t.Fatalf("%q: no condition", text)
		}
		same := s.Matches(func(string) string { return value })
		// Space around it must not matter.
		again, err := Parse(" " + text + "\n")
		if err != nil || again.Matches(func(string) string { return value }) != same {
			t.Fatalf("%q reads otherwise with space around it: %v", text, err)
		}
		for _, m := range s.matchers {
			if m.equal != "" && s.Matches(func(string) string { return m.equal + "x" }) {
				t.Fatalf("%q: matches although %s must be %q", text, m.name, m.equal)
			}
		}
	})
}
