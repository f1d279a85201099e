package victoria

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestParseDetails(t *testing.T) {
	t.Parallel()
	f := func(body string, want *Details) {
		t.Helper()
		if got, err := parseDetails([]byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", body, got, err, want)
		}
	}
	f(`{"accepted":50,"rejected":0}`, &Details{Accepted: 50})
	f(`{"accepted":50,"rejected":0,"lines":[],"more":{}}`, &Details{Accepted: 50, Lines: []LineResult{}})
	f(`{"accepted":48,"rejected":2,"lines":[{"line":2,"reason":"bad","retry":false,"timestamps":[1,2]}]}`,
		&Details{48, 2, []LineResult{{Line: 2, Reason: "bad", Timestamps: []int64{1, 2}}}})
	f(`{"accepted":0,"rejected":3,"lines":[{"line":1,"reason":"x","retry":true,"timestamps":null}]}`,
		&Details{0, 3, []LineResult{{Line: 1, Reason: "x", Retry: true}}})
	f(`{"status":"success","data":{}}`, nil)
	f(`"ok"`, nil)
	f(`[]`, nil)

	bad := func(body string) {
		t.Helper()
		if got, err := parseDetails([]byte(body)); err == nil {
			t.Errorf("%s: got %+v, want an error", body, got)
		}
	}
	bad(``)
	bad(`{`)
	bad(`{"accepted":50,"rejected":0} x`)
	bad(`{"accepted":50}`)
	bad(`{"rejected":0}`)
	bad(`{"lines":[]}`)
	bad(`{"accepted":null,"rejected":0}`)
	bad(`{"accepted":"50","rejected":0}`)
	bad(`{"accepted":50.5,"rejected":0}`)
	bad(`{"accepted":-1,"rejected":0}`)
	bad(`{"accepted":51,"rejected":-1}`)
	bad(`{"accepted":1e30,"rejected":0}`)
	bad(`{"accepted":49,"rejected":1}`)
	bad(`{"accepted":49,"rejected":0,"lines":[{"line":1}]}`)
	bad(`{"accepted":49,"rejected":1,"lines":[{"line":0}]}`)
	bad(`{"accepted":49,"rejected":1,"lines":[{"reason":"no line"}]}`)
	bad(`{"accepted":49,"rejected":1,"lines":[{"line":1,"timestamps":[]}]}`)
	bad(`{"accepted":49,"rejected":1,"lines":[{"line":1,"timestamps":[1.5]}]}`)
	bad(`{"accepted":49,"rejected":1,"lines":{"line":1}}`)
}

func FuzzParseDetails(f *testing.F) {
	f.Add([]byte(`{"accepted":48,"rejected":2,"lines":[{"line":2,"reason":"bad","retry":false,"timestamps":[1,2]}]}`))
	f.Add([]byte(`{"accepted":50,"rejected":0}`))
	f.Add([]byte(`{"accepted":1,"accepted":2,"rejected":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := parseDetails(body)
		if err != nil || d == nil {
			return
		}
		if d.Accepted < 0 || d.Rejected < 0 || (d.Rejected == 0) != (len(d.Lines) == 0) || !json.Valid(body) {
			t.Errorf("%q gives %+v", body, d)
		}
		// Whatever it says, it marks no more than there is.
		lines := [][]int64{{1, 2, 3}, {1}, {2, 4}}
		refusals, err := d.Match(len(lines), func(n int) []int64 { return lines[n-1] })
		if err == nil && (len(refusals) != d.Rejected || d.Accepted+d.Rejected != 6) {
			t.Errorf("%q matches as %+v", body, refusals)
		}
	})
}

func TestMatch(t *testing.T) {
	t.Parallel()
	lines := [][]int64{{10, 20, 30}, {10, 20}, {40}}
	f := func(d Details, want string) {
		t.Helper()
		got, err := d.Match(len(lines), func(n int) []int64 { return lines[n-1] })
		text := ""
		for _, r := range got {
			text += fmt.Sprintf("%d[%d]%s%v ", r.Line, r.Index, r.Reason, r.Retry)
		}
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%+v: got %q (%v), want %q", d, text, err, want)
		}
	}
	f(Details{6, 0, nil}, "")
	f(Details{5, 1, []LineResult{{1, "a", true, []int64{20}}}}, "1[1]atrue ")
	f(Details{3, 3, []LineResult{{2, "a", false, nil}, {1, "b", false, []int64{30}}}}, "2[0]afalse 2[1]afalse 1[2]bfalse ")
	f(Details{4, 2, []LineResult{{1, "a", false, []int64{10}}, {1, "b", true, []int64{30}}}}, "1[0]afalse 1[2]btrue ")
	f(Details{50, 0, nil}, "error")                                                                    // more than there are
	f(Details{4, 1, []LineResult{{3, "a", false, nil}}}, "error")                                      // less
	f(Details{5, 1, []LineResult{{4, "a", false, nil}}}, "error")                                      // no such line
	f(Details{5, 1, []LineResult{{1, "a", false, []int64{11}}}}, "error")                              // no such sample
	f(Details{4, 2, []LineResult{{1, "a", false, []int64{10, 10}}}}, "error")                          // twice
	f(Details{2, 4, []LineResult{{1, "a", false, nil}, {1, "b", false, []int64{10}}}}, "error")        // whole and part
	f(Details{5, 1, []LineResult{{1, "a", false, nil}}}, "error")                                      // three, not one
	f(Details{4, 2, []LineResult{{1, "a", false, []int64{10}}, {3, "", false, []int64{10}}}}, "error") // of another line
	f(Details{0, 6, []LineResult{{1, "", false, nil}, {2, "", false, nil}, {3, "", false, nil}}}, "1[0]false 1[1]false 1[2]false 2[0]false 2[1]false 3[0]false ")
}

// TestMatch_Properties: what a server reports of any part of a body is found
// again, and a report that is off by one is an error.
func TestMatch_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var lines [][]int64
		var d Details
		want := map[string]bool{}
		for n := range rapid.IntRange(1, 6).Draw(t, "lines") {
			var line, refused []int64
			for i := range rapid.IntRange(1, 5).Draw(t, "samples") {
				line = append(line, int64(i*10))
				if rapid.Bool().Draw(t, "refused") {
					refused = append(refused, int64(i*10))
					want[fmt.Sprint(n+1, i)] = true
				}
			}
			lines = append(lines, line)
			d.Accepted += len(line) - len(refused)
			d.Rejected += len(refused)
			switch {
			case len(refused) == 0:
			case len(refused) == len(line) && rapid.Bool().Draw(t, "whole"):
				d.Lines = append(d.Lines, LineResult{Line: n + 1})
			default:
				cut := rapid.IntRange(1, len(refused)).Draw(t, "cut")
				d.Lines = append(d.Lines, LineResult{Line: n + 1, Timestamps: refused[:cut]})
				if cut < len(refused) {
					d.Lines = append(d.Lines, LineResult{Line: n + 1, Timestamps: refused[cut:]})
				}
			}
		}
		text, err := json.Marshal(map[string]any{"accepted": d.Accepted, "rejected": d.Rejected, "lines": lowercase(d.Lines)})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseDetails(text)
		if err != nil {
			t.Fatal(err)
		}
		timestamps := func(n int) []int64 { return lines[n-1] }
		refusals, err := parsed.Match(len(lines), timestamps)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refusals {
			key := fmt.Sprint(r.Line, r.Index)
			if !want[key] {
				t.Errorf("sample %s was not refused, or is listed twice", key)
			}
			delete(want, key)
		}
		if len(want) > 0 {
			t.Errorf("refused samples not found: %v", want)
		}
		for _, off := range []Details{{d.Accepted + 1, d.Rejected, d.Lines}, {d.Accepted, d.Rejected + 1, d.Lines}, {d.Accepted + 1, d.Rejected - 1, d.Lines}} {
			if _, err := off.Match(len(lines), timestamps); err == nil {
				t.Errorf("%+v is accepted for %v", off, lines)
			}
		}
	})
}

// lowercase writes lines with the keys of the format.
func lowercase(lines []LineResult) []map[string]any {
	out := make([]map[string]any, len(lines))
	for i, l := range lines {
		out[i] = map[string]any{"line": l.Line, "reason": l.Reason, "retry": l.Retry}
		if l.Timestamps != nil {
			out[i]["timestamps"] = l.Timestamps
		}
	}
	return out
}
