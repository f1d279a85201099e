package jsonline

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	t.Parallel()
	f := func(text string, extra map[string]string, want Line) {
		t.Helper()
		for _, end := range []string{"", "\n", "\r\n", " "} {
			if got, err := Parse([]byte(text+end), extra); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
			}
		}
	}
	a := map[string]string{"__name__": "a"}
	f(`{"metric":{"__name__":"a"},"values":[1.5,-2e3],"timestamps":[1700000000000,-1]}`, nil,
		Line{a, []int64{1700000000000, -1}, []float64{1.5, -2000}})
	// Any order, space, other keys; labels that are empty or no strings are left out.
	f(`{ "timestamps" : [ 7 , 8 ] , "x":[{"y":null}],"values":[ 1 ,2 ],"metric":{"__name__":"a","b":"","c":7,"d":null}}`, nil,
		Line{a, []int64{7, 8}, []float64{1, 2}})
	// Names are not checked, and a series needs none.
	f(`{"metric":{"b c":"\u00e9\n"},"values":[0],"timestamps":[0]}`, nil,
		Line{map[string]string{"b c": "é\n"}, []int64{0}, []float64{0}})
	f(`{"metric":{"__name__":"a"},"values":[1e400,-1e400],"timestamps":[1,2]}`, nil,
		Line{a, []int64{1, 2}, []float64{math.Inf(1), math.Inf(-1)}})
	// Extra labels add and replace.
	extra := ExtraLabels(url.Values{"extra_label": {"b=1=2", "__name__=n", "rubbish"}})
	f(`{"metric":{"__name__":"a"},"values":[1],"timestamps":[1]}`, extra,
		Line{map[string]string{"__name__": "n", "b": "1=2"}, []int64{1}, []float64{1}})
}

func TestParse_Faults(t *testing.T) {
	t.Parallel()
	f := func(text, reason string, samples int) {
		t.Helper()
		l, err := Parse([]byte(text), nil)
		fault, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%.200s: got %v %v, want an *Error", text, l, err)
		}
		if !strings.HasPrefix(fault.Reason, reason) || fault.Samples != samples || len(fault.Reason) > 200 {
			t.Errorf("%.200s: got %q and %d samples, want %q and %d", text, fault.Reason, fault.Samples, reason, samples)
		}
	}
	// Not to be read.
	for _, text := range []string{
		``, `cpu 1 1700000000000`, `[]`, `null`, `1`, `{"metric":{"__name__":"a"},"values":[1],"timestamps":[17000000`, `{}{}`,
		`{"metric":{"__name__":"a\x"}}`, `{"values":[1,]}`, `{"values":[01]}`, `{"values":[.5]}`, `{"values":[NaN]}`,
		`{"x":` + strings.Repeat("[", 100_000),
	} {
		f(text, "line is not a JSON object", 1)
	}
	// A name with such a byte must not be stored under another name.
	f("{\"metric\":{\"__name__\":\"a\xff\"},\"values\":[1],\"timestamps\":[1]}", "line is not valid UTF-8", 1)
	// Readable, but no series with samples. One wrong element makes the line invalid.
	with := func(values, timestamps string) string {
		return fmt.Sprintf(`{"metric":{"__name__":"a"},"values":%s,"timestamps":%s}`, values, timestamps)
	}
	f(`{}`, "timestamps is not an array", 0)
	f(with(`7`, `[1]`), "values is not an array", 1)
	f(with(`[1]`, `null`), "timestamps is not an array", 1)
	f(with(`[]`, `[]`), "line has no samples", 0)
	f(with(`[1,2,3]`, `[1]`), "line has 3 values and 1 timestamps", 3)
	f(with(`[1,null]`, `[1,2]`), "values is not an array of numbers", 2)
	f(with(`[1,"2"]`, `[1,2]`), "values is not an array of numbers", 2)
	f(with(`["Infinity"]`, `[1]`), "values is not an array of numbers", 1)
	f(with(`[[1],{"a":2}]`, `[1,2]`), "values is not an array of numbers", 2)
	f(with(`["a, 5 ,b"]`, `[1]`), "values is not an array of numbers", 3)
	f(with(`[1,2]`, `[1,1.5]`), "timestamps is not an array of integers", 2)
	f(with(`[1]`, `[1e12]`), "timestamps is not an array of integers", 1)
	f(with(`[1]`, `["1"]`), "timestamps is not an array of integers", 1)
	f(with(`[1]`, `[9223372036854775808]`), "timestamps is not an array of integers", 1)
	// Labels.
	labels := func(metric string) string { return `{"metric":` + metric + `,"values":[1,2],"timestamps":[1,2]}` }
	f(labels(`7`), "metric is not a JSON object", 2)
	f(`{"values":[1,2],"timestamps":[1,2]}`, "metric is not a JSON object", 2)
	f(labels(`{}`), "metric has no labels", 2)
	f(labels(`{"__name__":""}`), "metric has no labels", 2)
	many := func(n int) string {
		object := map[string]string{}
		for i := range n {
			object[fmt.Sprint("l", i)] = "x"
		}
		return labels(Canonical(object))
	}
	f(many(MaxLabels+1), "metric has 41 labels, more than 40", 2)
	long := func(name, value int) string {
		return labels(Canonical(map[string]string{strings.Repeat("n", name): strings.Repeat("v", value)}))
	}
	f(long(MaxNameBytes+1, 1), `label name "nnnnnnnnnnnnnnnnnnnn"... is longer than 256 bytes`, 2)
	f(long(1, MaxValueBytes+1), `value of label "n" is longer than 4096 bytes`, 2)
	for _, text := range []string{many(MaxLabels), long(MaxNameBytes, MaxValueBytes)} {
		if _, err := Parse([]byte(text), nil); err != nil {
			t.Errorf("at the limit: %v", err)
		}
	}
}

// What Append writes, Parse reads, bit for bit.
func TestAppend_ReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		metric := rapid.MapOfN(rapid.StringN(1, 10, 30), rapid.StringN(1, 20, 90), 1, 8).Draw(t, "labels")
		want := Line{Metric: metric, Timestamps: rapid.SliceOfN(rapid.Int64(), 1, 50).Draw(t, "timestamps")}
		for range want.Timestamps {
			want.Values = append(want.Values, rapid.Float64().Draw(t, "value"))
		}
		text := Append([]byte("x"), Canonical(metric), want.Timestamps, want.Values)[1:]
		if text[len(text)-1] != '\n' || !json.Valid(text) {
			t.Fatalf("%q is not a line of JSON", text)
		}
		if got, err := Parse(text, nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %v, %v, want %v", text, got, err, want)
		}
	})
	got := string(Append(nil, `{"a":"<b>"}`, []int64{1, 2, 3}, []float64{math.NaN(), math.Inf(1), math.Inf(-1)}))
	if want := `{"metric":{"a":"<b>"},"values":[null,"Infinity","-Infinity"],"timestamps":[1,2,3]}` + "\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Canonical(map[string]string{"b": `<"\`, "a": "é"}), `{"a":"é","b":"<\"\\"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzParse holds the numbers against encoding/json: what is taken is what encoding/json reads.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"metric":{"__name__":"a","b":"\u00e9\n"},"values":[1.5,-2e3],"timestamps":[1700000000000,1700000001000]}`,
		`{"timestamps":[1700000000000],"x":[{"y":null}],"values":[NaN],"metric":{"__name__":"a"}} `,
		`{"metric":{"__name__":"a"},"values":[1e999,"1",null,[1],{}],"timestamps":[1,2,3,4,5]}`,
		`{"metric":{"__name__":"a","\ud800":"\ud83d\ude00"},"values":[0],"timestamps":[1.0]}`,
		`{"metric":{"__name__":"a"},"values":["1,2",3],"timestamps":[[1,2],3]}`,
		`[]`, `{`, `{"metric":`, "\xff", `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse(text, nil)
		if err != nil {
			if fault, ok := errors.AsType[*Error](err); !ok || fault.Reason == "" || fault.Samples < 0 {
				t.Fatalf("got %#v, want an *Error with a reason", err)
			}
			return
		}
		if len(l.Metric) == 0 || len(l.Timestamps) == 0 || len(l.Timestamps) != len(l.Values) {
			t.Fatalf("%q: got %v", text, l)
		}
		if slices.ContainsFunc(l.Values, func(v float64) bool { return math.IsInf(v, 0) }) {
			return // encoding/json refuses what is out of range
		}
		var fields map[string]json.RawMessage
		var values []float64
		var timestamps []int64
		if err := errors.Join(json.Unmarshal(text, &fields), json.Unmarshal(fields["values"], &values),
			json.Unmarshal(fields["timestamps"], &timestamps)); err != nil {
			t.Fatalf("%q was taken, but encoding/json says %v", text, err)
		}
		if !slices.Equal(values, l.Values) || !slices.Equal(timestamps, l.Timestamps) {
			t.Fatalf("%q: got %v, encoding/json reads %v %v", text, l, values, timestamps)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	timestamps, values := make([]int64, 25), make([]float64, 25)
	for i := range timestamps {
		timestamps[i], values[i] = 1700000000000+int64(i)*1000, float64(i)*1.37
	}
	text := Append(nil, `{"__name__":"network_receive_bytes_total","device_id":"0123456789abcdef","interface":"eth0"}`, timestamps, values)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text, nil); err != nil {
			b.Fatal(err)
		}
	}
}
