package victoria

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestLineParser(t *testing.T) {
	t.Parallel()
	var p lineParser
	f := func(line, want string) {
		t.Helper()
		got := "error"
		err := p.parse([]byte(line))
		if err == nil {
			got = fmt.Sprint(p.labels, p.timestamps)
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", line, got, err, want)
		}
	}
	f(`{"metric":{"__name__":"n","b":"2","a":"1"},"values":[1,2.5e3,-0.1],"timestamps":[1,2,3]}`, "[{__name__ n} {a 1} {b 2}] [1 2 3]")
	f(`{"metric":{"__name__":"n","b":"2","a":"1"},"values":[null],"timestamps":[-7]}`, "[{__name__ n} {a 1} {b 2}] [-7]")
	f(`{"timestamps":[1],"values":["Infinity"],"metric":{"a":"é\"\\\u0001]}"}}`, "[{a é\"\\\x01]}}] [1]")
	f(` { "metric" : { } , "values" : [ ] , "timestamps" : [ ] } `, "[] []")
	f(`{"metric":{"a":"b"},"more":{"x":[1,"]}"]},"values":[{}],"timestamps":[1]}`, "[{a b}] [1]")
	for _, bad := range []string{
		``, `x`, `{`, `{}`, `[]`, `null`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1]`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":`,
		`{"metric":{"a":"b"},"values":[1]}`,
		`{"metric":{"a":"b"},"timestamps":[1]}`,
		`{"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"values":[1,2],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1,2]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1]}}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1]} {}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1.5]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":["1"]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[null]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[99999999999999999999]}`,
		`{"metric":{"a":"b"},"values":1,"timestamps":1}`,
		`{"metric":{"a":"b"},"values":[1,],"timestamps":[1,2]}`,
		`{"metric":{"a":"b"},"values":[1 2],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"values":[1],"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"metric":{"a":"b"},"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"values":[1],"timestamps":[1],"timestamps":[1]}`,
		`{"metric":{"a":1},"values":[1],"timestamps":[1]}`,
		`{"metric":["a"],"values":[1],"timestamps":[1]}`,
		`{"metric":null,"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b},"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b"}"values":[1],"timestamps":[1]}`,
		`{"metric":{"a":"b"},"values":["x],"timestamps":[1]}`,
	} {
		f(bad, "error")
	}
	// A bad line leaves no labels behind for a good one.
	f(`{"metric":{"a":"b"},"values":[1],"timestamps":[1]}`, "[{a b}] [1]")
}

// FuzzLineParser: where encoding/json understands a line of the format, the
// parser reads the same; where a line was cut, it says so.
func FuzzLineParser(f *testing.F) {
	for _, seed := range []string{
		`{"metric":{"__name__":"n","b":"2"},"values":[1,2.5e3],"timestamps":[1,2]}`,
		`{"timestamps":[1],"values":["Infinity"],"metric":{"a":"é\"\\\u0001]}"}}`,
		`{"metric":{},"values":[null],"timestamps":[-7],"x":[{"y":"]"}]}`,
		`{ "metric" : {"a":"b"} , "values" : [ ] , "timestamps" : [ ] }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var p lineParser
		err := p.parse(line)
		var want struct {
			Metric     map[string]string `json:"metric"`
			Values     []any             `json:"values"`
			Timestamps []int64           `json:"timestamps"`
		}
		if err != nil || json.Unmarshal(line, &want) != nil {
			return
		}
		if strings.Contains(strings.ToLower(string(line)), `\u`) || hasOddKeys(line) {
			return // encoding/json takes "METRIC" and "metr\u0069c" for the same key
		}
		got := map[string]string{}
		for _, l := range p.labels {
			got[l.Name] = l.Value
		}
		if !maps.Equal(got, want.Metric) || !slices.Equal(p.timestamps, want.Timestamps) || len(want.Values) != len(p.timestamps) {
			t.Errorf("%q: got %v %v, want %v %v", line, got, p.timestamps, want.Metric, want.Timestamps)
		}
		var cut lineParser
		for _, n := range []int{1, 2, len(line) / 3, len(line) / 2} {
			if n < len(line) && cut.parse(line[:len(line)-n]) == nil && strings.TrimRight(string(line[len(line)-n:]), " \t\r\n") != "" {
				t.Errorf("%q without its last %d bytes is taken", line, n)
			}
		}
	})
}

// hasOddKeys finds keys that encoding/json folds together.
func hasOddKeys(line []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return true
	}
	for key := range fields {
		for _, name := range []string{"metric", "values", "timestamps"} {
			if key != name && strings.EqualFold(key, name) {
				return true
			}
		}
	}
	return false
}

func BenchmarkLineParser(b *testing.B) {
	var line strings.Builder
	line.WriteString(`{"metric":{"__name__":"cpu_usage_percent","core":"0","device_id":"belabox-1f9c2ab4"},"values":[0`)
	for i := range 999 {
		fmt.Fprintf(&line, ",%d.%d", i, i)
	}
	line.WriteString(`],"timestamps":[1700000000000`)
	for i := range 999 {
		fmt.Fprintf(&line, ",%d", 1_700_000_000_000+int64(i)*10_000)
	}
	line.WriteString("]}")
	text := []byte(line.String())
	var p lineParser
	b.ReportAllocs()
	for b.Loop() {
		if err := p.parse(text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/sample")
}
