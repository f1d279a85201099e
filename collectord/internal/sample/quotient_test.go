package sample

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestQuotient(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]float64{
		0: 0, 1: 1, 100: 100, 1. / 3: 0.33333, 200. / 3: 66.667, -2. / 3: -0.66667, 99.99999: 100, 0.9999999: 1,
		12345.67: 12346, 123456.7: 123460, 1234567.8: 1.2346e6, 9999996: 1e7, 123456789012: 12346e7, 0.00012345678: 0.00012346,
		1e-300: 0, math.Inf(1): math.Inf(1),
	} {
		if got := quotient(v); got != want {
			t.Errorf("%v became %v, want %v", v, got, want)
		}
	}
	if got := quotient(math.NaN()); !math.IsNaN(got) {
		t.Errorf("NaN became %v", got)
	}
}

// TestQuotient_Properties: what prints with its digits prints so, next to where it was.
func TestQuotient_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-1e15, 1e15).Draw(t, "v")
		got := quotient(v)
		if math.Abs(v) > 1e-15 && math.Abs(got-v) > 5.000001e-5*math.Abs(v) {
			t.Fatalf("%v became %v", v, got)
		}
		if again := quotient(got); again != got {
			t.Fatalf("%v became %v, and that %v", v, got, again)
		}
		if short, err := strconv.ParseFloat(strconv.FormatFloat(got, 'g', digits, 64), 64); err != nil || short != got {
			t.Fatalf("%v became %v, which has more digits than %v", v, got, short)
		}
	})
}
