package proc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Faults of a number.
var (
	ErrSyntax = errors.New("not a number")
	ErrRange  = errors.New("number out of range")
)

// ParseError is text of a kernel file that its parser does not understand.
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
	n, err := strconv.ParseUint(string(b), 10, 64) // the string stays on the stack
	if err != nil {
		return 0, numberError(err)
	}
	return n, nil
}

// ParseInt reads decimal digits after an optional minus or plus.
func ParseInt(b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, numberError(err)
	}
	return n, nil
}

// ParseFloat reads a decimal number as the kernel prints it: "0.06", "70."
// (/proc/net/wireless) or "-3"; no exponent, no NaN, no infinity.
func ParseFloat(b []byte) (float64, error) {
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' {
			return 0, ErrSyntax
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, numberError(err)
	}
	return v, nil
}

// numberError takes the number out of an error of strconv: a parser adds the line.
func numberError(err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return ErrRange
	}
	return ErrSyntax
}
