package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Faults of a number. They are values, so that a caller which tries a field and
// goes on pays nothing for it.
var (
	ErrSyntax = errors.New("not a number")
	ErrRange  = errors.New("number out of range")
)

// ParseError says which kernel file holds text that its parser does not
// understand.
type ParseError struct {
	File string // path; a parser leaves it empty and the reader fills it in
	Line int    // from 1; 0 where lines mean nothing
	Text string // the offending text, cut at maxErrorText bytes; may be empty
	Err  error  // ErrSyntax, ErrRange or what else is wrong
}

func (e *ParseError) Error() string {
	where := e.File
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	if e.Text == "" {
		return fmt.Sprintf("parse %s: %v", where, e.Err)
	}
	return fmt.Sprintf("parse %s: %q: %v", where, e.Text, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// maxErrorText bounds how much of a file an error repeats.
const maxErrorText = 80

// parseError makes the error of a parser, which sees text but no file name.
func parseError(line int, text []byte, err error) error {
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return &ParseError{Line: line, Text: string(text), Err: err}
}

// inFile fills the file name into the error of a parser.
func inFile(path string, err error) error {
	if e, ok := errors.AsType[*ParseError](err); ok && e.File == "" {
		e.File = path
	}
	return err
}

// NextLine cuts the first line off b, without its newline. A loop over
// len(b) > 0 sees each line once, the last one also where its newline is missing.
func NextLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return line, rest
}

// NextField cuts the first run of characters other than space and tab off
// line. An empty field means that the line has no more.
func NextField(line []byte) (field, rest []byte) {
	i := 0
	for i < len(line) && isBlank(line[i]) {
		i++
	}
	start := i
	for i < len(line) && !isBlank(line[i]) {
		i++
	}
	return line[start:i], line[i:]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// ParseUint reads decimal digits and nothing else: no sign, no space.
func ParseUint(b []byte) (uint64, error) {
	if len(b) == 0 {
		return 0, ErrSyntax
	}
	var n uint64
	overflow := false
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 {
			return 0, ErrSyntax
		}
		overflow = overflow || n > (math.MaxUint64-d)/10
		n = n*10 + d
	}
	if overflow {
		return 0, ErrRange
	}
	return n, nil
}

// ParseInt reads decimal digits after an optional minus or plus.
func ParseInt(b []byte) (int64, error) {
	digits, negative := cutSign(b)
	n, err := ParseUint(digits)
	switch {
	case err != nil:
		return 0, err
	case negative && n <= -math.MinInt64:
		return int64(-n), nil // two's complement: right for MinInt64 too
	case !negative && n <= math.MaxInt64:
		return int64(n), nil
	}
	return 0, ErrRange
}

// ParseFloat reads a decimal number as the kernel prints it: "0.06", "70."
// (/proc/net/wireless) or "-3"; no exponent, no NaN, no infinity. The result
// is the nearest float64.
func ParseFloat(b []byte) (float64, error) {
	digits, negative := cutSign(b)
	var mantissa uint64
	fraction, count := -1, 0 // digits behind the dot, -1 before it; digits at all
	for _, c := range digits {
		if c == '.' && fraction < 0 {
			fraction = 0
			continue
		}
		d := uint64(c - '0')
		if d > 9 {
			return 0, ErrSyntax
		}
		mantissa = mantissa*10 + d
		count++
		if fraction >= 0 {
			fraction++
		}
	}
	if count == 0 {
		return 0, ErrSyntax
	}
	fraction = max(fraction, 0)
	if count > maxExactDigits {
		return parseLongFloat(b)
	}
	// Both numbers are exact in a float64, so the quotient is rounded once and
	// is the nearest value.
	v := float64(mantissa) / pow10[fraction]
	if negative {
		v = -v
	}
	return v, nil
}

// maxExactDigits is how many decimal digits a float64 always holds exactly.
const maxExactDigits = 15

var pow10 = [maxExactDigits + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// parseLongFloat reads a number of known good syntax with more digits than the
// quick way can round correctly.
func parseLongFloat(b []byte) (float64, error) {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, ErrRange
	}
	return v, nil
}

func cutSign(b []byte) (digits []byte, negative bool) {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		return b[1:], b[0] == '-'
	}
	return b, false
}
