package proc

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseUint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want uint64
		err  error
	}{
		{"0", 0, nil},
		{"007", 7, nil},
		{"18446744073709551615", math.MaxUint64, nil},
		{"18446744073709551616", 0, ErrRange},
		{"99999999999999999999", 0, ErrRange},
		{"1x", 0, ErrSyntax},
		{"", 0, ErrSyntax},
		{"-1", 0, ErrSyntax},
		{"+1", 0, ErrSyntax},
		{" 1", 0, ErrSyntax},
		{"1_0", 0, ErrSyntax},
	} {
		got, err := ParseUint([]byte(c.in))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseUint(%q) = %d, %v, want %d, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestParseInt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want int64
		err  error
	}{
		{"-0", 0, nil},
		{"+5", 5, nil},
		{"9223372036854775807", math.MaxInt64, nil},
		{"-9223372036854775808", math.MinInt64, nil},
		{"9223372036854775808", 0, ErrRange},
		{"-9223372036854775809", 0, ErrRange},
		{"-", 0, ErrSyntax},
		{"--1", 0, ErrSyntax},
		{"", 0, ErrSyntax},
	} {
		got, err := ParseInt([]byte(c.in))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseInt(%q) = %d, %v, want %d, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestParseFloat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want float64
		err  error
	}{
		{"0.06", 0.06, nil},
		{"70.", 70, nil},
		{"-256.", -256, nil},
		{".5", 0.5, nil},
		{"654.20", 654.2, nil},
		{"9007199254740993", 9007199254740992, nil}, // 2^53+1 rounds to even
		{"0." + strings.Repeat("0", 40) + "1", 1e-41, nil},
		{strings.Repeat("9", 400), 0, ErrRange},
		{".", 0, ErrSyntax},
		{"", 0, ErrSyntax},
		{"-", 0, ErrSyntax},
		{"1.2.3", 0, ErrSyntax},
		{"1e3", 0, ErrSyntax},
		{"NaN", 0, ErrSyntax},
		{"inf", 0, ErrSyntax},
		{"0x10", 0, ErrSyntax},
	} {
		got, err := ParseFloat([]byte(c.in))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseFloat(%q) = %v, %v, want %v, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"", "0", "-58.", "0.06", "18446744073709551616", "1e5", "NaN", "+.5", "00000000000000000000000000001"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseFloat(b)
		switch {
		case err != nil:
			if v != 0 || err != ErrSyntax && err != ErrRange {
				t.Errorf("ParseFloat(%q) = %v, %v", b, v, err)
			}
		case math.IsNaN(v) || math.IsInf(v, 0) || bytes.ContainsAny(b, "eEpPxX_nNiI"):
			t.Errorf("ParseFloat(%q) = %v: no kernel prints that", b, v)
		}
	})
}

func FuzzLinesAndFields(f *testing.F) {
	for _, s := range []string{"", "\n", "a b\n\nc", "  x\ty \n", "no newline"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var lines [][]byte
		for rest := b; len(rest) > 0; {
			var line []byte
			line, rest = NextLine(rest)
			lines = append(lines, line)
			var fields [][]byte
			for field, tail := NextField(line); len(field) > 0; field, tail = NextField(tail) {
				fields = append(fields, field)
			}
			want := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
			if got, want := bytes.Join(fields, []byte("|")), bytes.Join(want, []byte("|")); !bytes.Equal(got, want) {
				t.Errorf("fields of %q = %q, want %q", line, got, want)
			}
		}
		if got, want := bytes.Join(lines, []byte("\n")), bytes.TrimSuffix(b, []byte("\n")); !bytes.Equal(got, want) {
			t.Errorf("lines of %q = %q", b, got)
		}
	})
}

func TestParseError_NamesFileLineAndText(t *testing.T) {
	t.Parallel()
	long := append([]byte("cpu0 12\x00x "), bytes.Repeat([]byte("9"), 500)...)
	err := inFile("/proc/stat", parseError(2, long, ErrRange))
	want := `parse /proc/stat:2: "cpu0 12\x00x ` + strings.Repeat("9", 70) + `": number out of range`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if !errors.Is(err, ErrRange) {
		t.Error("the cause is lost")
	}
}

func TestScan_AllocatesNothing(t *testing.T) {
	text := []byte("cpu0 1265 -4 0.06 9007199254740993.5")
	if n := testing.AllocsPerRun(100, func() {
		line, _ := NextLine(text)
		_, line = NextField(line)
		field, line := NextField(line)
		_, err1 := ParseUint(field)
		field, line = NextField(line)
		_, err2 := ParseInt(field)
		field, _ = NextField(line)
		_, err3 := ParseFloat(field)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Error(err1, err2, err3)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
