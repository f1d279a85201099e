package line

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse_Good(t *testing.T) {
	t.Parallel()
	var p Parser
	f := func(in, metric string, timestamps []int64, values []float64) {
		t.Helper()
		l, err := p.Parse([]byte(in))
		if err != nil {
			t.Fatalf("%s: got error %q", in, err)
		}
		if l.Metric != metric {
			t.Errorf("%s: got metric %s, want %s", in, l.Metric, metric)
		}
		if !slices.Equal(l.Timestamps, timestamps) || !slices.Equal(l.Values, values) {
			t.Errorf("%s: got %v %v, want %v %v", in, l.Timestamps, l.Values, timestamps, values)
		}
		if len(l.Rejects) > 0 {
			t.Errorf("%s: got rejects %v, want none", in, l.Rejects)
		}
	}
	t1, t2 := int64(1700000000000), int64(1700000001000)

	// As the shipper writes it.
	f(`{"metric":{"__name__":"a","device_id":"d"},"values":[1.5,-2],"timestamps":[1700000000000,1700000001000]}`,
		`{"__name__":"a","device_id":"d"}`, []int64{t1, t2}, []float64{1.5, -2})
	// Any order of fields, white space anywhere, a Windows line end, unknown fields of every kind.
	f("\t{ \"timestamps\" : [ 1700000000000 ] , \"x\":[{\"y\":[null,true,-1e5,\"\\u00e9\"]}], \"values\":[ 3 ],"+
		" \"metric\" : { \"z\" : \"1\" , \"__name__\":\"a\" } }\r\n",
		`{"__name__":"a","z":"1"}`, []int64{t1}, []float64{3})
	// Labels are sorted, empty ones are left out, escapes are undone where JSON does not need them.
	f(`{"metric":{"b":"\u0041\/\"\\\n","__name__":"a","c":"","_":"é"},"values":[0],"timestamps":[1700000000000]}`,
		`{"_":"é","__name__":"a","b":"A/\"\\\u000a"}`, []int64{t1}, []float64{0})
	// A key with escapes is the same key.
	f(`{"metric":{"\u005f_name__":"a"},"values":[0],"timestamps":[1700000000000]}`,
		`{"__name__":"a"}`, []int64{t1}, []float64{0})
	// Numbers in every form.
	f(`{"metric":{"__name__":"a"},"values":[-0.5e-3,1E2,5e-324],"timestamps":[1700000000000,1700000001000,1700000001000]}`,
		`{"__name__":"a"}`, []int64{t1, t2, t2}, []float64{-0.0005, 100, 5e-324})
	// The first and the last timestamp that are believed.
	f(`{"metric":{"__name__":"a:b"},"values":[1,2],"timestamps":[100000000000,253402300799999]}`,
		`{"__name__":"a:b"}`, []int64{MinTimestamp, MaxTimestamp}, []float64{1, 2})
}

func TestParse_SamplesLeftOut(t *testing.T) {
	t.Parallel()
	p := Parser{Oldest: 1600000000000}
	f := func(values, timestamps string, good []int64, want ...Reject) {
		t.Helper()
		l, err := p.Parse([]byte(`{"metric":{"__name__":"a"},"values":[` + values + `],"timestamps":[` + timestamps + `]}`))
		if err != nil {
			t.Fatalf("[%s]: got error %q", values, err)
		}
		if !slices.Equal(l.Timestamps, good) || len(l.Values) != len(good) {
			t.Errorf("[%s] [%s]: got %v, want %v", values, timestamps, l.Timestamps, good)
		}
		if got, want := fmt.Sprint(l.Rejects), fmt.Sprint(want); got != want {
			t.Errorf("[%s] [%s]: got rejects %s, want %s", values, timestamps, got, want)
		}
	}
	const t1, t2, t3 = 1700000000000, 1700000001000, 1700000002000
	three := "1700000000000,1700000001000,1700000002000"

	f("1,null,3", three, []int64{t1, t3}, Reject{reasonNotNumber, []int64{t2}})
	f(`"1",true,[2]`, three, nil, Reject{reasonNotNumber, []int64{t1, t2, t3}})
	f(`{"a":[]},"NaN",1`, three, []int64{t3}, Reject{reasonNotNumber, []int64{t1, t2}})
	// No JSON, but sent by some, and only the one sample pays for it.
	f(`NaN,-Infinity,1`, three, []int64{t3}, Reject{reasonNotNumber, []int64{t1, t2}})
	f(`1e999,-1e999,1e-999`, three, []int64{t3}, Reject{reasonOutOfRange, []int64{t1, t2}})
	// Seconds, microseconds, before the retention.
	f("1,2,3", "1700000000,1700000001000,1700000002000", []int64{t2, t3}, Reject{reasonTooEarly, []int64{1700000000}})
	f("1,2,3", "-5,1700000001000,0", []int64{t2}, Reject{reasonTooEarly, []int64{-5, 0}})
	f("1,2", "1700000000000000,9223372036854775807", nil,
		Reject{reasonTooLate, []int64{1700000000000000, 9223372036854775807}})
	f("1,2", "1599999999999,1600000000000", []int64{1600000000000}, Reject{reasonExpired, []int64{1599999999999}})
	// One entry for each reason.
	f("null,2,3", "1700000000000,1,1700000002000", []int64{t3},
		Reject{reasonNotNumber, []int64{t1}}, Reject{reasonTooEarly, []int64{1}})
}

func TestParse_WholeLine(t *testing.T) {
	t.Parallel()
	var p Parser
	f := func(in, reason string, samples int) {
		t.Helper()
		l, err := p.Parse([]byte(in))
		fault, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%.200s: got %v %v, want an *Error", in, l, err)
		}
		if !strings.HasPrefix(fault.Reason, reason) || fault.Samples != samples {
			t.Errorf("%.200s: got %q and %d samples, want %q and %d", in, fault.Reason, fault.Samples, reason, samples)
		}
		if len(fault.Reason) > 200 {
			t.Errorf("%.80s: got a reason of %d bytes", in, len(fault.Reason))
		}
	}
	// with puts labels into a line of two good samples.
	with := func(metric string) string {
		return `{"metric":` + metric + `,"values":[1,2],"timestamps":[1700000000000,1700000001000]}`
	}

	// Not to be read.
	f(``, "not a JSON object", 1)
	f(`cpu 1 1700000000000`, "not a JSON object", 1)
	f(`[]`, "not a JSON object", 1)
	f(`{"metric":{"__name__":"a"},"values":[1],"timestamps":[17000000`, "not valid JSON at byte", 1)
	f(with(`{"__name__":"a"}`)+`x`, "not valid JSON at byte 86", 1)
	f(with(`{"__name__":"a"}`)+with(`{"__name__":"a"}`), "not valid JSON", 1)
	f(with(`{"__name__":"a\x"}`), "not valid JSON", 1)
	f(with(`{"__name__":"a\u12g4"}`), "not valid JSON", 1)
	f(with("{\"__name__\":\"a\nb\"}"), "not valid JSON", 1)
	f(with(`{"__name__":"a",}`), "not valid JSON", 1)
	f(`{"metric":{"__name__":"a"},"values":[1,],"timestamps":[1700000000000]}`, "not valid JSON", 1)
	f(`{"metric":{"__name__":"a"},"values":[01],"timestamps":[1700000000000]}`, "not valid JSON", 1)
	f(`{"metric":{"__name__":"a"},"values":[.5],"timestamps":[1700000000000]}`, "not valid JSON", 1)
	f(`{"metric":{"__name__":"a"},"values":[1.],"timestamps":[1700000000000]}`, "not valid JSON", 1)
	f(`{"x":`+strings.Repeat("[", 1000), "nested more than 16 deep", 1)
	f(`{"values":7}`, `field "values" is not an array`, 1)
	f(`{"values":[1`+strings.Repeat(",1", MaxSamples+1)+`]}`, "more than 1000000 samples", 1)
	f(`{"timestamps":null}`, `field "timestamps" is not an array`, 1)

	// Readable, but no series with samples.
	f(`{}`, `no "metric" object`, 0)
	f(`{"values":[1,2],"timestamps":[1700000000000]}`, `no "metric" object`, 2)
	f(`{"metric":{"__name__":"a"},"values":[],"timestamps":[]}`, "no samples", 0)
	f(`{"metric":{"__name__":"a"},"values":[1,2,3],"timestamps":[1700000000000]}`, "3 values but 1 timestamps", 3)
	f(`{"metric":{"__name__":"a"},"values":[1],"values":[2],"timestamps":[1700000000000]}`, `field "values" stands twice`, 2)
	f(`{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[1700000000000,1.5]}`, reasonNotIntegers, 2)
	f(`{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[1700000000000,"1700000000000"]}`, reasonNotIntegers, 2)
	f(`{"metric":{"__name__":"a"},"values":[1],"timestamps":[1e12]}`, reasonNotIntegers, 1)
	f(`{"metric":{"__name__":"a"},"values":[1],"timestamps":[9223372036854775808]}`, reasonNotIntegers, 1)

	// Labels.
	f(with(`null`), `"metric" is not an object`, 2)
	f(with(`{}`), `no label "__name__"`, 2)
	f(with(`{"__name__":""}`), `no label "__name__"`, 2)
	f(with(`{"__name__":"cpu.usage"}`), `metric name "cpu.usage" does not match`, 2)
	f(with(`{"__name__":"1a"}`), `metric name "1a" does not match`, 2)
	f(with(`{"__name__":"a","b-c":"x"}`), `label name "b-c" does not match`, 2)
	f(with(`{"__name__":"a","":"x"}`), `label name "" does not match`, 2)
	f(with(`{"__name__":"a","b":7}`), `value of label "b" is not a string`, 2)
	f(with(`{"__name__":"a","b":"1","b":"1"}`), `label "b" stands twice`, 2)
	f(with(`{"__name__":"a","b":"1","b":""}`), `label "b" stands twice`, 2)
	f(with("{\"__name__\":\"a\",\"b\":\"\xff\"}"), "labels are not valid UTF-8", 2)
}

func TestParse_LabelLimits(t *testing.T) {
	t.Parallel()
	var p Parser
	f := func(metric, reason string) {
		t.Helper()
		_, err := p.Parse([]byte(`{"metric":` + metric + `,"values":[1],"timestamps":[1700000000000]}`))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got == "" && reason != "" || !strings.HasPrefix(got, reason) || reason == "" && got != "" {
			t.Errorf("%.60s: got %q, want %q", metric, got, reason)
		}
	}
	many := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"__name__":"a"`)
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, `,"l%d":"x"`, i)
		}
		return b.String() + "}"
	}
	f(many(MaxLabels), "")
	f(many(MaxLabels+1), "more than 40 labels")
	f(many(100_000), "more than 40 labels")

	name := strings.Repeat("n", MaxNameBytes)
	f(`{"__name__":"`+name+`","`+name+`":"x"}`, "")
	f(`{"__name__":"`+name+`n"}`, "metric name is longer than 256 bytes")
	f(`{"__name__":"a","`+name+`n":"x"}`, "label name is longer than 256 bytes")

	value := strings.Repeat("é", MaxValueBytes/2)
	f(`{"__name__":"a","b":"`+value+`"}`, "")
	f(`{"__name__":"a","b":"`+value+`v"}`, `value of label "b" is longer than 4096 bytes`)
}

// A Line must not change when the next one is read.
func TestParse_OwnMemory(t *testing.T) {
	t.Parallel()
	var p Parser
	b := []byte(`{"metric":{"__name__":"a","b":"c"},"values":[1,null],"timestamps":[1700000000000,1700000001000]}`)
	l, err := p.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(l)
	copy(b, strings.Repeat("x", len(b)))
	if _, err := p.Parse([]byte(`{"metric":{"__name__":"z"},"values":[null,9],"timestamps":[1800000000000,1800000001000]}`)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l); got != before {
		t.Errorf("got %s after the next line, want %s", got, before)
	}
}
