package testkit

import (
	"math"
	"slices"
	"testing"
)

func TestParseExport(t *testing.T) {
	t.Parallel()
	got, err := parseExport([]byte(`{"metric":{"__name__":"b","x":"1"},"values":[3,null],"timestamps":[30,10]}

{"metric":{"__name__":"a","y":"2","x":"q\"q"},"values":[1e3],"timestamps":[5]}
{"metric":{"x":"1","__name__":"b"},"values":[4,5],"timestamps":[30,20]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d series, want 2: %+v", len(got), got)
	}
	if key := got[0].Key(); key != `a{x="q\"q",y="2"}` {
		t.Errorf("first key %s", key)
	}
	b := got[1]
	if !slices.Equal(b.Timestamps, []int64{10, 20, 30, 30}) {
		t.Errorf("timestamps %v, want them in order with the duplicate", b.Timestamps)
	}
	if !math.IsNaN(b.Values[0]) || !slices.Equal(b.Values[1:], []float64{5, 3, 4}) {
		t.Errorf("values %v, want NaN 5 3 4", b.Values)
	}
	for _, bad := range []string{
		`{`, `{"values":[1],"timestamps":[]}`, `{"values":[+Inf],"timestamps":[1]}`, `{"values":["1"],"timestamps":[1]}`,
	} {
		if got, err := parseExport([]byte(bad)); err == nil {
			t.Errorf("parseExport(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseQuery(t *testing.T) {
	t.Parallel()
	got, err := parseQuery([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"42"]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Value != 42 || got[0].Metric["a"] != "b" {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{
		``, `{}`, `{"data":{"resultType":"matrix"}}`,
		`{"data":{"resultType":"vector","result":[{"value":[1,2]}]}}`,
		`{"data":{"resultType":"vector","result":[{"value":[1,"x"]}]}}`,
	} {
		if got, err := parseQuery([]byte(bad)); err == nil {
			t.Errorf("parseQuery(%q) = %+v, want an error", bad, got)
		}
	}
}
