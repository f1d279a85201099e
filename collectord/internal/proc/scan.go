package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// Faults of a number.
var (
	ErrSyntax = errors.New("not a number")
	ErrRange  = errors.New("number out of range")
)

// Absent stands for a number that a file does not have, or that cannot be. The others of the same
// reading are good.
const Absent = math.MaxUint64

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

// FileOf returns the name of the file that an error is about, without its directories; nil if it
// is about none.
func FileOf(err error) []string {
	if e, ok := errors.AsType[*ParseError](err); ok {
		return []string{filepath.Base(e.File)}
	}
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return []string{filepath.Base(e.Path)}
	}
	return nil
}

// NextLine cuts the first line off b, without its newline. A loop over
// len(b) > 0 sees each line once, the last one also where its newline is missing.
func NextLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return line, rest
}

// wholeLines leaves out the last line if it has no end, because digits may be missing there, and
// returns whether it has one.
func wholeLines(b []byte) (whole []byte, all bool) {
	whole = b[:bytes.LastIndexByte(b, '\n')+1]
	return whole, len(whole) == len(b)
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

// ParseCount reads a number of things, bytes or ticks into n. One that cannot be is Absent and an
// error: nothing counts to 2^63, so that what is above was negative and printed as unsigned.
func ParseCount(field []byte, n *uint64) error {
	v, err := ParseUint(field)
	if err == nil && v >= 1<<63 || len(field) > 0 && field[0] == '-' {
		err = ErrRange
	}
	if err != nil {
		v = Absent
	}
	*n = v
	return err
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
