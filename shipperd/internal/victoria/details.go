package victoria

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Details is the answer of a server that judges line by line, as the project's
// receiver does:
//
//	{"accepted":48,"rejected":2,"lines":[{"line":2,"reason":"…","retry":false,"timestamps":[1700000000000,…]}]}
type Details struct {
	Accepted int // samples
	Rejected int // samples
	// Lines are those of which not every sample was accepted. A line is listed more than once if
	// its samples were refused for several reasons.
	Lines []LineResult
}

// LineResult is what the server says about samples of one line.
type LineResult struct {
	Line   int    // from 1
	Reason string // at most 200 bytes, without secrets
	Retry  bool   // the server may take them another time
	// Timestamps are those of the refused samples, nil = the whole line.
	Timestamps []int64
}

func (d *Details) lines() []LineResult {
	if d == nil {
		return nil
	}
	return d.Lines
}

// parseDetails reads details and refuses contradictory ones. Other JSON is not details: nil.
func parseDetails(body []byte) (*Details, error) {
	if !json.Valid(body) {
		return nil, errors.New("malformed JSON")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, nil
	}
	known := 0
	for _, name := range []string{"accepted", "rejected", "lines"} {
		if _, ok := fields[name]; ok {
			known++
		}
	}
	if known == 0 {
		return nil, nil
	}
	var in struct {
		Accepted, Rejected *int
		Lines              []LineResult
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if in.Accepted == nil || in.Rejected == nil {
		return nil, errors.New("accepted or rejected is missing")
	}
	d := &Details{*in.Accepted, *in.Rejected, in.Lines}
	return d, d.check()
}

func (d *Details) check() error {
	if d.Accepted < 0 || d.Rejected < 0 {
		return fmt.Errorf("%d accepted, %d rejected", d.Accepted, d.Rejected)
	}
	if (d.Rejected == 0) != (len(d.Lines) == 0) {
		return fmt.Errorf("%d rejected, but %d lines", d.Rejected, len(d.Lines))
	}
	for _, l := range d.Lines {
		if l.Line < 1 {
			return fmt.Errorf("line %d", l.Line)
		}
		if l.Timestamps != nil && len(l.Timestamps) == 0 {
			return fmt.Errorf("line %d is listed without a sample", l.Line)
		}
	}
	return nil
}

// Refusal is one sample that was not accepted.
type Refusal struct {
	Line   int    // from 1
	Index  int    // of the sample in the line, from 0
	Reason string // the text of the server
	Retry  bool   // the server may take it another time
}

// Match returns the samples of a body that were refused: lines is the number of its lines, and
// timestamps returns those of one line, from 1. Every other sample was accepted. Details that do
// not fit the body are an error: then it is unknown what was stored, as after a lost answer.
func (d *Details) Match(lines int, timestamps func(line int) []int64) ([]Refusal, error) {
	total := 0
	for line := 1; line <= lines; line++ {
		total += len(timestamps(line))
	}
	type place struct{ line, index int }
	seen := map[place]bool{}
	var refusals []Refusal
	for _, l := range d.Lines {
		if l.Line > lines {
			return nil, fmt.Errorf("the answer's details: line %d of %d", l.Line, lines)
		}
		have := timestamps(l.Line)
		refused := l.Timestamps
		if refused == nil {
			refused = have
		}
		for _, ts := range refused {
			i := slices.Index(have, ts)
			if i < 0 || seen[place{l.Line, i}] {
				return nil, fmt.Errorf("the answer's details: line %d has no sample at %d, or it is refused twice", l.Line, ts)
			}
			seen[place{l.Line, i}] = true
			refusals = append(refusals, Refusal{l.Line, i, l.Reason, l.Retry})
		}
	}
	if len(refusals) != d.Rejected || total-len(refusals) != d.Accepted {
		return nil, fmt.Errorf("the answer's details: %d accepted and %d rejected, but %d of %d samples are listed",
			d.Accepted, d.Rejected, len(refusals), total)
	}
	return refusals, nil
}
