package textfile

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// show writes entries as text, labels in their order.
func show(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %s", e.line, e.name)
		for _, l := range e.labels {
			fmt.Fprintf(&b, " %s=%q", l.Name, l.Value)
		}
		fmt.Fprintf(&b, " %v", e.value)
		if e.dated {
			fmt.Fprintf(&b, " at %d", e.ms)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		entries, err := parse([]byte(text), room{28, maxAllBytes, maxAllSamples})
		if got := show(entries); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	f("", "")
	f("\n \t\n", "")
	f("a 1\n", "1 a 1\n")
	f(" \ta \t 1 \t\n", "1 a 1\n")
	f("a:b_C9{} -1.5e3\n", "1 a:b_C9 -1500\n")
	f("a{b=\"c\"}1\n", `1 a b="c" 1`+"\n")
	f("a { b = \"c\" , d=\"e\", } 1 1700000000000\n", `1 a b="c" d="e" 1 at 1700000000000`+"\n")
	f(`a{b="x\\y\"z\nü",empty=""} 1`+"\n", `1 a b="x\\y\"z\nü" 1`+"\n")
	f("a NaN\na{x=\"1\"} +Inf\na{x=\"2\"} -Inf\na{x=\"3\"} inf\n", "1 a NaN\n2 a x=\"1\" +Inf\n3 a x=\"2\" -Inf\n4 a x=\"3\" +Inf\n")
	f("# a comment\n#\n#HELP\n# HELP\n# HELP a \\\\ any \\n text \\x\n# TYPE a gauge\na 1\n", "7 a 1\n")
	f("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n", "2 h_bucket le=\"+Inf\" 2\n3 h_sum 3\n4 h_count 2\n")
	f("# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\n", "2 s quantile=\"0.5\" 1\n3 s_sum 3\n4 s_count 2\n")
	// OpenMetrics: seconds, exemplars, the end with or without a line break.
	f("# TYPE a counter\n# UNIT a seconds\na_total 1 1700000000.1234 # {trace_id=\"x\"} 0.5 1.6\n# EOF\n", "3 a_total 1 at 1700000000123\n")
	f("a 1 # {} 1\n# EOF", "1 a 1\n")
	f("# EOF\n", "")

	wrong := func(text, want string) {
		t.Helper()
		if entries, err := parse([]byte(text), room{3, maxAllBytes, maxAllSamples}); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %q", text, entries, err, want)
		}
	}
	wrong("a 1\n1a 1\n", `line 2: want the name of a metric, got "1a 1"`)
	wrong("a\n", `line 1: want a space or { behind the name, got ""`)
	wrong("a \n", `line 1: want a value, got ""`)
	wrong("a-b 1\n", `line 1: want a space or { behind the name, got "-b 1"`)
	wrong("a 1 x\n", `line 1: want a timestamp in milliseconds between 1970 and September 2039, got "x"`)
	wrong("a 1 -5\n", `line 1: want a timestamp in milliseconds between 1970 and September 2039, got "-5"`)
	wrong("a 1 1700000000000000\n", `line 1: want a timestamp in milliseconds between 1970 and September 2039, got "1700000000000000"`)
	wrong("a 1 1700000000000\n# EOF\n", `line 1: want a timestamp in seconds between 1970 and September 2039, got "1700000000000"`)
	wrong("a 1 2 3\n", `line 1: want the end of the line, got "3"`)
	wrong("a 1_0\n", `line 1: want a value, got "1_0"`)
	wrong("a 0x1p3\n", `line 1: want a value, got "0x1p3"`)
	wrong("a 1e999\n", `line 1: want a value, got "1e999"`)
	wrong("a{b=\"c\" 1\n", `line 1: want , or } behind label "b", got "1"`)
	wrong("a{b=\"c\"", `line 1: want , or } behind label "b", got ""`)
	wrong("a{,} 1\n", `line 1: want the name of a label, got ",} 1"`)
	wrong("a{b} 1\n", `line 1: want = behind label "b", got "} 1"`)
	wrong("a{b=c} 1\n", `line 1: want a value in quotes for label "b", got "c} 1"`)
	wrong(`a{b="\t"} 1`+"\n", `line 1: the value of label "b" has no closing quote, or another escape than \\, \" and \n`)
	wrong(`a{b="`+"\n", `line 1: the value of label "b" has no closing quote, or another escape than \\, \" and \n`)
	wrong("a{b=\"\xff\"} 1\n", `line 1: the value of label "b" is not UTF-8`)
	wrong(`a{__name__="b"} 1`+"\n", `line 1: label "__name__": names that begin with __ are reserved`)
	wrong(`a{b="",b="1"} 1`+"\n", `line 1: label "b" is there twice`)
	wrong(`a{b="1",c="1",d="1",e="1"} 1`+"\n", `line 1: more than 3 labels; with device_id and device.labels at most 29 are stored`)
	wrong(`{"a.b"} 1`+"\n", `line 1: names in quotes are not supported: a name has letters, digits, _ and :`)
	wrong("# TYPE a gouge\n", `line 1: unknown type "gouge"; there are counter, gauge, histogram, summary, untyped, unknown, info, stateset, gaugehistogram`)
	wrong("# HELP 1 x\n", `line 1: want the name of a metric behind # HELP, got "1 x"`)
	wrong("a 1\n# EOF\nb 1\n# EOF\n", "line 3: text behind # EOF")
	wrong(strings.Repeat("a", 257)+" 1\n", "line 1: the name has 257 bytes, at most 256 are stored")
	wrong("a{b=\""+strings.Repeat("x", 4097)+"\"} 1\n", `line 1: the value of label "b" has 4097 bytes, at most 4096 are stored`)
	wrong("a 1\n#"+strings.Repeat("x", 65536)+"\n", "line 2: more than 65536 bytes")
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "a 1\n": true, "a 1": false, "a 1\nb": false, "# EOF": true, "a 1\n# EOF": true, "a 1 # EOF": false,
	} {
		if got := complete([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// flat is what a parser of others makes of a text: samples by name and labels.
func flat(families map[string]*dto.MetricFamily) map[string]bool {
	samples := map[string]bool{}
	for name, family := range families {
		for _, m := range family.Metric {
			add := func(suffix string, value float64, more ...string) {
				var labels []string
				for _, l := range m.Label {
					if l.GetValue() != "" {
						labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
					}
				}
				labels = append(labels, more...)
				slices.Sort(labels)
				samples[fmt.Sprint(name+suffix, labels, math.Float64bits(value), m.TimestampMs != nil, m.GetTimestampMs())] = true
			}
			switch {
			case m.Gauge != nil:
				add("", m.Gauge.GetValue())
			case m.Counter != nil:
				add("", m.Counter.GetValue())
			case m.Untyped != nil:
				add("", m.Untyped.GetValue())
			}
		}
	}
	return samples
}

// blankEnds are taken here; the other parser wants a timestamp behind a space.
var blankEnds = regexp.MustCompile(`[ \t]+\n`)

// FuzzParse compares with the parser of the Prometheus project. What that takes is taken, with the
// same samples, but for what this one refuses on purpose; and the reverse. Histograms and summaries
// are put together by the other parser, so only their texts are taken.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"a 1\n", "a{b=\"c\",d=\"\\\\\\\"\\n\"} -1e3 1700000000000\n", "# HELP a x\\n\n# TYPE a counter\na NaN\n", "a{b=\"1\"} +Inf\n# x\n\nc 2\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n", "a{b=\"\"} 0x1 5\n", "a{b = \"c\" , } 1\n",
		"a 1 # {x=\"y\"} 1\n# EOF\n", "{\"a\"} 1\n", "a{__x=\"1\"} 1\n", "# TYPE s summary\ns{quantile=\"0.5\"} 1\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parse(text, room{28, maxAllBytes, maxAllSamples})
		if !complete(text) || isOpenMetrics(text) || bytes.Contains(text, []byte("\r")) {
			return
		}
		other := expfmt.NewTextParser(model.LegacyValidation)
		families, otherErr := other.TextToMetricFamilies(bytes.NewReader(blankEnds.ReplaceAll(text, []byte("\n"))))
		// The other parser takes a name with the value right behind it: a+1.
		refused := err != nil && slices.ContainsFunc([]string{"timestamp", "quotes are not", "behind the name"}, func(text string) bool { return strings.Contains(err.Error(), text) })
		onPurpose := bytes.ContainsAny(text, "#") || bytes.Contains(text, []byte("__")) || bytes.Contains(text, []byte(`{"`)) || len(text) > 256
		if otherErr == nil && err != nil && !onPurpose && !refused {
			t.Fatalf("%q: %v, the other parser takes it", text, err)
		}
		if err != nil || otherErr != nil {
			if err == nil && !onPurpose && !strings.Contains(otherErr.Error(), "duplicate") {
				t.Fatalf("%q is taken; the other parser: %v", text, otherErr)
			}
			return
		}
		if bytes.Contains(text, []byte("TYPE")) {
			return
		}
		got := map[string]bool{}
		for _, e := range entries {
			var labels []string
			for _, l := range e.labels {
				labels = append(labels, fmt.Sprintf("%s=%q", l.Name, l.Value))
			}
			slices.Sort(labels)
			got[fmt.Sprint(e.name, labels, math.Float64bits(e.value), e.dated, e.ms)] = true
		}
		if want := flat(families); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
	})
}

// page is what an exporter shows: n series in families of ten.
func page(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		if i%10 == 0 {
			fmt.Fprintf(&b, "# HELP page_metric_%d_total What it counts.\n# TYPE page_metric_%d_total counter\n", i/10, i/10)
		}
		fmt.Fprintf(&b, "page_metric_%d_total{device=\"eth%d\",mode=\"user\"} %d.5\n", i/10, i%10, i)
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	text := page(1000)
	b.SetBytes(int64(len(text)))
	for name, parse := range map[string]func() error{
		"this": func() error { _, err := parse(text, room{28, maxAllBytes, maxAllSamples}); return err },
		"expfmt": func() error {
			p := expfmt.NewTextParser(model.LegacyValidation)
			_, err := p.TextToMetricFamilies(bytes.NewReader(text))
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := parse(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
