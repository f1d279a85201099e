package line

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// FuzzParse holds the parser against encoding/json: the two must agree on what a line says, wherever encoding/json can
// read it at all.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"metric":{"__name__":"a","b":"\u00e9\n"},"values":[1.5,-2e3],"timestamps":[1700000000000,1700000001000]}`,
		`{"timestamps":[1700000000000],"x":[{"y":null}],"values":[NaN],"metric":{"__name__":"a"}} `,
		`{"metric":{"__name__":"a"},"values":[1e999,"1",null,[1],{}],"timestamps":[1,2,3,4,5]}`,
		`{"metric":{"__name__":"a","\ud800":"\ud83d\ude00"},"values":[0],"timestamps":[1.0]}`,
		`{"metric":{"__name__":"a"},"values":[1],"values":[2],"timestamps":[9223372036854775808]}`,
		`[]`, `{`, `{"metric":`, "\xff", `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Parser
		l, err := p.Parse(b)
		if err != nil {
			if fault, ok := errors.AsType[*Error](err); !ok || fault.Reason == "" || fault.Samples < 0 {
				t.Fatalf("got %#v, want an *Error with a reason", err)
			}
			return
		}
		checkLine(t, l)
		if !json.Valid(b) {
			if len(l.Rejects) == 0 {
				t.Fatalf("accepted whole, but it is not JSON: %q", b)
			}
			return
		}
		checkAgainstJSON(t, b, l)
	})
}

// checkLine checks what must be true of every Line.
func checkLine(t *testing.T, l Line) {
	t.Helper()
	if len(l.Timestamps) != len(l.Values) {
		t.Fatalf("got %d timestamps and %d values", len(l.Timestamps), len(l.Values))
	}
	for i, ts := range l.Timestamps {
		if ts < MinTimestamp || ts > MaxTimestamp || math.IsNaN(l.Values[i]) || math.IsInf(l.Values[i], 0) {
			t.Fatalf("sample %d %v was let through", ts, l.Values[i])
		}
	}
	// The canonical text is stable, and other programs read the same from it.
	again, err := ParseLabels([]byte(l.Metric))
	if err != nil || !slices.Equal(again, l.Labels) || again.String() != l.Metric {
		t.Fatalf("%s: read back as %v, %v", l.Metric, again, err)
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(l.Metric), &m); err != nil || len(m) != len(l.Labels) {
		t.Fatalf("%s: encoding/json reads %v, %v", l.Metric, m, err)
	}
	for _, label := range l.Labels {
		if m[label.Name] != label.Value || label.Value == "" {
			t.Fatalf("%s: label %v, encoding/json reads %q", l.Metric, label, m[label.Name])
		}
	}
}

// checkAgainstJSON reads the line a second time with encoding/json.
func checkAgainstJSON(t *testing.T, b []byte, l Line) {
	t.Helper()
	// encoding/json takes "Values" for "values" and mends broken UTF-8; this parser does neither.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil || !utf8.Valid(b) {
		return
	}
	var metric map[string]string
	var values []json.RawMessage
	var timestamps []int64
	for name, into := range map[string]any{"metric": &metric, "values": &values, "timestamps": &timestamps} {
		if err := json.Unmarshal(fields[name], into); err != nil {
			t.Fatalf("%q was accepted, but encoding/json says of %q: %v", b, name, err)
		}
	}
	var wantTimes []int64
	var wantValues []float64
	for i, raw := range values {
		v, err := strconv.ParseFloat(string(raw), 64)
		if err == nil && timestamps[i] >= MinTimestamp && timestamps[i] <= MaxTimestamp {
			wantTimes, wantValues = append(wantTimes, timestamps[i]), append(wantValues, v)
		}
	}
	if !slices.Equal(l.Timestamps, wantTimes) || !slices.Equal(l.Values, wantValues) {
		t.Fatalf("%q: got %v %v, want %v %v", b, l.Timestamps, l.Values, wantTimes, wantValues)
	}
	refused := 0
	for _, r := range l.Rejects {
		refused += len(r.Timestamps)
	}
	if refused+len(wantTimes) != len(timestamps) {
		t.Fatalf("%q: %d samples stored, %d refused, %d sent", b, len(wantTimes), refused, len(timestamps))
	}
	for name, value := range metric {
		if l.Labels.Get(name) != value {
			t.Fatalf("%q: label %q is %q, want %q", b, name, l.Labels.Get(name), value)
		}
	}
}

// What Append writes, Parse reads, bit for bit.
func TestAppend_ReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		labels := Labels{{NameLabel, rapid.StringMatching(`[a-zA-Z_:][a-zA-Z0-9_:]{0,20}`).Draw(t, "name")}}
		for name, value := range rapid.MapOf(rapid.StringMatching(`a[a-zA-Z0-9_]{0,8}`),
			rapid.StringN(1, 20, -1)).Draw(t, "labels") {
			labels = append(labels, Label{name, value})
		}
		slices.SortFunc(labels, func(a, b Label) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		})
		timestamps := rapid.SliceOfN(rapid.Int64Range(MinTimestamp, MaxTimestamp), 1, 50).Draw(t, "timestamps")
		values := make([]float64, len(timestamps))
		for i := range values {
			values[i] = rapid.Float64().Draw(t, "value")
		}
		text := Append(nil, labels.String(), timestamps, values)
		if text[len(text)-1] != '\n' || !json.Valid(text) {
			t.Fatalf("%q is not a line of JSON", text)
		}
		var p Parser
		l, err := p.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !reflect.DeepEqual(l, Line{labels.String(), labels, timestamps, values, nil}) {
			t.Fatalf("%q: got %v", text, l)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	timestamps, values := make([]int64, 25), make([]float64, 25)
	for i := range timestamps {
		timestamps[i], values[i] = 1700000000000+int64(i)*1000, float64(i)*1.37
	}
	labels := Labels{{NameLabel, "network_receive_bytes_total"}, {DeviceLabel, "0123456789abcdef"}, {"interface", "eth0"}}
	text := Append(nil, labels.String(), timestamps, values)
	var p Parser
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := p.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
